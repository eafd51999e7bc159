//! The target: finds the program as a shell would and checks, before anything is started, that it can run here.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{Endianness, ReadCache, elf};

use crate::failure::{Failure, Kind};

/// A program that looks runnable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its file.
    pub path: PathBuf,
    /// The program the kernel will really execute: the script's interpreter, else the file itself.
    pub executable: PathBuf,
    /// Whether it has no dynamic loader, so that nothing can be preloaded into it.
    pub is_static: bool,
}

/// Finds and checks a program.
///
/// # Errors
/// [`Kind::NotFound`] or [`Kind::NotRunnable`], with what is wrong and how to mend it.
pub fn resolve(program: &str) -> Result<Target, Failure> {
    let path = find(program)?;
    let not_runnable = |what: String| Failure::new(Kind::NotRunnable, format!("{}: {what}", path.display()));
    let metadata = fs::metadata(&path).map_err(|error| not_runnable(error.to_string()))?;
    if metadata.is_dir() {
        return Err(not_runnable("is a folder, not a program".to_owned()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(not_runnable(format!(
            "no execute permission; `chmod +x {}` gives it",
            path.display()
        )));
    }
    let head = read_head(&path).map_err(|error| not_runnable(format!("cannot be read: {error}")))?;
    let executable = match interpreter(&head) {
        Some(interpreter) => {
            let head = read_head(&interpreter).map_err(|error| {
                not_runnable(format!(
                    "its interpreter {} cannot be read: {error}",
                    interpreter.display()
                ))
            })?;
            check_elf(&head)
                .map_err(|what| not_runnable(format!("its interpreter {}: {what}", interpreter.display())))?;
            interpreter
        }
        None => {
            check_elf(&head).map_err(not_runnable)?;
            path.clone()
        }
    };
    let is_static = !has_interpreter(&executable);
    Ok(Target {
        path,
        executable,
        is_static,
    })
}

fn find(program: &str) -> Result<PathBuf, Failure> {
    if program.contains('/') {
        let path = PathBuf::from(program);
        return if path.exists() {
            Ok(path)
        } else {
            Err(Failure::new(
                Kind::NotFound,
                format!("{program}: no such program; check the path after `--`"),
            ))
        };
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&search)
        .map(|folder| folder.join(program))
        .find(|candidate| is_executable_file(candidate))
        .ok_or_else(|| {
            let hint = if Path::new(program).exists() {
                format!("; for the file in this folder write ./{program}")
            } else {
                String::new()
            };
            Failure::new(
                Kind::NotFound,
                format!("{program}: no such program in PATH{hint}"),
            )
        })
}

fn is_executable_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Enough for an ELF header or a script's first line.
const HEAD_BYTES: u64 = 256;

fn read_head(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(head)
}

/// Whether an ELF program names a dynamic loader. One that can't be parsed is left to the kernel to refuse.
fn has_interpreter(executable: &Path) -> bool {
    let Ok(file) = File::open(executable) else {
        return true;
    };
    // A model's program may have a hundred megabytes of debug information, of which nothing is read here.
    let data = &ReadCache::new(file);
    let Ok(header) = elf::FileHeader64::<Endianness>::parse(data) else {
        return true;
    };
    let Ok(endian) = header.endian() else { return true };
    header.program_headers(endian, data).is_ok_and(|segments| {
        segments
            .iter()
            .any(|segment| segment.p_type(endian) == elf::PT_INTERP)
    })
}

fn interpreter(head: &[u8]) -> Option<PathBuf> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    line.split_whitespace().next().map(PathBuf::from)
}

/// Offsets of the ELF identification and of `e_type` and `e_machine` (System V ABI, chapter 4).
fn check_elf(head: &[u8]) -> Result<(), String> {
    if !head.starts_with(&elf::ELFMAG) || head.len() < 20 {
        return Err("not an ELF program (nor a script with #!); give memloupe the program itself".to_owned());
    }
    let half = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    if head[4] != elf::ELFCLASS64.0 || head[5] != elf::ELFDATA2LSB.0 || half(18) != elf::EM_X86_64.0 {
        return Err(format!(
            "an ELF program for another architecture ({}); memloupe runs x86-64 Linux programs",
            architecture(head[4], half(18))
        ));
    }
    if half(16) != elf::ET_EXEC.0 && half(16) != elf::ET_DYN.0 {
        return Err("an ELF file, but not a program (an object file or a core dump)".to_owned());
    }
    Ok(())
}

fn architecture(class: u8, machine: u16) -> String {
    let name = match elf::Machine(machine) {
        elf::EM_386 => "i386",
        elf::EM_ARM => "arm",
        elf::EM_AARCH64 => "aarch64",
        elf::EM_RISCV => "riscv",
        elf::EM_PPC64 => "ppc64",
        elf::EM_S390 => "s390",
        elf::EM_X86_64 => "x86-64, unusual class or byte order",
        _ => return format!("machine {machine}"),
    };
    let bits = if class == elf::ELFCLASS64.0 { 64 } else { 32 };
    format!("{name}, {bits} bit")
}
