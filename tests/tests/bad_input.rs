//! What users get wrong: one clear line, a distinct exit status, nothing lost.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use memloupe_tests::{Program, memloupe};
use tempfile::TempDir;

fn run_in(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(memloupe())
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("memloupe")
}

/// Fails with this status and one line that says all of `words`.
fn assert_refused(output: &Output, status: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("temporary folder")
}

fn file(folder: &TempDir, name: &str, content: &[u8], mode: u32) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
    path
}

/// The first bytes of an ELF file for this class and machine.
fn elf(class: u8, kind: u8, machine: u16) -> Vec<u8> {
    let mut bytes = vec![0x7f, b'E', b'L', b'F', class, 1, 1];
    bytes.resize(64, 0);
    bytes[16] = kind;
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    bytes
}

#[test]
fn programs_that_cannot_run() {
    let here = folder();
    file(&here, "text", b"hello\n", 0o755);
    file(&here, "locked", &elf(2, 2, 62), 0o644);
    file(&here, "arm", &elf(2, 2, 183), 0o755);
    file(&here, "small", &elf(1, 2, 3), 0o755);
    file(&here, "object", &elf(2, 1, 62), 0o755);
    file(&here, "script", b"#!/no/such/interpreter\n", 0o755);
    file(&here, "empty", b"", 0o755);
    for (program, status, words) in [
        ("./missing", 127, &["./missing", "no such program"][..]),
        ("missing", 127, &["PATH"]),
        ("text", 127, &["./text"]),
        ("./text", 126, &["not an ELF"]),
        ("./empty", 126, &["not an ELF"]),
        ("./locked", 126, &["execute permission", "chmod"]),
        ("./arm", 126, &["another architecture", "aarch64"]),
        ("./small", 126, &["another architecture", "i386"]),
        ("./object", 126, &["not a program"]),
        ("./script", 126, &["/no/such/interpreter"]),
        ("/", 126, &["folder"]),
    ] {
        assert_refused(&run_in(here.path(), &["run", "--", program]), status, words);
    }
    assert!(
        !here.path().join("memloupe.profile").exists(),
        "nothing is left behind"
    );
}

#[test]
fn machines_that_are_wrong() {
    let here = folder();
    file(&here, "syntax.toml", b"name = \n", 0o644);
    file(
        &here,
        "key.toml",
        b"extends = \"embedded\"\n\n[core]\nfrequenzy = \"1 GHz\"\n",
        0o644,
    );
    file(
        &here,
        "unit.toml",
        b"extends = \"embedded\"\n[cache.l1d]\nsize = \"48\"\n",
        0o644,
    );
    file(
        &here,
        "device.toml",
        b"extends = \"embedded\"\n[memory]\ndevice = \"ddr9\"\n",
        0o644,
    );
    for (machine, words) in [
        ("embeded", &["embeded", "embedded"][..]),
        ("./missing.toml", &["missing.toml"]),
        ("./syntax.toml", &["syntax.toml:1"]),
        ("./key.toml", &["key.toml:4", "frequenzy", "frequency"]),
        ("./unit.toml", &["unit.toml:3", "size"]),
        ("./device.toml", &["ddr9"]),
    ] {
        assert_refused(
            &run_in(here.path(), &["run", "--machine", machine, "--", "true"]),
            120,
            words,
        );
        assert_refused(&run_in(here.path(), &["machine", "check", machine]), 120, words);
    }
}

#[test]
fn presets_that_are_wrong() {
    let here = folder();
    file(&here, "ops.toml", b"name = \"x\"\nprobs = 1\n", 0o644);
    for (ops, words) in [
        ("gmml", &["gmml", "ggml"][..]),
        ("./ops.toml", &["ops.toml:2", "probs"]),
    ] {
        assert_refused(
            &run_in(here.path(), &["run", "--ops", ops, "--", "true"]),
            121,
            words,
        );
    }
}

#[test]
fn no_valgrind() {
    let here = folder();
    let program = Program::compile("lifecycle", &["-pthread"]);
    let output = Command::new(memloupe())
        .current_dir(here.path())
        .env("PATH", here.path())
        .args(["run", "--engine", "valgrind", "--machine", "embedded", "--"])
        .arg(program.path())
        .output()
        .expect("memloupe");
    assert_refused(&output, 122, &["valgrind", "apt-get install valgrind"]);
    let doctor = Command::new(memloupe())
        .env("PATH", here.path())
        .arg("doctor")
        .output()
        .expect("memloupe");
    assert_eq!(doctor.status.code(), Some(0), "the native engine needs nothing");
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("apt-get install valgrind"));
}

