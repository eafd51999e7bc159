//! The progress line: what a person sees while the target runs.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use crate::args::ProgressChoice;

/// How often a terminal's line is drawn anew, and how often a log gets a line.
const TERMINAL_PERIOD: Duration = Duration::from_millis(200);
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// What there is to tell.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Data accesses so far.
    pub accesses: u64,
    /// Phase that is going on.
    pub phase: String,
    /// Operator that is going on, with its layer.
    pub operator: String,
}

/// Draws progress on standard error.
pub struct Progress {
    started: Instant,
    last: Instant,
    last_accesses: u64,
    terminal: bool,
    shown: bool,
    drawn: bool,
}

impl Progress {
    /// Starts the clock.
    #[must_use]
    pub fn new(choice: ProgressChoice) -> Self {
        let terminal = stderr().is_terminal();
        let shown = match choice {
            ProgressChoice::Auto => terminal,
            ProgressChoice::Always => true,
            ProgressChoice::Never => false,
        };
        let now = Instant::now();
        Self {
            started: now,
            last: now,
            last_accesses: 0,
            terminal,
            shown,
            drawn: false,
        }
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Shows `status` if it is time to.
    pub fn update(&mut self, status: impl FnOnce() -> Status) {
        let period = if self.terminal {
            TERMINAL_PERIOD
        } else {
            LOG_PERIOD
        };
        let since = self.last.elapsed();
        if !self.shown || since < period {
            return;
        }
        let status = status();
        let rate = (status.accesses - self.last_accesses) as f64 / since.as_secs_f64();
        self.last = Instant::now();
        self.last_accesses = status.accesses;
        let line = format!(
            "memloupe: {:6.1} s  {:>9} accesses  {:>8}/s  {:<12} {}",
            self.started.elapsed().as_secs_f64(),
            scaled(status.accesses as f64),
            scaled(rate),
            status.phase,
            status.operator
        );
        if self.terminal {
            let columns =
                rustix::termios::tcgetwinsize(stderr()).map_or(80, |size| usize::from(size.ws_col.max(20)));
            let line: String = line.chars().take(columns - 1).collect();
            let _ = write!(stderr(), "\r\x1b[2K{line}");
            let _ = stderr().flush();
            self.drawn = true;
        } else {
            eprintln!("{line}");
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(stderr(), "\r\x1b[2K");
            let _ = stderr().flush();
        }
    }
}

/// A count with a decimal prefix.
fn scaled(value: f64) -> String {
    const PREFIXES: [(f64, &str); 3] = [(1e9, " G"), (1e6, " M"), (1e3, " k")];
    PREFIXES.iter().find(|(factor, _)| value >= *factor).map_or_else(
        || format!("{value:.0}  "),
        |(factor, prefix)| format!("{:.2}{prefix}", value / factor),
    )
}
