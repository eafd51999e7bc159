//! The Python module, by a Python that has it beside nothing but the library.

use std::process::Command;

use crate::client::{library_folder, package, succeed};

fn is_there(python: &str) -> bool {
    let status = Command::new(python).args(["-c", "import ctypes"]).status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn its_client_is_content() {
    // scripts/test makes the Python with numpy; without it the module goes by the standard library.
    let with_numpy = std::env::var("MEMLOUPE_PYTHON").ok();
    let pythons: Vec<String> = ["python3".into()].into_iter().chain(with_numpy).collect();
    for python in pythons.iter().filter(|python| is_there(python)) {
        let mut client = Command::new(python);
        client.arg(package().join("tests/abi/python_client.py"));
        client.env("PYTHONPATH", package().join("python"));
        client.env("PYTHONDONTWRITEBYTECODE", "1");
        client.env("MEMLOUPE_LIBRARY", library_folder().join("libmemloupe_ffi.so"));
        assert_eq!(succeed(&mut client).stdout, b"ok\n", "{python}");
    }
}
