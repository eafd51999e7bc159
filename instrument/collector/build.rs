//! Compiles the collector, a small shared library in C: what loads it are C interfaces, and so is what it calls.

use std::env;
use std::path::PathBuf;

const SOURCES: [&str; 2] = ["src/itt.c", "src/nvtx.c"];

fn main() {
    for watched in SOURCES.iter().chain(&["build.rs", "../markers/include"]) {
        println!("cargo::rerun-if-changed={watched}");
    }
    let library = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("collector.so");
    let mut build = cc::Build::new();
    build
        .no_default_flags(true)
        .opt_level(2)
        .debug(false)
        .cargo_metadata(false);
    let status = build
        .get_compiler()
        .to_command()
        .args(["-std=gnu11", "-Wall", "-Wextra", "-O2", "-fPIC", "-shared", "-s"])
        .args(["-I../markers/include", "-o"])
        .arg(&library)
        .args(SOURCES)
        .arg("-ldl")
        .status()
        .expect("a C compiler");
    assert!(status.success(), "the collector can't be compiled: {status}");
    println!("cargo::rustc-env=MEMLOUPE_COLLECTOR={}", library.display());
}