#[test]
fn output_folders_that_cannot_be_written() {
    let here = folder();
    file(&here, "file", b"", 0o644);
    fs::create_dir(here.path().join("mine")).expect("mkdir");
    file(&here, "mine/precious", b"keep", 0o644);
    let program = Program::compile("lifecycle", &["-pthread"]);
    let program = program.path().to_str().expect("UTF-8");
    for (output, words) in [
        ("file", &["file"][..]),
        ("file/below", &["file"]),
        ("mine", &["mine", "is not a profile", "-o"]),
        ("/proc/profile", &["/proc"]),
    ] {
        let output = run_in(
            here.path(),
            &["run", "--machine", "embedded", "-o", output, "--", program],
        );
        assert_refused(&output, 119, words);
    }
    assert_eq!(
        fs::read(here.path().join("mine/precious")).expect("still there"),
        b"keep"
    );
}

/// A file system of 64 KiB is full soon. Mounting one takes a namespace of one's own, which root and most users may make.
#[test]
fn a_full_disk() {
    let here = folder();
    let program = Program::compile("lifecycle", &["-pthread"]);
    let script = format!(
        "mount -t tmpfs -o size=64k none '{folder}' && exec '{memloupe}' run --quiet --machine embedded -o '{folder}/profile' -- '{program}'",
        folder = here.path().display(),
        memloupe = memloupe().display(),
        program = program.path().display()
    );
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .output();
    let output = output.expect("unshare");
    assert_refused(&output, 119, &["profile", "No space left", "instead"]);
    // The capture is not lost: it went elsewhere, whole.
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, rest) = text.rsplit_once("the profile is in ").expect("where it is");
    let saved = Path::new(rest.trim_end().trim_end_matches(" instead"));
    assert!(
        run_in(here.path(), &["report", saved.to_str().expect("UTF-8")])
            .status
            .success()
    );
    fs::remove_dir_all(saved).expect("remove");
}

#[test]
fn an_older_profile_is_kept() {
    let here = folder();
    let program = Program::compile("lifecycle", &["-pthread"]);
    let program = program.path().to_str().expect("UTF-8");
    for what in ["exit", "threads"] {
        run_in(here.path(), &["run", "--machine", "none", "--", program, what]);
    }
    let command =
        |folder: &str| fs::read_to_string(here.path().join(folder).join("profile.json")).expect("profile");
    assert!(command("memloupe.profile").contains("\"threads\""));
    assert!(command("memloupe.profile.old").contains("\"exit\""));
}

#[test]
fn reports_of_what_is_not_there() {
    let here = folder();
    let program = Program::compile("lifecycle", &["-pthread"]);
    let program = program.path().to_str().expect("UTF-8");
    assert_refused(&run_in(here.path(), &["report"]), 124, &["memloupe.profile"]);
    assert!(
        run_in(
            here.path(),
            &["run", "--quiet", "--machine", "embedded", "--", program]
        )
        .status
        .success()
    );
    assert_refused(
        &run_in(here.path(), &["report", "--by", "colour"]),
        124,
        &["colour"],
    );
    assert_refused(
        &run_in(here.path(), &["report", "--sort", "colour"]),
        124,
        &["colour"],
    );
    let table = here.path().join("memloupe.profile/traffic.parquet");
    let bytes = fs::read(&table).expect("table");
    fs::write(&table, &bytes[..bytes.len() / 2]).expect("truncate");
    assert_refused(&run_in(here.path(), &["report"]), 124, &["traffic.parquet"]);
}

/// Another folder, another user, no home: the program carries what it needs.
#[test]
fn an_installed_program_works_anywhere() {
    let here = folder();
    fs::set_permissions(here.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
    let installed = here.path().join("memloupe");
    fs::copy(memloupe(), &installed).expect("copy");
    let target = here.path().join("lifecycle");
    fs::copy(Program::compile("lifecycle", &["-pthread"]).path(), &target).expect("copy");
    let mut command = Command::new(&installed);
    command
        .current_dir(here.path())
        .env_clear()
        .env("PATH", "/usr/bin:/bin");
    command.args(["run", "--machine", "embedded", "--", "./lifecycle", "exit"]);
    if rustix::process::geteuid().is_root() {
        const NOBODY: u32 = 65534;
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().expect("memloupe");
    assert_eq!(
        output.status.code(),
        Some(42),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(here.path().join("memloupe.profile/profile.json").exists());
    assert!(here.path().join("memloupe.profile/report.html").exists());
}
