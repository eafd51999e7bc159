//! Runs programs under the engine and keeps what their streams say.
#![allow(dead_code)] // each test file uses its part

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use memloupe_stream::{
    AccessKind, Answer, Checker, Consumer, Counters, Event, FD_VARIABLE, Gate, Geometry, Probe, Progress,
    RunBatch, Sink, SiteTable,
};

/// A program that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// One access, runs taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) ip: u64,
    pub(crate) kind: AccessKind,
    pub(crate) address: u64,
    pub(crate) bytes: u32,
}

/// Bytes accessed by instruction, instructions executed by block: by address.
#[derive(Default)]
pub(crate) struct Sums {
    pub(crate) bytes: HashMap<u64, u64>,
    pub(crate) instructions: HashMap<u64, u64>,
}

/// What a stream says.
#[derive(Default)]
pub(crate) struct Recording {
    /// Kept if asked for.
    pub(crate) accesses: Vec<Access>,
    keep: bool,
    /// Only accesses of instructions there are kept.
    within: Option<Range<u64>>,
    /// Kept if asked for: bytes accessed by each instruction, instructions executed by each block's address.
    pub(crate) sums: Option<Sums>,
    pub(crate) loads: u64,
    pub(crate) stores: u64,
    pub(crate) instructions: u64,
    pub(crate) flops: u64,
    pub(crate) longest_run: u64,
    pub(crate) events: Vec<Event>,
    pub(crate) output: Vec<u8>,
    pub(crate) status: Option<ExitStatus>,
    pub(crate) finished: bool,
    /// It was killed for taking too long.
    pub(crate) hung: bool,
    pub(crate) counters: Counters,
    pub(crate) violations: Vec<String>,
    /// Libraries that the program is run with.
    preload: Option<String>,
    /// Functions to probe by offset in the program's file, each with its reads.
    wanted: Vec<(u64, Probe)>,
    program: PathBuf,
    unresolved: Vec<Probe>,
    /// What of the program is wanted, and what entering the probed functions means, by probe.
    gate: Gate,
    answers: Vec<Answer>,
    /// By thread: the probe that was entered last.
    entered: HashMap<u32, u32>,
    /// Times that the engine asked.
    pub(crate) asked: usize,
}

impl Sink for Recording {
    fn runs(&mut self, _: u32, sites: &SiteTable, batch: &RunBatch) {
        for run in batch.runs() {
            let block = sites.block(run.block).expect("a run names a block of the table");
            self.instructions += u64::from(block.instructions) * run.executions();
            self.flops += u64::from(block.flops) * run.executions();
            self.longest_run = self.longest_run.max(run.iterations);
            for operand in run.operands {
                let (loads, stores) = operand.kind.loads_and_stores();
                self.loads += loads * run.iterations;
                self.stores += stores * run.iterations;
            }
            if let Some(sums) = &mut self.sums {
                *sums.instructions.entry(block.address).or_default() +=
                    u64::from(block.instructions) * run.executions();
                for operand in run
                    .operands
                    .iter()
                    .filter(|operand| operand.kind != AccessKind::Fetch)
                {
                    *sums.bytes.entry(sites.site(operand.site).ip).or_default() +=
                        u64::from(operand.bytes) * run.iterations;
                }
            }
            let is_wanted = |ip| self.within.as_ref().is_none_or(|range| range.contains(&ip));
            if !self.keep || !is_wanted(block.address) {
                continue;
            }
            for iteration in 0..run.iterations.cast_signed() {
                for operand in run
                    .operands
                    .iter()
                    .filter(|operand| operand.kind != AccessKind::Fetch)
                {
                    self.accesses.push(Access {
                        ip: sites.site(operand.site).ip,
                        kind: operand.kind,
                        address: operand.address.wrapping_add_signed(operand.stride * iteration),
                        bytes: operand.bytes,
                    });
                }
            }
        }
    }

    fn event(&mut self, thread: u32, event: Event) {
        if let Event::ProbeEnter { probe, .. } = &event {
            self.entered.insert(thread, *probe);
        }
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
                    let address = address + offset - file_offset;
                    self.unresolved.push(Probe {
                        address,
                        ..probe.clone()
                    });
                }
            }
        }
        self.events.push(event);
    }

    fn probes(&mut self, _first: u32) -> Vec<Probe> {
        std::mem::take(&mut self.unresolved)
    }

    fn answer(&mut self, thread: u32) -> Answer {
        self.asked += 1;
        self.answers[self.entered[&thread] as usize]
    }
}

impl Recording {
    /// Runs a program; keeps single accesses if `keep`.
    pub(crate) fn of(program: impl AsRef<OsStr>, arguments: &[&str], keep: bool) -> Self {
        Self {
            keep,
            ..Self::default()
        }
        .run(program, arguments, &Geometry::default())
    }

    /// Runs a program; keeps single accesses of its code in `range`.
    pub(crate) fn within(program: &Path, arguments: &[&str], range: Range<u64>) -> Self {
        Self {
            keep: true,
            within: Some(range),
            ..Self::default()
        }
        .run(program, arguments, &Geometry::default())
    }

    /// Runs a program; keeps sums by address.
    pub(crate) fn with_sums(program: &Path) -> Self {
        Self {
            sums: Some(Sums::default()),
            ..Self::default()
        }
        .run(program, &[], &Geometry::default())
    }

