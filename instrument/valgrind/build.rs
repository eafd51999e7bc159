//! Compiles the Valgrind tool against the installed `valgrind` package. Without that package the crate still builds:
//! it then carries no tool, and says at run time what to install before building again.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Valgrind's own build of its tools: freestanding code for a fixed address, without the parts of libc it lacks.
const TOOL_FLAGS: &[&str] = &[
    "-std=gnu11",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
    "-fno-stack-protector",
    "-fno-builtin",
    "-fno-strict-aliasing",
    "-fno-pie",
    "-fno-pic",
    "-mno-red-zone",
];
const TOOL_DEFINES: &[&str] = &[
    "VGA_amd64",
    "VGO_linux",
    "VGP_amd64_linux",
    "VGPV_amd64_linux_vanilla",
];
const TOOL_LINK: &[&str] = &[
    "-static",
    "-nodefaultlibs",
    "-nostartfiles",
    "-no-pie",
    "-u",
    "_start",
    "-s",
    "-Wl,--build-id=none",
    "-Wl,-Ttext-segment=0x58000000",
];
const PRELOAD_LINK: &[&str] = &[
    "-shared",
    "-nodefaultlibs",
    "-s",
    "-Wl,--build-id=none",
    "-Wl,-z,interpose,-z,initfirst",
];

/// Where a distribution puts the archives, tried if pkg-config does not know.
const LIBRARY_FOLDERS: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/valgrind",
    "/usr/lib/valgrind",
    "/usr/lib64/valgrind",
    "/usr/local/lib/valgrind",
];
const INCLUDE_FOLDERS: &[&str] = &["/usr/include/valgrind", "/usr/local/include/valgrind"];

struct Package {
    include: PathBuf,
    library: PathBuf,
    version: String,
}

fn main() {
    println!("cargo::rustc-check-cfg=cfg(valgrind_tool)");
    for watched in ["build.rs", "src/tool", "src/preload", "../stream/include"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux")
        || env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("x86_64")
    {
        println!("cargo::warning=the Valgrind engine exists for x86-64 Linux only: built without it");
        return;
    }
    let Some(package) = find_package() else {
        println!(
            "cargo::warning=Valgrind's headers and archives are missing: built without the Valgrind engine \
             (Debian: apt-get install valgrind pkg-config, then build again)"
        );
        return;
    };
    let output = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    build_tool(&package, &output);
    build_preload(&package, &output);
    println!(
        "cargo::rerun-if-changed={}",
        package.include.join("config.h").display()
    );
    println!("cargo::rustc-env=MEMLOUPE_VALGRIND_VERSION={}", package.version);
    println!("cargo::rustc-cfg=valgrind_tool");
}

fn find_package() -> Option<Package> {
    let include = variable("includedir")
        .map(|folder| folder.join("valgrind"))
        .into_iter()
        .chain(INCLUDE_FOLDERS.iter().map(PathBuf::from))
        .find(|folder| folder.join("pub_tool_tooliface.h").is_file())?;
    let library = variable("libdir")
        .map(|folder| folder.join("valgrind"))
        .into_iter()
        .chain(LIBRARY_FOLDERS.iter().map(PathBuf::from))
        .find(|folder| folder.join("libcoregrind-amd64-linux.a").is_file())?;
    let config = fs::read_to_string(include.join("config.h")).ok()?;
    let version = config
        .lines()
        .find_map(|line| line.strip_prefix("#define VERSION \""))?
        .trim_end_matches('"')
        .to_owned();
    Some(Package {
        include,
        library,
        version,
    })
}

/// A folder that pkg-config knows of the package.
fn variable(name: &str) -> Option<PathBuf> {
    let output = Command::new("pkg-config")
        .arg(format!("--variable={name}"))
        .arg("valgrind")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let folder = text.trim();
    (output.status.success() && !folder.is_empty()).then(|| PathBuf::from(folder))
}

/// A compiler run that takes nothing from cargo's profile: the tool is release code in every profile.
fn compiler(package: &Package, flags: &[&str]) -> cc::Build {
    let mut build = cc::Build::new();
    build
        .no_default_flags(true)
        .opt_level(2)
        .debug(false)
        .include(&package.include)
        .cargo_metadata(false);
    for flag in flags {
        build.flag(flag);
    }
    build
}

fn build_tool(package: &Package, output: &Path) {
    let mut sources: Vec<PathBuf> = fs::read_dir("src/tool")
        .expect("the tool's sources are part of the crate")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    sources.sort();
    let mut build = compiler(package, TOOL_FLAGS);
    build.flag("-O2").include("../stream/include").files(&sources);
    for define in TOOL_DEFINES {
        build.define(define, "1");
    }
    let objects = build.compile_intermediates();

    let archive = |name: &str| package.library.join(name);
    let mut link = build.get_compiler().to_command();
    link.args(TOOL_LINK)
        .arg("-o")
        .arg(output.join("memloupe-amd64-linux"))
        .args(objects)
        .arg(archive("libcoregrind-amd64-linux.a"))
        .arg(archive("libvex-amd64-linux.a"))
        .arg("-lgcc");
    // Stands in for the compiler's support library; not every distribution splits it off.
    let support = archive("libgcc-sup-amd64-linux.a");
    if support.is_file() {
        link.arg(support);
    }
    run(&mut link);
}

fn build_preload(package: &Package, output: &Path) {
    let build = compiler(package, &["-std=gnu11", "-Wall", "-Wextra", "-O2", "-fPIC"]);
    let mut link = build.get_compiler().to_command();
    link.args(PRELOAD_LINK)
        .arg("-Isrc/tool")
        .arg("-o")
        .arg(output.join("vgpreload_memloupe-amd64-linux.so"))
        .args(["src/preload/wrap_malloc.c", "src/preload/markers.c"]);
    run(&mut link);
}

fn run(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    assert!(status.success(), "{command:?} failed: {status}");
}
