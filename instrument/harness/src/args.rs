//! The command line, parsed purely: nothing here looks at the computer.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use memloupe_attribute::{RegionName, SampleRule};

use crate::join::Join;
use crate::moved::Move;
use crate::window::Extent;

use crate::analyses;

/// Where do the bytes go? Runs a program, captures every load and store, and maps them onto operators, data objects and
/// the levels of a memory hierarchy.
#[derive(Debug, Parser)]
#[command(name = "memloupe", version, max_term_width = 110, after_help = exit_statuses())]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a program and map its memory accesses
    Run(Run),
    /// Map a recorded program's memory accesses, on any machine
    Replay(Replay),
    /// Turn a recording or another tool's trace into a trace, of all accesses or of what leaves a cache level
    Trace(Trace),
    /// Show a profile by any of its dimensions
    Report(Report),
    /// List, show or check machine descriptions
    Machine(MachineCommand),
    /// Drive a DRAM device alone with a trace of Ramulator 2, DRAMsim3 or DRAMSys
    Dram(Dram),
    /// Say what this computer can do and how to mend what is missing
    Doctor,
}

/// `memloupe run`.
#[derive(Debug, Args)]
pub struct Run {
    /// How to capture
    #[arg(long, value_enum, default_value_t = EngineChoice::DEFAULT)]
    pub engine: EngineChoice,
    /// The memory hierarchy to simulate: a preset (see `memloupe machine list`), a TOML file, or `none` to count only; may
    /// be repeated, to simulate several from one run of the program
    #[arg(long, value_name = "NAME|FILE", default_value = "host")]
    pub machine: Vec<String>,
    /// Operator preset or TOML file; `auto` tries every preset, `none` looks for no operators, `list` shows them
    #[arg(long, value_name = "NAME|FILE", default_value = "auto")]
    pub ops: String,
    /// Don't observe what the Python layer of frameworks knows (PyTorch: modules, phases, weights, gradients, optimizer state)
    #[arg(long)]
    pub no_python_hooks: bool,
    /// What is found out about lines.
    #[command(flatten)]
    pub locality: Locality,
    /// What is observed.
    #[command(flatten)]
    pub scope: Scope,
    /// Folder for the profile; an older profile there is kept as FOLDER.old
    #[arg(short, long, value_name = "FOLDER", default_value = "memloupe.profile")]
    pub output: PathBuf,
    /// Show progress: on a terminal, always (a line every ten seconds where there is no terminal), or never
    #[arg(long, value_enum, default_value_t = ProgressChoice::Auto)]
    pub progress: ProgressChoice,
    /// Check the stream's invariants on the way, simulate the caches access by access as well, and report what breaks or
    /// differs
    #[arg(long)]
    pub check: bool,
    /// Drop the stream undecoded: what capture alone costs. The profile is profile.json only, with what the engine itself
    /// counts; operators are not probed
    #[arg(long,
          conflicts_with_all = ["check", "region", "after", "length", "sample", "call_paths", "record"])]
    pub discard: bool,
    /// Record the stream too, compressed, for `memloupe replay`: all of it, whatever part of the program is observed
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Print no table at the end, only where the profile is
    #[arg(short, long)]
    pub quiet: bool,
    /// The program and its arguments
    #[arg(last = true, required_unless_present_any = ["ops", "analyses"], value_name = "PROGRAM")]
    pub command: Vec<String>,
}

/// `memloupe replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// What `memloupe run --record FILE` wrote
    #[arg(value_name = "FILE")]
    pub recording: PathBuf,
    /// Files of the program that were below FROM are below TO; may be repeated
    #[arg(long, value_name = "FROM=TO")]
    pub moved: Vec<Move>,
    /// Take operators, where nothing better tells them, from the profile that the framework itself has written of this run, by
    /// time: a Chrome trace of ONNX Runtime or PyTorch. @NS: its zero in Unix time, if it does not tell it
    #[arg(long, value_name = "FILE[@NS]")]
    pub join: Option<Join>,
    /// The memory hierarchy to simulate: a preset (see `memloupe machine list`), a TOML file, or `none` to count only; may
    /// be repeated
    #[arg(long, value_name = "NAME|FILE", default_value = "host")]
    pub machine: Vec<String>,
    /// What is found out about lines.
    #[command(flatten)]
    pub locality: Locality,
    /// What is observed.
    #[command(flatten)]
    pub scope: Scope,
    /// Folder for the profile; an older profile there is kept as FOLDER.old
    #[arg(short, long, value_name = "FOLDER", default_value = "memloupe.profile")]
    pub output: PathBuf,
    /// Show progress: on a terminal, always, or never
    #[arg(long, value_enum, default_value_t = ProgressChoice::Auto)]
    pub progress: ProgressChoice,
    /// Print no table at the end, only where the profile is
    #[arg(short, long)]
    pub quiet: bool,
}

