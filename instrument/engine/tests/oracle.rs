//! The native engine against the Valgrind engine: on the same program, every instruction of the program's own code makes
//! the same number of accesses of the same kind and size under both.

mod recording;

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use memloupe_stream::{
    AccessKind, Consumer, Event, FD_VARIABLE, Geometry, Progress, RunBatch, Sink, SiteTable,
};
use recording::{compile, library};

/// Where the code of a program that is not position-independent lies.
const OWN_CODE: std::ops::Range<u64> = 0x40_0000..0x100_0000;

/// Per instruction, kind and size: how many accesses. Fetches count executions of a block's first instruction, and
/// blocks are cut differently: they are left out.
#[derive(Default)]
struct Counts {
    accesses: BTreeMap<(u64, &'static str, u32), u64>,
    instructions: u64,
    flops: u64,
}

impl Sink for Counts {
    fn runs(&mut self, _: u32, sites: &SiteTable, batch: &RunBatch) {
        for run in batch.runs() {
            let block = sites.block(run.block).expect("a run names a block of the table");
            if !OWN_CODE.contains(&block.address) {
                continue;
            }
            self.instructions += u64::from(block.instructions) * run.executions();
            self.flops += u64::from(block.flops) * run.executions();
            for operand in run
                .operands
                .iter()
                .filter(|operand| operand.kind != AccessKind::Fetch)
            {
                let site = sites.site(operand.site);
                *self
                    .accesses
                    .entry((site.ip, site.kind.name(), operand.bytes))
                    .or_default() += run.iterations;
            }
        }
    }

    fn event(&mut self, _: u32, _: Event) {}
}

fn run(mut command: Command) -> Counts {
    let mut consumer = Consumer::create(&Geometry::default()).expect("a stream");
    let mut child = command
        .env(FD_VARIABLE, consumer.descriptor().as_raw_fd().to_string())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut counts = Counts::default();
    while consumer
        .poll(&mut counts, Duration::from_millis(20))
        .expect("a sound stream")
        != Progress::Finished
    {}
    assert!(child.wait().expect("its end").success());
    counts
}

fn compare(program: &Path, arguments: &[&str]) {
    let mut native = Command::new(program);
    native.args(arguments).env("LD_PRELOAD", library());
    let native = run(native);
    let folder = tempfile::tempdir().expect("a folder for the tool");
    let tool = memloupe_valgrind::install(folder.path()).expect("the Valgrind tool");
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let oracle = run(tool.command(program.as_os_str(), &arguments));
    assert!(native.accesses.values().sum::<u64>() > 300, "{arguments:?}");
    assert_eq!(
        native.instructions, oracle.instructions,
        "{arguments:?}: instructions"
    );
    assert_eq!(
        native.flops, oracle.flops,
        "{arguments:?}: floating-point operations"
    );
    let different: Vec<_> = native
        .accesses
        .keys()
        .chain(oracle.accesses.keys())
        .filter(|site| native.accesses.get(site) != oracle.accesses.get(site))
        .map(|site| (site, native.accesses.get(site), oracle.accesses.get(site)))
        .collect();
    assert!(
        different.is_empty(),
        "{arguments:?}: native, Valgrind: {different:x?}"
    );
}

#[test]
fn kernels_agree() {
    let flags = ["-O3", "-mavx2", "-mfma", "-ffast-math", "-no-pie", "-fno-pie"];
    let kernels = compile("../../tests/programs/kernels.c", &flags);
    for name in ["copy", "strided_sum", "gather", "chase", "increment", "gemv"] {
        compare(&kernels, &[name, if name == "gemv" { "60" } else { "3000" }]);
    }
}

#[test]
fn exceptions_agree() {
    let flags = ["-O2", "-pthread", "-no-pie", "-fno-pie", "-mavx2"];
    let program = compile("tests/programs/exceptions.cpp", &flags);
    compare(&program, &[]);
}
