//! Programs under test: memloupe itself, C programs of this folder, llama.cpp and its models.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

/// Where test programs and models are built.
fn build_folder() -> PathBuf {
    // The test binary is <target>/<profile>/deps/<name>.
    let binary = std::env::current_exe().expect("path of the test binary");
    binary.ancestors().nth(2).expect("a profile folder").to_path_buf()
}

/// Cargo builds no program of another package for a test: ask it to, once.
fn build(package: &str) -> PathBuf {
    let folder = build_folder();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", package]);
    if folder.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    cargo.env("CARGO_TARGET_DIR", folder.parent().expect("target folder"));
    assert!(
        cargo.status().expect("cargo").success(),
        "cargo build -p {package}"
    );
    folder.join(package)
}

/// The built `memloupe`.
#[must_use]
pub fn memloupe() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| build("memloupe"));
    &BUILT
}

/// The folder of the built C library.
#[must_use]
pub fn library_folder() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| build("memloupe-ffi"));
    BUILT.parent().expect("its folder")
}

/// A C program of `tests/programs`.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
}

impl Program {
    /// Compiles `programs/SOURCE.c` with these flags (beside `-g -O2`); a second call finds it built.
    #[must_use]
    pub fn compile(source: &str, flags: &[&str]) -> Self {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let input = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("programs")
            .join(format!("{source}.c"));
        let folder = build_folder().join("test-programs");
        std::fs::create_dir_all(&folder).expect("folder for test programs");
        let path = folder.join(format!("{source}{}", flags.concat().replace(['/', ' '], "_")));
        let modified = |file: &Path| std::fs::metadata(file).and_then(|m| m.modified()).ok();
        if modified(&path) < modified(&input) {
            // Test binaries are several processes: each builds beside the final place and renames.
            let temporary = path.with_extension(std::process::id().to_string());
            let status = Command::new("cc")
                .args(["-g", "-O2", "-Wall", "-Wextra", "-pthread"])
                .arg(concat!(
                    "-I",
                    env!("CARGO_MANIFEST_DIR"),
                    "/../instrument/markers/include"
                ))
                .arg("-o")
                .arg(&temporary)
                .arg(&input)
                .args(flags)
                .status()
                .expect("cc");
            assert!(status.success(), "cc {}", input.display());
            std::fs::rename(&temporary, &path).expect("rename");
        }
        Self { path }
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The llama.cpp program that `workloads/llama/build` made; `scripts/test` names it in `MEMLOUPE_LLAMA`.
///
/// # Panics
/// If the variable is not set: these tests are never left out silently.
#[must_use]
pub fn llama() -> PathBuf {
    workload("MEMLOUPE_LLAMA", "workloads/llama/build")
}

/// The candle program that `workloads/candle/build` made; `scripts/test` names it in `MEMLOUPE_CANDLE`.
///
/// # Panics
/// As [`llama`].
#[must_use]
pub fn candle() -> PathBuf {
    workload("MEMLOUPE_CANDLE", "workloads/candle/build")
}

fn workload(variable: &str, builder: &str) -> PathBuf {
    let path = std::env::var_os(variable);
    PathBuf::from(path.unwrap_or_else(|| {
        panic!("{variable} is not set: run scripts/test, or set it to what {builder} prints")
    }))
}

/// The arguments that let [`llama`] read a prompt of so many tokens, and generate more, on one thread.
#[must_use]
pub fn generation(model: &Path, prompt: u32, tokens: u32) -> [String; 8] {
    let model = model.to_str().expect("a path in UTF-8");
    let [prompt, tokens] = [prompt, tokens].map(|count| count.to_string());
    ["-m", model, "-p", &prompt, "-n", &tokens, "-t", "1"].map(str::to_owned)
}

/// A model file of this shape and type, written once.
#[must_use]
pub fn model(shape: &str, element_type: &str) -> PathBuf {
    static WRITER: LazyLock<PathBuf> = LazyLock::new(|| build("memloupe-models"));
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let path = build_folder().join(format!("{shape}-{element_type}.gguf"));
    if !path.exists() {
        let status = Command::new(&*WRITER)
            .args(["write", shape, "--type", element_type, "--seed", "1", "-o"])
            .arg(&path)
            .status()
            .expect("memloupe-models");
        assert!(status.success(), "memloupe-models write {shape}");
    }
    path
}