/// `memloupe trace`.
#[derive(Debug, Args)]
pub struct Trace {
    /// What `memloupe run --record FILE` wrote, or a trace in the format of --from, which may be compressed
    #[arg(value_name = "INPUT", required_unless_present = "list")]
    pub input: Option<PathBuf>,
    /// The trace to write; compressed if its name ends with .gz or .xz
    #[arg(value_name = "OUTPUT", required_unless_present = "list")]
    pub output: Option<PathBuf>,
    /// List the formats, with what each keeps
    #[arg(long)]
    pub list: bool,
    /// Format of the output
    #[arg(long, value_name = "FORMAT", required_unless_present = "list")]
    pub to: Option<String>,
    /// Format of the input, if it is no recording
    #[arg(long, value_name = "FORMAT")]
    pub from: Option<String>,
    /// Not the accesses, but what leaves this cache level towards memory: a level of the machine, such as l2, or llc for
    /// the last one, which is what DRAM sees
    #[arg(long, value_name = "LEVEL")]
    pub below: Option<String>,
    /// The machine whose caches are simulated for that, and in whose memory coordinates lie (ramulator-rw)
    #[arg(long, value_name = "NAME|FILE", default_value = "host")]
    pub machine: String,
    /// Length of a clock for formats whose times are in seconds (gem5). Of a recording, a clock is an instruction of all
    /// threads together
    #[arg(long, value_name = "PICOSECONDS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub clock_ps: u64,
    /// Of a recording, files of the program that were below FROM are below TO; may be repeated
    #[arg(long, value_name = "FROM=TO")]
    pub moved: Vec<Move>,
    /// Don't write OUTPUT.names.parquet, which says of a recording's references what operator, object and phase they are of
    #[arg(long)]
    pub no_names: bool,
}

/// What is found out about lines.
#[derive(Debug, Args)]
pub struct Locality {
    /// What to find out about locality, separated by commas; `all`, `none`, or `list` to see what there is
    #[arg(long, value_name = "LIST", default_value = analyses::DEFAULT, value_parser = analyses::parse)]
    pub analyses: analyses::Choice,
    /// Follow one cache line in N for these; 1 follows all, which is exact and slow
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub line_sample: u64,
    /// Follow at most so many lines: if there are more, every second one is dropped [default: 1048576; all of them for
    /// --line-sample 1]
    #[arg(long, value_name = "LINES", value_parser = clap::value_parser!(u32).range(1..))]
    pub line_limit: Option<u32>,
}

/// The part of a program's run that is observed.
#[derive(Debug, Args)]
pub struct Scope {
    /// Observe only inside: an operator kind, operator name, function, phase or marker that matches GLOB; with ASPECT=
    /// (kind, operator, function, phase, marker) only such
    #[arg(long, value_name = "[ASPECT=]GLOB")]
    pub region: Option<RegionName>,
    /// Begin after so much: 4ops (instances of the region; without one, of operators), 3tokens (numbered phases), 2s,
    /// 500ms, 10Minst (inst, kinst, Minst, Ginst: captured instructions)
    #[arg(long, value_name = "EXTENT")]
    pub after: Option<Extent>,
    /// End after so much more; the program goes on to its end
    #[arg(long = "for", value_name = "EXTENT")]
    pub length: Option<Extent>,
    /// Simulate a part and estimate the rest, with a 95% interval for each figure. ops:K: of the many like instances of an
    /// operator (same kind, shape, type, weights, name up to the layer's number) the first K, then K up to the
    /// 8 K-th, K up to the 64 K-th…; what lies outside operators is left out. BURST/PERIOD, as in 1Minst/20Minst: of each period, a burst at a
    /// random place (inst, kinst, Minst, Ginst)
    #[arg(long, value_name = "RULE",
          conflicts_with_all = ["analyses", "line_sample", "line_limit"])]
    pub sample: Option<SampleRule>,
    /// Follow every call and return, so that reports can group by `callpath`: more rows, and slower where calls are frequent
    #[arg(long)]
    pub call_paths: bool,
}

