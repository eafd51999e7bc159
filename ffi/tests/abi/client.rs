//! Compiles C and C++ programs against the header and a form of the library, and runs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// How the library is linked, and what watches the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `libmemloupe_ffi.so`.
    Shared,
    /// `libmemloupe_ffi.a`.
    Static,
    /// The static library under AddressSanitizer and UndefinedBehaviorSanitizer.
    Sanitized,
    /// The shared library under Valgrind.
    Valgrind,
}

/// Where cargo puts the libraries of the package under test: beside the test itself.
pub(crate) fn library_folder() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// The package's folder.
pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The compiler for a source file, with every warning an error.
pub(crate) fn compiler(source: &Path) -> Command {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let cpp = source.extension().is_some_and(|extension| extension == "cpp");
    let compiler = cc::Build::new()
        .host(&target)
        .target(&target)
        .opt_level(1)
        .cpp(cpp)
        .cargo_metadata(false)
        .get_compiler();
    let mut command = compiler.to_command();
    command.arg(if cpp { "-std=c++17" } else { "-std=c11" });
    command.args([
        "-Wall",
        "-Wextra",
        "-Wundef",
        "-Wconversion",
        "-Werror",
        "-g",
        "-I",
    ]);
    command.arg(package().join("include"));
    command
}

/// Runs a command that must succeed.
pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{command:?}: {}\n{out}\n{err}",
        output.status
    );
    output
}

/// Compiles a program of the package and runs it; returns what it printed.
pub(crate) fn run(source: &str, form: Form, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let source = package().join(source);
    let program = folder.path().join("client");
    let libraries = library_folder();
    let mut compile = compiler(&source);
    compile.arg(&source).arg("-o").arg(&program);
    match form {
        Form::Shared | Form::Valgrind => {
            compile.arg("-L").arg(&libraries).arg("-lmemloupe_ffi");
            compile.arg(format!("-Wl,-rpath,{}", libraries.display()));
        }
        Form::Static | Form::Sanitized => {
            compile.arg(libraries.join("libmemloupe_ffi.a"));
            compile.args(["-lpthread", "-ldl", "-lm"]);
        }
    }
    if form == Form::Sanitized {
        compile.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
    }
    succeed(&mut compile);
    let mut run = if form == Form::Valgrind {
        let mut valgrind = Command::new("valgrind");
        valgrind.args([
            "--quiet",
            "--error-exitcode=99",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite",
        ]);
        valgrind.arg(&program);
        valgrind
    } else {
        Command::new(&program)
    };
    // cargo's own path has folders with libraries of earlier builds, and comes before that of the program.
    run.args(arguments)
        .env("ASAN_OPTIONS", "detect_leaks=1")
        .env_remove("LD_LIBRARY_PATH");
    String::from_utf8(succeed(&mut run).stdout).unwrap()
}