    /// Runs a program with functions of it probed, and a small stream, so that its rings go round.
    pub(crate) fn with_probes(program: &Path, arguments: &[&str], wanted: Vec<(u64, Probe)>) -> Self {
        let geometry = Geometry {
            chunks: 4,
            chunk_bytes: 64 << 10,
            rings: 8,
            ..Geometry::default()
        };
        Self {
            wanted,
            program: program.to_owned(),
            ..Self::default()
        }
        .run(program, arguments, &geometry)
    }

    /// Runs a program of which only a part is wanted: functions by name, what is read there, and what entering them means.
    pub(crate) fn gated(
        program: &Path,
        arguments: &[&str],
        gate: Gate,
        functions: Vec<(u64, Probe, Answer)>,
    ) -> Self {
        let answers = functions.iter().map(|(.., answer)| *answer).collect();
        let wanted = functions.into_iter();
        Self {
            wanted: wanted.map(|(offset, probe, _)| (offset, probe)).collect(),
            program: program.to_owned(),
            gate,
            answers,
            sums: Some(Sums::default()),
            ..Self::default()
        }
        .run(program, arguments, &Geometry::default())
    }

    /// Runs a program with a library preloaded behind the engine.
    pub(crate) fn with_library(
        preload: Option<String>,
        program: impl AsRef<OsStr>,
        arguments: &[&str],
    ) -> Self {
        Self {
            preload,
            ..Self::default()
        }
        .run(program, arguments, &Geometry::default())
    }

    /// Runs a program on a stream of this geometry.
    pub(crate) fn run(self, program: impl AsRef<OsStr>, arguments: &[&str], geometry: &Geometry) -> Self {
        let mut consumer = Consumer::create(geometry).expect("a stream");
        consumer.gate(self.gate);
        let mut preload = library().into_os_string();
        if let Some(others) = &self.preload {
            preload.push(":");
            preload.push(others);
        }
        let mut child = Command::new(&program)
            .args(arguments)
            .env("LD_PRELOAD", preload)
            .env(FD_VARIABLE, consumer.descriptor().as_raw_fd().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut pipe = child.stdout.take().expect("its output");
        let reader = std::thread::spawn(move || {
            let mut output = Vec::new();
            pipe.read_to_end(&mut output).map(|_| output)
        });
        let mut checker = Checker::new(self);
        let started = Instant::now();
        let (mut finished, mut hung) = (false, false);
        let status = loop {
            if !hung && started.elapsed() > PATIENCE {
                child.kill().expect("a running program");
                hung = true;
            }
            if finished {
                std::thread::sleep(Duration::from_millis(1));
            } else {
                match consumer
                    .poll(&mut checker, Duration::from_millis(20))
                    .expect("a sound stream")
                {
                    Progress::Chunk => continue,
                    Progress::Finished => finished = true,
                    Progress::Idle => {}
                }
            }
            if let Some(status) = child.try_wait().expect("its state") {
                break status;
            }
        };
        consumer.drain(&mut checker).expect("a sound stream");
        let violations = checker
            .violations()
            .iter()
            .map(|violation| violation.what.clone())
            .collect();
        Self {
            output: reader.join().expect("the reader").expect("its output"),
            status: Some(status),
            finished: consumer.finished(),
            hung,
            counters: consumer.counters(),
            violations,
            ..checker.into_inner()
        }
    }

    /// The events that a function picks.
    pub(crate) fn pick<T>(&self, choose: impl Fn(&Event) -> Option<T>) -> Vec<T> {
        self.events.iter().filter_map(choose).collect()
    }

    /// The exit code, as a shell shows it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }
}

/// The engine as it was built for this test.
pub(crate) fn library() -> PathBuf {
    let own = std::env::current_exe().expect("the test's path");
    let folder = own.parent().expect("its folder");
    let library = folder.join("libmemloupe_engine.so");
    assert!(library.exists(), "{} is not built", library.display());
    library
}

/// Compiles a C or C++ program of `tests/programs`; it stays for the whole test run.
pub(crate) fn compile(source: &str, flags: &[&str]) -> PathBuf {
    let folder = tempfile::tempdir().expect("a folder for the program").keep();
    let path = folder.join("program");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let compiler = if source.extension() == Some(OsStr::new("cpp")) {
        "c++"
    } else {
        "cc"
    };
    let status = Command::new(compiler)
        .arg(&source)
        .args(flags)
        .arg("-o")
        .arg(&path)
        .status()
        .expect("a compiler");
    assert!(status.success(), "{} does not compile", source.display());
    path
}

/// File offset of a function, from the symbol table of a program whose code lies at its file offset.
pub(crate) fn symbol(program: &Path, name: &str) -> u64 {
    let output = Command::new("nm")
        .arg(program)
        .output()
        .expect("binutils are installed");
    let text = String::from_utf8(output.stdout).expect("nm prints text");
    let line = text
        .lines()
        .find(|line| line.split_whitespace().nth(2) == Some(name))
        .unwrap_or_else(|| panic!("no symbol {name}"));
    u64::from_str_radix(line.split_whitespace().next().unwrap_or_default(), 16).expect("nm prints addresses")
}