/// Capture engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineChoice {
    /// In-process translator: all threads at once, AVX-512, JIT code; dynamically linked programs
    Native,
    /// Our Valgrind tool: any program, statically linked ones too; serial, no AVX-512
    Valgrind,
}

impl EngineChoice {
    /// The fast one.
    pub const DEFAULT: Self = Self::Native;
}

/// When to show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressChoice {
    /// If standard error is a terminal
    Auto,
    /// Yes
    Always,
    /// No
    Never,
}

/// `memloupe report`.
#[derive(Debug, Args)]
pub struct Report {
    /// The profile
    #[arg(value_name = "FOLDER", default_value = "memloupe.profile")]
    pub profile: PathBuf,
    /// Dimensions to group by, separated by commas
    #[arg(long, value_name = "KEYS", default_value = "kind", value_delimiter = ',', help = by_help())]
    pub by: Vec<String>,
    /// Show what an analysis of locality found instead
    #[arg(long, value_name = "TABLE", help = table_help())]
    pub table: Option<String>,
    /// Column to sort by, largest first
    #[arg(long, value_name = "COLUMN")]
    pub sort: Option<String>,
    /// Most rows to print in a table
    #[arg(long, value_name = "ROWS", default_value_t = 30)]
    pub limit: usize,
    /// Of a run of several machines, the one to report on [default: the run's first]; `all` compares them: the column
    /// sorted by, once for each machine
    #[arg(long, value_name = "NAME")]
    pub machine: Option<String>,
    /// Keep only rows whose KEY matches GLOB; may be repeated
    #[arg(long, value_name = "KEY=GLOB")]
    pub filter: Vec<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// Report formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// An array of flat objects
    Json,
    /// Comma-separated values
    Csv,
    /// The self-contained page
    Html,
    /// The keys as frames of a flame graph (SVG), the column sorted by as their width
    Flamegraph,
    /// The same as text: frames separated by semicolons, and the width
    Folded,
}

/// `memloupe dram`.
#[derive(Debug, Args)]
pub struct Dram {
    /// The trace: `LD|ST ADDRESS` or `R|W FIELDS` (Ramulator 2), `ADDRESS READ|WRITE CLOCK` (DRAMsim3), or
    /// `CLOCK: read|write ADDRESS` (DRAMSys). Of several, each is a source that sends on its own
    #[arg(value_name = "TRACE", required_unless_present = "list")]
    pub traces: Vec<PathBuf>,
    /// BIN or BIN/ORGANISATION, such as DDR4-3200AA/16Gb_x8; or a device file, FILE.toml[:BIN[/ORGANISATION]]
    #[arg(long, value_name = "NAME|FILE", required_unless_present = "list")]
    pub device: Option<String>,
    /// List the devices
    #[arg(long)]
    pub list: bool,
    /// Channels; one of HBM has two pseudo-channels
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub channels: u32,
    /// Ranks (chip selects) per channel
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub ranks: u32,
    /// Address mapping: an order of fields (RoBaRaCoCh, row-rank-bank-bankgroup-column-channel) or bits
    /// (row=33:18; bank=17^21 16^20; …)
    #[arg(long, value_name = "MAPPING", default_value = "RoBaRaCoCh")]
    pub mapping: String,
    /// Bytes of a request whose line does not say; larger than a burst, it takes several
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub request_bytes: u32,
    /// Send a request every so many command clocks
    #[arg(long, value_name = "CLOCKS", conflicts_with_all = ["outstanding", "open_loop"])]
    pub every: Option<u64>,
    /// Send a request when fewer than this many are under way
    #[arg(long, value_name = "N", conflicts_with = "open_loop")]
    pub outstanding: Option<std::num::NonZero<u32>>,
    /// Send as soon as requests are accepted, also where the trace has clocks (the default where it has none)
    #[arg(long)]
    pub open_loop: bool,
    /// fcfs, fr-fcfs, fr-fcfs-cap[=COLUMNS] (0: row hits always first) or bliss[=REQUESTS[,CLOCKS]]
    #[arg(long, default_value = "fr-fcfs")]
    pub scheduler: String,
    /// Of each trace, how much its requests go before those of others: the higher first (0 if there is none for it)
    #[arg(long, value_name = "N,N…", value_delimiter = ',')]
    pub priorities: Vec<u8>,
    /// Clocks after which a request goes before all others, whatever its source
    #[arg(long, value_name = "CLOCKS", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub starvation: u64,
    /// open, closed, capped[=COLUMNS], timeout[=CLOCKS] or adaptive
    #[arg(long, default_value = "open")]
    pub row_policy: String,
    /// all-bank, fine-2x, fine-4x, per-bank, same-bank or none; without it, the standard's first
    #[arg(long)]
    pub refresh: Option<String>,
    /// Refreshes that may be put off while requests wait
    #[arg(long, default_value_t = 0)]
    pub postpone: u8,
    /// Refreshes that may be done ahead while none do
    #[arg(long, default_value_t = 0)]
    pub pull_in: u8,
    /// Against RowHammer: none, rfm[=ACTIVATIONS], prac[=ACTIVATIONS], para[=PROBABILITY] or
    /// graphene[=ACTIVATIONS[,ENTRIES]]
    #[arg(long, default_value = "none")]
    pub mitigation: String,
    /// Entries of the read queue
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub read_queue: u16,
    /// Entries of the write queue
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub write_queue: u16,
    /// Shares of the write queue between which writes are drained
    #[arg(
        long,
        value_name = "LOW,HIGH",
        value_delimiter = ',',
        num_args = 2,
        default_value = "0.2,0.8"
    )]
    pub watermarks: Vec<f64>,
    /// Write the command trace
    #[arg(long, value_name = "FILE")]
    pub commands: Option<PathBuf>,
    /// Hold the command trace against the standard and print what it breaks
    #[arg(long)]
    pub check: bool,
    /// Most threads to simulate channels on
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZero<usize>>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t = DramFormat::Table)]
    pub format: DramFormat,
}

