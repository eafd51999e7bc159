//! Real programs, unchanged, under whole-program capture by the native engine: they print what they print natively and
//! return the same, and the stream is sound and complete.
//!
//! `scripts/setup --programs` installs them. The consumer here decodes and checks, and simulates nothing: these programs
//! execute some thousand million instructions. `scripts/stress` runs the same table again and again, with what is too
//! large for every test run besides.

#[path = "../../instrument/engine/tests/recording/mod.rs"]
mod recording;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use recording::{Recording, compile};

const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

/// A program and how it is run. In its words, `{python}` is the Python with onnxruntime, `{real}` the folder of the
/// programs' sources, `{libc}` a large file, `{exceptions}`, `{signals}` and `{allocations}` compiled programs, `{llama}` and
/// `{model}` llama.cpp and a model of random weights.
struct Program {
    name: &'static str,
    command: &'static [&'static str],
    /// A library of [`LIBRARIES`] to preload behind the engine.
    preload: Option<&'static str>,
}

/// Makes a test of each program, and the table.
macro_rules! programs {
    ($table:ident: $($(#[$attribute:meta])* $name:ident $(($preload:literal))? [$($word:literal),* $(,)?])*) => {
        $(#[test] $(#[$attribute])* fn $name() {
            run(&Program { name: stringify!($name), command: &[$($word),*], preload: programs!(@ $($preload)?) });
        })*
        const $table: &[Program] = &[$(
            Program { name: stringify!($name), command: &[$($word),*], preload: programs!(@ $($preload)?) },
        )*];
    };
    (@) => { None };
    (@ $preload:literal) => { Some($preload) };
}

programs! { PROGRAMS:
    gzip ["gzip", "-c", "{libc}"]
    xz_threads ["xz", "-T2", "-0", "-c", "{libc}"]
    ls ["ls", "-l", "/usr/bin"]
    perl ["perl", "-e", "my %h; $h{$_ % 97} += $_ for 1..20000; print map {\"$_=$h{$_}\\n\"} sort keys %h"]
    sqlite3 ["sqlite3", ":memory:",
        "create table t(a, b);
         with recursive c(x) as (select 1 union all select x + 1 from c where x < 9000) insert into t select x, x % 17 from c;
         create index i on t(b);
         select b, count(*), sum(a) from t group by b order by sum(a) desc;"]
    python ["python3", "-c", "import json, re, hashlib; print(json.dumps(re.findall('(.)a', 'banana')), hashlib.sha256(b'x').hexdigest())"]
    luajit ["luajit", "-e",
        "local s = 0 for i = 1, 3e6 do s = s + i % 7 end print(s)
         local t = {} for i = 1, 1e5 do t[i] = tostring(i):rep(2) end print(#table.concat(t))"]
    node ["node", "-e",
        "let s = 0, m = new Map(); for (let i = 0; i < 1e6; i++) { s += i % 7; if (i % 9 == 0) m.set('k' + i % 999, s) }
         console.log(s, m.size, /(a+)b/.exec('xaaab')[1], JSON.stringify([...m].slice(0, 3)))"]
    numpy ["/usr/bin/python3", "{real}/numpy_blas.py"]
    onnxruntime_transformer ["{python}", "{real}/onnx_models.py", "transformer", "1"]
    onnxruntime_cnn ["{python}", "{real}/onnx_models.py", "cnn", "2"]
    pytorch_training ["/usr/bin/python3", "{real}/torch_train.py", "2"]
    exceptions ["{exceptions}"]
    signals ["{signals}"]
    llama_1_thread ["{llama}", "-m", "{model}", "-p", "8", "-n", "4", "-t", "1"]
    llama_2_threads ["{llama}", "-m", "{model}", "-p", "8", "-n", "4", "-t", "2"]
    allocations_glibc ["{allocations}"]
    allocations_jemalloc("libjemalloc.so.2") ["{allocations}"]
    allocations_tcmalloc("libtcmalloc_minimal.so.4") ["{allocations}"]
    allocations_mimalloc("libmimalloc.so.2.0") ["{allocations}"]
    wrapped_by_timeout ["timeout", "60", "gzip", "-c", "/bin/sh"]
    wrapped_by_env ["env", "-i", "A=b", "/usr/bin/gzip", "-c", "/bin/sh"]
    wrapped_by_env_and_script ["env", "-i", "LD_PRELOAD=libm.so.6", "/bin/sh", "-c", "unset LD_PRELOAD; exec /usr/bin/gzip -c /bin/sh"]
    shell_script ["sh", "-c", "for i in 1 2 3; do echo $i | gzip | gzip -d; done; (exit 3) || echo $?; exec sort -r /etc/passwd"]
    shell_script_with_descriptors ["sh", "-c",
        "f=$(mktemp); exec 3<>$f; echo three >&3; ls -l /proc/self/fd/3 | wc -l; cat $f; exec 3>&-; rm $f; : | exec sort -r"]
    children_without_descriptors ["python3", "-c",
        "import subprocess as s; print([s.run(['sh', '-c', 'echo a; exec 2>&1; ls /'], capture_output=True, close_fds=f) for f in (False, True)])"]
}

programs! { LARGE:
    #[ignore = "for scripts/stress"]
    openvino ["{python}", "{real}/openvino_cnn.py"]
    #[ignore = "for scripts/stress"]
    candle ["{candle}"]
}

/// A program named by an environment variable, which the script that makes it sets.
fn named(variable: &str, script: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run {script}, which sets it"))
}

fn expand(word: &str) -> String {
    let compiled = |source: &str, flags: &[&str]| compile(source, flags).display().to_string();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/real");
    match word {
        "{python}" => named("MEMLOUPE_PYTHON", "scripts/test"),
        "{llama}" => memloupe_tests::llama().display().to_string(),
        "{model}" => memloupe_tests::model("smoke", "q4_0").display().to_string(),
        "{candle}" => named("MEMLOUPE_CANDLE", "scripts/stress"),
        "{libc}" => format!("{LIBRARIES}/libc.so.6"),
        "{exceptions}" => compiled(
            "../instrument/engine/tests/programs/exceptions.cpp",
            &["-O2", "-pthread"],
        ),
        "{signals}" => compiled("../instrument/engine/tests/programs/signals.c", &["-O2"]),
        "{allocations}" => compiled("programs/real/allocations.c", &["-O2", "-pthread"]),
        word => word.replace("{real}", folder),
    }
}

/// How a recorded run compares with a native one.
struct Outcome {
    recording: Recording,
    /// What is wrong with it; nothing if all is well.
    faults: Vec<String>,
    native: Duration,
    recorded: Duration,
}

impl Program {
    fn compare(&self) -> Outcome {
        let words: Vec<String> = self.command.iter().map(|word| expand(word)).collect();
        let preload = self.preload.map(|library| format!("{LIBRARIES}/{library}"));
        if let Some(library) = &preload {
            assert!(
                PathBuf::from(library).exists(),
                "{library} is missing: scripts/setup --programs installs it"
            );
        }
        let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let mut alone = Command::new(&words[0]);
        alone.args(&arguments).stderr(Stdio::null());
        if let Some(library) = &preload {
            alone.env("LD_PRELOAD", library);
        }
        let started = Instant::now();
        let alone = alone
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}; scripts/setup --programs installs it", words[0]));
        let native = started.elapsed();
        assert!(
            alone.status.success(),
            "{} fails natively: {}",
            self.name,
            alone.status
        );
        let recording = Recording::with_library(preload, &words[0], &arguments);
        let mut faults = Vec::new();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                faults.push(what);
            }
        };
        expect(!recording.hung, "hangs".to_owned());
        expect(
            recording.status == Some(alone.status),
            format!("ends with {:?}", recording.status),
        );
        expect(
            recording.output == alone.stdout,
            "prints something else".to_owned(),
        );
        expect(recording.finished, "the stream has no end".to_owned());
        expect(
            recording.counters.lost_records == 0 || self.name == "signals",
            format!("{:?}", recording.counters),
        );
        expect(
            recording.violations.is_empty(),
            format!("{:?}", recording.violations),
        );
        Outcome {
            faults,
            native,
            recorded: started.elapsed() - native,
            recording,
        }
    }
}

fn run(program: &Program) {
    let outcome = program.compare();
    assert!(
        outcome.faults.is_empty(),
        "{}: {:?}",
        program.name,
        outcome.faults
    );
    assert!(outcome.recording.loads > 1000, "{} is not recorded", program.name);
}

/// Runs every program again and again for as many minutes as `MEMLOUPE_STRESS_MINUTES` says.
#[test]
#[ignore = "for scripts/stress"]
fn stress() {
    let minutes: u64 = named("MEMLOUPE_STRESS_MINUTES", "scripts/stress")
        .parse()
        .expect("a number of minutes");
    let only = std::env::var("MEMLOUPE_STRESS_ONLY").unwrap_or_default();
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let programs: Vec<&Program> = PROGRAMS
        .iter()
        .chain(LARGE)
        .filter(|program| program.name.contains(&only))
        .collect();
    // Runs, faulty runs, seconds native and recorded, accesses of each program.
    let mut tally = vec![(0, 0, 0.0, 0.0, 0); programs.len()];
    let mut faults = String::new();
    while Instant::now() < end {
        for (program, tally) in programs.iter().zip(&mut tally) {
            if Instant::now() >= end {
                break;
            }
            let outcome = program.compare();
            tally.0 += 1;
            tally.2 += outcome.native.as_secs_f64();
            tally.3 += outcome.recorded.as_secs_f64();
            tally.4 = outcome.recording.loads + outcome.recording.stores;
            if !outcome.faults.is_empty() {
                tally.1 += 1;
                let _ = writeln!(faults, "{}: {}", program.name, outcome.faults.join("; "));
                eprintln!("{}: {}", program.name, outcome.faults.join("; "));
            }
        }
    }
    println!(
        "{:30} {:>5} {:>6} {:>10} {:>12} {:>10}",
        "program", "runs", "faulty", "native s", "recorded s", "Maccesses"
    );
    for (program, (runs, faulty, native, recorded, accesses)) in programs.iter().zip(&tally) {
        let each = |seconds: f64| seconds / f64::from((*runs).max(1));
        println!(
            "{:30} {runs:>5} {faulty:>6} {:>10.2} {:>12.2} {:>10.1}",
            program.name,
            each(*native),
            each(*recorded),
            *accesses as f64 / 1e6
        );
    }
    let (runs, faulty) = tally
        .iter()
        .fold((0, 0), |sum, program| (sum.0 + program.0, sum.1 + program.1));
    println!("{runs} runs, {faulty} faulty");
    assert!(faults.is_empty(), "{faults}");
}
