//! `memloupe doctor`: what this computer can do, and how to mend what it can't.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use memloupe_hierarchy::Machine;

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Good,
    Note,
    Bad,
}

/// One line of the report.
struct Finding {
    mark: Mark,
    subject: &'static str,
    what: String,
}

/// The report, and whether the main job (a run) can be done here.
#[must_use]
pub fn examine() -> (String, bool) {
    let findings = [
        engine(),
        native_engine(),
        instruction_sets(),
        debug_info(),
        caches(),
        shared_memory(),
    ];
    let mut text = String::new();
    for Finding { mark, subject, what } in &findings {
        let sign = match mark {
            Mark::Good => "ok  ",
            Mark::Note => "note",
            Mark::Bad => "BAD ",
        };
        let _ = writeln!(text, "{sign}  {subject:<16}  {what}");
    }
    (text, findings.iter().all(|finding| finding.mark != Mark::Bad))
}

fn engine() -> Finding {
    let (mark, what) = match memloupe_valgrind::probe() {
        Ok(found) => (
            Mark::Good,
            format!("Valgrind {} ({})", found.version, found.program.display()),
        ),
        Err(error) => (Mark::Note, format!("{error}; only `--engine valgrind` needs it")),
    };
    Finding {
        mark,
        subject: "valgrind engine",
        what,
    }
}

fn native_engine() -> Finding {
    let has_segment_bases = cpu_flags().iter().any(|flag| flag == "fsgsbase");
    let (mark, what) = if has_segment_bases {
        let kibibytes = crate::launch::NATIVE_ENGINE.len() >> 10;
        let what = format!("carried ({kibibytes} KiB); for dynamically linked programs");
        (Mark::Good, what)
    } else {
        let what = "needs the FSGSBASE instructions (Linux 5.9, Ivy Bridge, Zen); use --engine valgrind";
        (Mark::Bad, what.to_owned())
    };
    Finding {
        mark,
        subject: "native engine",
        what,
    }
}

/// Instruction sets that matter for a choice of engine, as /proc/cpuinfo calls them.
const INSTRUCTION_SETS: [(&str, &str, bool); 5] = [
    ("AVX2", "avx2", true),
    ("FMA", "fma", true),
    ("AVX-512", "avx512f", false),
    ("AVX512-VNNI", "avx512_vnni", false),
    ("AMX", "amx_tile", false),
];

/// What /proc/cpuinfo says of the first processor.
fn cpu_flags() -> Vec<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("flags"))
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .unwrap_or_default()
}

fn instruction_sets() -> Finding {
    let flags = cpu_flags();
    let present = INSTRUCTION_SETS
        .iter()
        .filter(|(_, name, _)| flags.iter().any(|flag| flag == name));
    let (visible, hidden): (Vec<_>, Vec<_>) = present.partition(|(_, _, in_valgrind)| *in_valgrind);
    let names =
        |sets: &[&(&'static str, &str, bool)]| sets.iter().map(|s| s.0).collect::<Vec<_>>().join(", ");
    let mut what = format!(
        "x86-64 with {}",
        if visible.is_empty() {
            "SSE2".to_owned()
        } else {
            names(&visible)
        }
    );
    if !hidden.is_empty() {
        let _ = write!(
            what,
            "; {} hidden from targets under --engine valgrind: build them for x86-64-v3 (-march=haswell) there",
            names(&hidden)
        );
    }
    Finding {
        mark: Mark::Good,
        subject: "processor",
        what,
    }
}

fn debug_info() -> Finding {
    let folder = Path::new("/usr/lib/debug/.build-id");
    let (mark, what) = if folder.is_dir() {
        (
            Mark::Good,
            format!("separate debug files under {}", folder.display()),
        )
    } else {
        let hint = "no separate debug files: system libraries show exported functions only; packages named *-dbg or \
                    *-dbgsym (libc6-dbg) add source lines; build your own programs with -g";
        (Mark::Note, hint.to_owned())
    };
    Finding {
        mark,
        subject: "debug info",
        what,
    }
}

fn caches() -> Finding {
    let (mark, what) = match Machine::load("host") {
        Ok(machine) => {
            let levels: Vec<String> = machine
                .caches
                .iter()
                .map(|c| format!("{} {} KiB/{} ways", c.name, c.size_bytes >> 10, c.ways))
                .collect();
            let mut what = levels.join(", ");
            for note in &machine.notes {
                let _ = write!(what, "; {note}");
            }
            (
                if machine.notes.is_empty() {
                    Mark::Good
                } else {
                    Mark::Note
                },
                what,
            )
        }
        Err(error) => (Mark::Note, format!("{error}; use --machine with a preset")),
    };
    Finding {
        mark,
        subject: "host caches",
        what,
    }
}

fn shared_memory() -> Finding {
    let (mark, what) = match memloupe_stream::Consumer::create(&memloupe_stream::Geometry::default()) {
        Ok(_) => (
            Mark::Good,
            "the stream's shared file can be made and mapped".to_owned(),
        ),
        Err(error) => (
            Mark::Bad,
            format!("{error}; raise the limit on address space (ulimit -v)"),
        ),
    };
    Finding {
        mark,
        subject: "shared memory",
        what,
    }
}