/// Formats of `memloupe dram`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DramFormat {
    /// For people
    Table,
    /// One object
    Json,
}

/// `memloupe machine`.
#[derive(Debug, Args)]
pub struct MachineCommand {
    /// What to do.
    #[command(subcommand)]
    pub action: MachineAction,
}

/// Which lines the traffic of a curve asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CurvePattern {
    /// A stream of reads and one of writes from each core
    Sequential,
    /// Any line
    Random,
}

/// How a curve is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CurveFormat {
    /// For people
    Table,
    /// An array of flat objects, one per point
    Json,
}

/// What to do with machines.
#[derive(Debug, Subcommand)]
pub enum MachineAction {
    /// List the presets
    List,
    /// Print a machine with every value resolved
    Show {
        /// A preset or a TOML file
        #[arg(value_name = "NAME|FILE")]
        machine: String,
    },
    /// Measure read latency against used bandwidth of a machine's memory, at rising load and several shares of reads
    Curve {
        /// A preset or a TOML file
        #[arg(value_name = "NAME|FILE")]
        machine: String,
        /// Which lines are asked for
        #[arg(long, value_enum, default_value_t = CurvePattern::Sequential)]
        pattern: CurvePattern,
        /// How to print it
        #[arg(long, value_enum, default_value_t = CurveFormat::Table)]
        format: CurveFormat,
    },
    /// Say whether a machine file is right
    Check {
        /// A preset or a TOML file
        #[arg(value_name = "NAME|FILE")]
        machine: String,
    },
}

fn exit_statuses() -> String {
    use std::fmt::Write;
    let mut text = "Exit status: that of the program that was run (128 + N if signal N killed it); 2 for a wrong command line;".to_owned();
    for (_, code, what) in crate::failure::EXIT_STATUSES {
        let _ = write!(text, "\n  {code}  {what}");
    }
    text.push_str("\n  125  the native engine failed inside the program; the profile holds what came before");
    text
}

fn table_help() -> String {
    let tables: Vec<String> = crate::report::TABLES
        .iter()
        .map(|table| format!("{} ({})", table.name, table.about))
        .collect();
    format!(
        "Show {} (what the estimated cycles are spent on), or what an analysis of locality found: {}",
        crate::report::STALLS,
        tables.join("; ")
    )
}

fn by_help() -> String {
    let words: Vec<&str> = crate::report::Key::ALL.iter().map(|(_, word, _)| *word).collect();
    format!(
        "Dimensions to group by, separated by commas: {}",
        words.join(", ")
    )
}
