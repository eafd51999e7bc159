//! Runs a small program of this folder under the tool and keeps all that its stream says.
#![allow(dead_code)] // each test program uses its part

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use memloupe_stream::{
    AccessKind, Checker, Consumer, Counters, Event, FD_VARIABLE, Geometry, Probe, Progress, RunBatch, Sink,
    SiteTable,
};
use tempfile::TempDir;

/// One access of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) thread: u32,
    pub(crate) ip: u64,
    pub(crate) kind: AccessKind,
    pub(crate) address: u64,
    pub(crate) bytes: u32,
}

/// Everything in a stream.
#[derive(Default)]
pub(crate) struct Recording {
    pub(crate) accesses: Vec<Access>,
    pub(crate) events: Vec<(u32, Event)>,
    pub(crate) instructions: u64,
    pub(crate) flops: u64,
    pub(crate) output: String,
    pub(crate) messages: String,
    pub(crate) finished: bool,
    pub(crate) status: Option<ExitStatus>,
    pub(crate) counters: Counters,
    pub(crate) violations: Vec<String>,
    /// Functions to probe by offset in the program's file, each with its reads.
    wanted: Vec<(u64, Probe)>,
    program: PathBuf,
    unresolved: Vec<Probe>,
}

impl Sink for Recording {
    fn runs(&mut self, thread: u32, sites: &SiteTable, batch: &RunBatch) {
        for run in batch.runs() {
            let block = sites.block(run.block).expect("a run names a block of the table");
            self.instructions += u64::from(block.instructions) * run.iterations;
            self.flops += u64::from(block.flops) * run.iterations;
            for operand in run
                .operands
                .iter()
                .filter(|operand| operand.kind != AccessKind::Fetch)
            {
                self.accesses.push(Access {
                    thread,
                    ip: sites.site(operand.site).ip,
                    kind: operand.kind,
                    address: operand.address,
                    bytes: operand.bytes,
                });
            }
        }
    }

    fn event(&mut self, thread: u32, event: Event) {
        if let Event::Map {
            address,
            bytes,
            protection,
            file_offset,
            path,
            ..
        } = &event
            && Path::new(path) == self.program
            && protection & memloupe_stream::PROTECTION_EXECUTE != 0
        {
            for (offset, probe) in &self.wanted {
                if (*file_offset..file_offset + bytes).contains(offset) {
                    self.unresolved.push(Probe {
                        address: address + offset - file_offset,
                        ..probe.clone()
                    });
                }
            }
        }
        self.events.push((thread, event));
    }

    fn probes(&mut self, _first: u32) -> Vec<Probe> {
        std::mem::take(&mut self.unresolved)
    }
}

/// A compiled test program.
pub(crate) struct Program {
    pub(crate) folder: TempDir,
    pub(crate) path: PathBuf,
}

impl Program {
    /// Compiles a source of `tests/programs`.
    pub(crate) fn compile(source: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the program");
        let path = folder
            .path()
            .canonicalize()
            .expect("its real path")
            .join("program");
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/programs")
            .join(source);
        let status = Command::new("cc")
            .args(flags)
            .arg("-o")
            .arg(&path)
            .arg(&source)
            .status();
        assert!(
            status.expect("a C compiler is installed").success(),
            "{} does not compile",
            source.display()
        );
        Self { folder, path }
    }

    /// Runs it under the tool with a small stream, so that its rings go round.
    pub(crate) fn record(&self, arguments: &[&str], probes: Vec<(u64, Probe)>) -> Recording {
        self.record_on(8, arguments, probes)
    }

    /// Runs it with so many rings.
    pub(crate) fn record_on(&self, rings: u32, arguments: &[&str], probes: Vec<(u64, Probe)>) -> Recording {
        let tool = memloupe_valgrind::install(self.folder.path()).unwrap_or_else(|e| panic!("{e}"));
        let geometry = Geometry {
            chunks: 4,
            chunk_bytes: 64 << 10,
            rings,
            ..Geometry::default()
        };
        let mut consumer = Consumer::create(&geometry).unwrap_or_else(|e| panic!("{e}"));
        let mut checker = Checker::new(Recording {
            wanted: probes,
            program: self.path.clone(),
            ..Recording::default()
        });
        let output_path = self.folder.path().join("output");
        let mut child = tool
            .command(self.path.as_os_str(), arguments.iter().map(OsStr::new))
            .env(FD_VARIABLE, consumer.descriptor().as_raw_fd().to_string())
            .stdin(Stdio::null())
            .stdout(File::create(&output_path).expect("a file for its output"))
            .spawn()
            .expect("Valgrind starts");
        let mut status = None;
        let finished = loop {
            match consumer
                .poll(&mut checker, Duration::from_millis(50))
                .unwrap_or_else(|e| panic!("{e}"))
            {
                Progress::Finished => break true,
                Progress::Chunk => {}
                Progress::Idle => {
                    status = child.try_wait().expect("the child is ours");
                    if status.is_some() && !consumer.finished() {
                        consumer.drain(&mut checker).unwrap_or_else(|e| panic!("{e}"));
                        break false;
                    }
                }
            }
        };
        let violations = checker
            .violations()
            .iter()
            .map(|violation| format!("{violation:?}"))
            .collect();
        let mut recording = checker.into_inner();
        recording.finished = finished;
        recording.status = Some(status.unwrap_or_else(|| child.wait().expect("the child is ours")));
        recording.counters = consumer.counters();
        recording.violations = violations;
        recording.messages = tool.messages();
        File::open(output_path)
            .and_then(|mut file| file.read_to_string(&mut recording.output))
            .expect("the program's output is text");
        recording
    }

    /// File offset of a function, from the symbol table of a program whose code lies at its file offset.
    pub(crate) fn symbol(&self, name: &str) -> u64 {
        let output = Command::new("nm")
            .arg(&self.path)
            .output()
            .expect("binutils are installed");
        let text = String::from_utf8(output.stdout).expect("nm prints text");
        let line = text
            .lines()
            .find(|line| line.split_whitespace().nth(2) == Some(name))
            .unwrap_or_else(|| panic!("no symbol {name}"));
        u64::from_str_radix(line.split_whitespace().next().unwrap_or_default(), 16)
            .expect("nm prints addresses")
    }
}

impl Recording {
    /// The events that a function picks.
    pub(crate) fn pick<T>(&self, choose: impl Fn(&Event) -> Option<T>) -> Vec<T> {
        self.events
            .iter()
            .filter_map(|(_, event)| choose(event))
            .collect()
    }
}
