//! Builds `libmemloupe_engine.so`, the native engine, with the cargo profile of its own that it needs (a panic inside a target must
//! abort), and puts it where the program carries it from. An installed `memloupe` is one file.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    for watched in [
        "build.rs",
        "../engine/src",
        "../engine/Cargo.toml",
        "../layout/src",
    ] {
        println!("cargo::rerun-if-changed={watched}");
    }
    let output = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // A target folder apart: cargo holds the lock of this build's own.
    let target = output.join("engine");
    let folder = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let manifest = Path::new(&folder).join("../engine/Cargo.toml");
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
    cargo
        .args([
            "build",
            "--quiet",
            "--profile",
            "engine",
            "--lib",
            "--manifest-path",
        ])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target);
    // Flags meant for this build (coverage, sanitizers, clippy's wrapper) have no place inside a target.
    for variable in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        cargo.env_remove(variable);
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "cargo build of the native engine: {status}");
    println!(
        "cargo::rustc-env=MEMLOUPE_ENGINE={}",
        target.join("engine/libmemloupe_engine.so").display()
    );
}
