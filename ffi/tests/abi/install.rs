//! What `scripts/install` puts down is found by CMake and pkg-config, and the examples build against it.

use std::path::Path;
use std::process::Command;

use crate::client::{library_folder, package, succeed};

fn install(prefix: &Path) {
    let script = package().join("../scripts/install");
    succeed(
        Command::new(script)
            .arg(prefix)
            .arg("--libraries")
            .arg(library_folder()),
    );
}

#[test]
fn cmake_finds_it() {
    let folder = tempfile::tempdir().unwrap();
    let (prefix, project) = (folder.path().join("prefix"), folder.path().join("project"));
    install(&prefix);
    std::fs::create_dir(&project).unwrap();
    let examples = package().join("examples").display().to_string();
    let lists = format!(
        "cmake_minimum_required(VERSION 3.16)\nproject(clients C CXX)\nfind_package(memloupe 0.1 REQUIRED CONFIG)\n\
         add_executable(memory {examples}/memory.c)\ntarget_link_libraries(memory memloupe::memloupe)\n\
         add_executable(reader {examples}/reader.c)\ntarget_link_libraries(reader memloupe::memloupe)\n\
         add_executable(hierarchy {examples}/hierarchy.cpp)\ntarget_link_libraries(hierarchy memloupe::static)\n"
    );
    std::fs::write(project.join("CMakeLists.txt"), lists).unwrap();
    let build = folder.path().join("build");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(&project).arg("-B").arg(&build);
    succeed(configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())));
    succeed(Command::new("cmake").arg("--build").arg(&build));
    for program in ["memory", "hierarchy"] {
        let output = succeed(Command::new(build.join(program)).args(["desktop", "1000"]));
        assert!(output.stdout.starts_with(b"{\""));
    }
}

#[test]
fn the_flags_of_its_pkg_config_file_build_an_example() {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path());
    // The file is three variables and two lines of flags: read here, so that no machine needs pkg-config for this.
    let text = std::fs::read_to_string(folder.path().join("lib/pkgconfig/memloupe.pc")).unwrap();
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    let expand = |text: &str| {
        let prefix = value("prefix=");
        text.replace("${libdir}", value("libdir="))
            .replace("${includedir}", value("includedir="))
            .replace("${prefix}", prefix)
    };
    let program = folder.path().join("memory");
    let mut compile = Command::new("cc");
    compile
        .arg(package().join("examples/memory.c"))
        .arg("-o")
        .arg(&program);
    compile.args(expand(value("Cflags: ")).split(' '));
    compile.args(expand(value("Libs: ")).split(' '));
    succeed(&mut compile);
    assert!(
        succeed(Command::new(program).args(["desktop", "1000"]))
            .stdout
            .starts_with(b"{\"")
    );
    assert_eq!(value("Version: "), env!("CARGO_PKG_VERSION"));
}
