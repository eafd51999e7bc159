//! The core of the adapters for gem5 and SST, driven through a fake of the port API; see `ports.cpp`.

use crate::client::{Form, run};

#[test]
fn the_rules_of_ports_are_kept() {
    run("tests/abi/ports.cpp", Form::Static, &[]);
}

#[test]
fn the_rules_of_ports_are_kept_under_sanitizers() {
    run("tests/abi/ports.cpp", Form::Sanitized, &[]);
}
