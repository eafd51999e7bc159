//! Readers that are misused; what they read is held against profiles in the end-to-end tests.

use crate::client::{Form, package, run};

#[test]
fn misuse_is_a_status() {
    let text = package().join("Cargo.toml");
    let text = text.to_str().unwrap();
    for form in [Form::Shared, Form::Static, Form::Sanitized, Form::Valgrind] {
        assert_eq!(
            run("tests/abi/misuse_reader.c", form, &[text]),
            "ok\n",
            "{form:?}"
        );
    }
}
