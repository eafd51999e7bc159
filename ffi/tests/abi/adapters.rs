//! The cores of the adapters for gem5 and SST, driven through fakes of the port API; see `ports.cpp` and
//! `hierarchy_ports.cpp`.

use crate::client::{Form, run};

#[test]
fn the_rules_of_ports_are_kept() {
    run("tests/abi/ports.cpp", Form::Static, &[]);
}

#[test]
fn the_rules_of_ports_are_kept_under_sanitizers() {
    run("tests/abi/ports.cpp", Form::Sanitized, &[]);
}

#[test]
fn caches_keep_the_rules_of_ports() {
    run("tests/abi/hierarchy_ports.cpp", Form::Static, &[]);
}

#[test]
fn caches_keep_the_rules_of_ports_under_sanitizers() {
    run("tests/abi/hierarchy_ports.cpp", Form::Sanitized, &[]);
}
