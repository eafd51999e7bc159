//! A program whose calls can be examined as an engine would at a function's entry.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use memloupe_stream::{Fetch, Probe};

/// `record` stands in for the probed function: called with the same prototype, it stores what an engine would see at the
/// function's first instruction. `CALL` copies that to the next record.
const RECORDER: &str = r#"
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
struct record { uint64_t registers[16]; char stack[256]; };
struct record last, records[8];
int recorded;
__asm__(".globl record\n.type record,@function\nrecord:\n"
        "mov %rdi,last+56(%rip)\nmov %rsi,last+48(%rip)\nmov %rdx,last+16(%rip)\nmov %rcx,last+8(%rip)\n"
        "mov %r8,last+64(%rip)\nmov %r9,last+72(%rip)\nmov %rdi,%rax\n"
        "lea last+128(%rip),%rdi\nmov %rsp,%rsi\nmov $32,%ecx\nrep movsq\nret\n.size record,.-record\n");
#define KEEP (last.registers[4] = (uintptr_t)records[recorded].stack, records[recorded++] = last)
static void wait_for_test(void) {
    printf("%p %p\n", (void *)records, (void *)wait_for_test);
    fflush(stdout);
    char c;
    while (read(0, &c, 1) > 0) {}
}
"#;

/// A program that was built.
pub(crate) struct Fixture {
    _folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

/// Builds a program. `extra` are more compiler options.
pub(crate) fn build(language: &str, source: &str, extra: &[&str]) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(format!("fixture.{language}"));
    let path = folder.path().join("fixture");
    let recorder = if language == "cpp" {
        format!("extern \"C\" {{{RECORDER}}}")
    } else {
        RECORDER.to_owned()
    };
    std::fs::write(&file, format!("{recorder}{source}")).unwrap();
    let compiler = if language == "cpp" { "c++" } else { "cc" };
    let output = Command::new(compiler)
        .args(["-no-pie", "-fno-pie", "-O2", "-g", "-w", "-o"])
        .arg(&path)
        .arg(&file)
        .args(extra)
        .output()
        .expect("a C compiler");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Fixture {
        _folder: folder,
        path,
    }
}

/// A running fixture, waiting.
pub(crate) struct Target {
    child: Child,
    memory: std::fs::File,
    records: u64,
}

impl Target {
    pub(crate) fn start(fixture: &Fixture) -> Self {
        let mut child = Command::new(&fixture.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let records = line
            .split_whitespace()
            .next()
            .and_then(|word| word.strip_prefix("0x"));
        let records = u64::from_str_radix(records.expect("the fixture's records"), 16).unwrap();
        let memory = std::fs::File::open(format!("/proc/{}/mem", child.id())).unwrap();
        Self {
            child,
            memory,
            records,
        }
    }

    fn read(&self, address: u64, bytes: usize) -> Option<Vec<u8>> {
        let mut buffer = vec![0; bytes];
        self.memory
            .read_exact_at(&mut buffer, address)
            .ok()
            .map(|()| buffer)
    }

    fn word(&self, address: u64) -> Option<u64> {
        self.read(address, 8)
            .map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
    }

    /// What an engine sends for a probe at a recorded call: the contract of `memloupe_stream::Fetch`.
    pub(crate) fn execute(&self, probe: &Probe, record: u64) -> (u64, Vec<u8>) {
        const RECORD_BYTES: u64 = 16 * 8 + 256;
        let register = |number: u8| {
            self.word(self.records + record * RECORD_BYTES + 8 * u64::from(number))
                .unwrap()
        };
        let mut present = 0;
        let mut values = Vec::new();
        for (bit, fetch) in probe.fetches.iter().enumerate() {
            let value = match fetch {
                Fetch::Register(source) => Some(register(source.register).to_le_bytes().to_vec()),
                Fetch::Memory {
                    source,
                    offsets,
                    bytes,
                } => {
                    let (last, chain) = offsets.split_last().unwrap();
                    let start = Some(register(source.register)).filter(|pointer| *pointer != 0);
                    let pointer = chain.iter().fold(start, |pointer, offset| {
                        self.word(pointer?.wrapping_add_signed(i64::from(*offset)))
                            .filter(|next| *next != 0)
                    });
                    pointer.and_then(|pointer| {
                        self.read(pointer.wrapping_add_signed(i64::from(*last)), usize::from(*bytes))
                    })
                }
            };
            present |= u64::from(value.is_some()) << bit;
            let mut value = value.unwrap_or_default();
            value.resize(fetch.padded_bytes(), 0);
            values.extend(value);
        }
        (present, values)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // The program ends when its input does; a kill is for one that hangs.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
