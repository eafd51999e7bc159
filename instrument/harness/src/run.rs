//! `memloupe run`: target, engine, pipeline and profile put together.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use memloupe_attribute::About;
use memloupe_stream::{Checker, Consumer, Engine, Geometry, Progress as Polled, Recorder, Sink, StreamError};

use crate::analyses::{self, Choice};
use crate::args::{EngineChoice, ProgressChoice, Run};
use crate::collect::{self, Capture};
use crate::failure::{Failure, Kind};
use crate::join::Moment;
use crate::launch::{Announced, Ending, Launched};
use crate::pipeline::Pipeline;
use crate::plan::{NO_MACHINE, Plan};
use crate::profile::{Destination, PAGE_FILE, Profile, ProfileError, machine_folder};
use crate::progress::{Progress, Status};
use crate::replay::Closing;
use crate::simulation::Simulation;
use crate::{ops, page, report, target};

/// How long one wait for the target's data lasts; what else there is to look after is looked after so often.
const POLL: Duration = Duration::from_millis(50);
/// A target that was asked to stop gets this long before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Runs a program and writes its profile. Returns the exit status to end with.
///
/// # Errors
/// [`Failure`] if memloupe could not do its part; a target that fails is not one.
pub fn run(arguments: &Run) -> Result<ExitCode, Failure> {
    if arguments.ops == "list" {
        print!("{}", ops::list());
        return Ok(ExitCode::SUCCESS);
    }
    let Choice::Some(wanted) = &arguments.locality.analyses else {
        print!("{}", analyses::list());
        return Ok(ExitCode::SUCCESS);
    };
    let Some((program, program_arguments)) = arguments.command.split_first() else {
        return Err(Failure::new(
            Kind::NotFound,
            "no program given: memloupe run [OPTIONS] -- PROGRAM ARGUMENTS",
        ));
    };
    let nothing = [NO_MACHINE.to_owned()];
    let machines = if arguments.discard {
        &nothing
    } else {
        arguments.machine.as_slice()
    };
    let mut plan = Plan::new(
        &arguments.ops,
        machines,
        wanted,
        &arguments.locality,
        &arguments.scope,
    )?;
    if arguments.check {
        plan.check_runs()?;
    }
    let target = target::resolve(program)?;
    let destination = Destination::prepare(&arguments.output).map_err(Failure::of(Kind::Output))?;

    let mut consumer = Consumer::create(&Geometry::default()).map_err(Failure::of(Kind::Stream))?;
    let started = SystemTime::now();
    let began = Moment::now();
    let recorder = match &arguments.record {
        Some(path) => {
            let recorder = Recorder::create(path, &about(arguments, &target.executable, started));
            let unwritable = |error| Failure::new(Kind::Output, format!("{}: {error}", path.display()));
            Some(recorder.map_err(unwritable)?)
        }
        None => None,
    };
    let progress = Progress::new(if arguments.discard {
        ProgressChoice::Never // Nobody knows what passes by.
    } else {
        arguments.progress
    });
    // Call paths need every call, and a recording everything, outside of what is wanted too.
    let is_gated = arguments.engine == EngineChoice::Native
        && !arguments.discard
        && !arguments.scope.call_paths
        && arguments.record.is_none();
    if is_gated {
        consumer.gate(plan.gate());
    }
    if arguments.discard {
        consumer.set_discards();
    }
    let launched = Launched::start(
        arguments.engine,
        &target,
        program_arguments,
        consumer.descriptor(),
        Announced {
            tasks: arguments.ops != "none",
            python: arguments.ops != "none" && !arguments.no_python_hooks,
        },
    )?;
    let pipeline = plan.pipeline(is_gated);
    let mut session = Session {
        launched,
        progress,
        interrupted_at: None,
        stream_error: None,
    };
    if let Some(mut recorder) = recorder {
        let mut libraries = session.launched.libraries().into_iter();
        match libraries.try_for_each(|library| recorder.file(&library)) {
            Ok(()) => consumer.record(recorder),
            Err(error) => session.stream_error = Some(error),
        }
    }
    let (parts, violations) = if arguments.discard {
        let mut pipeline = pipeline;
        session.discard(&mut consumer, &mut pipeline);
        (pipeline.into_parts(consumer.sites()), Vec::new())
    } else if arguments.check {
        let mut checker = Checker::new(pipeline);
        session.follow(&mut consumer, &mut checker, |checker| checker.inner().status());
        let mut violations: Vec<String> = checker
            .violations()
            .iter()
            .map(|v| format!("thread {}: {}", v.thread, v.what))
            .collect();
        let parts = checker.into_inner().into_parts(consumer.sites());
        for system in parts.simulations.iter().filter_map(Simulation::system) {
            let machine = &system.machine().name;
            let disagreement = system.disagreement();
            violations.extend(
                disagreement.map(|what| format!("{machine}: caches by runs and by accesses differ: {what}")),
            );
        }
        (parts, violations)
    } else {
        let mut pipeline = pipeline;
        session.follow(&mut consumer, &mut pipeline, Pipeline::status);
        (pipeline.into_parts(consumer.sites()), Vec::new())
    };
    session.progress.clear();

    let ending = session.launched.wait();
    if consumer.engine() == Engine::None {
        let said = session.launched.messages().join("; ");
        let hint = match arguments.engine {
            EngineChoice::Native => {
                "the native engine was not loaded into the program; use --engine valgrind"
            }
            EngineChoice::Valgrind => "the capture engine did not start the program",
        };
        let what = format!("{hint}: {said}");
        return Err(Failure::new(Kind::Engine, what.trim_end_matches([':', ' '])));
    }
    let interrupted = session.interrupted_at.is_some();
    let closing = serde_json::to_string(&Closing::of(ending, interrupted, began)).expect("plain data");
    if let Err(error) = consumer.finish_recording(&closing) {
        session.stream_error.get_or_insert(error);
    }
    let capture = Capture {
        command: &arguments.command,
        executable: &target.executable,
        stream: consumer.captured(),
        sites: consumer.sites(),
        parts,
        ending,
        interrupted,
        stream_error: session.stream_error.as_ref().map(ToString::to_string),
        violations,
        started,
        wall: session.progress.elapsed(),
        discarded: arguments.discard,
        region: arguments.scope.observed(),
    };
    let profiles = if arguments.discard {
        vec![collect::summary_only(&capture)]
    } else {
        collect::profiles(capture)
    };
    let folder = save(destination, &profiles)?;
    if arguments.quiet {
        eprintln!("memloupe: profile in {}", folder.display());
    } else if arguments.discard {
        eprint!("{}", report::discarded(&profiles[0].summary, &folder));
    } else {
        eprint!("{}", report::overview(&profiles[0], &folder));
    }
    match session.stream_error {
        Some(error) => Err(Failure::new(
            Kind::Stream,
            format!("{error}; the profile holds what came before"),
        )),
        None => Ok(ExitCode::from(ending.status() as u8)),
    }
}

/// What the recording says of its run.
fn about(arguments: &Run, executable: &Path, started: SystemTime) -> String {
    let since_epoch = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let about = About {
        command: arguments.command.clone(),
        executable: executable.to_owned(),
        // A file may be named from anywhere when the recording is read.
        ops: match std::fs::canonicalize(&arguments.ops) {
            Ok(path) if arguments.ops.contains(['/', '.']) => path.to_string_lossy().into_owned(),
            _ => arguments.ops.clone(),
        },
        started_unix_seconds: since_epoch.as_secs(),
    };
    serde_json::to_string(&about).expect("plain data")
}

/// Writes the profiles. What can't be written where it belongs goes to the folder for temporary files, not lost.
pub(crate) fn save(destination: Destination, profiles: &[Profile]) -> Result<PathBuf, Failure> {
    write(destination, profiles).map_err(|error| {
        let refuge = std::env::temp_dir().join(format!("memloupe.profile-{}", std::process::id()));
        let saved = Destination::prepare(&refuge).and_then(|destination| write(destination, profiles));
        let whereabouts = match saved {
            Ok(folder) => format!("the profile is in {} instead", folder.display()),
            Err(second) => format!("nor could it be saved elsewhere: {second}"),
        };
        Failure::new(Kind::Output, format!("{error}; {whereabouts}"))
    })
}

/// The profiles' tables and pages: the first machine's, and those of the others in folders inside.
fn write(mut destination: Destination, profiles: &[Profile]) -> Result<PathBuf, ProfileError> {
    for (at, profile) in profiles.iter().enumerate() {
        if at > 0 {
            destination.enter(machine_folder(profile.summary.machine_name()))?;
        }
        destination.write(profile)?;
        if !profile.summary.discarded {
            destination.write_file(PAGE_FILE, page::html(profile).as_bytes())?;
        }
    }
    destination.commit()
}

/// A target being followed to its end.
struct Session {
    launched: Launched,
    progress: Progress,
    interrupted_at: Option<Instant>,
    stream_error: Option<StreamError>,
}

impl Session {
    /// Consumes the stream until the target is gone and everything it recorded has been decoded.
    fn follow<S: Sink>(&mut self, consumer: &mut Consumer, sink: &mut S, status: impl Fn(&S) -> Status) {
        self.until_the_end(sink, |sink| consumer.poll(sink, POLL), status);
        // Nothing can come any more; open chunks hold what a killed target had recorded.
        if let Err(error) = consumer.drain(sink) {
            self.stream_error.get_or_insert(error);
        }
    }

    /// Drops the stream until the target is gone.
    fn discard(&mut self, consumer: &mut Consumer, sink: &mut Pipeline) {
        self.until_the_end(sink, |sink| consumer.discard(sink, POLL), Pipeline::status);
        while let Ok(Polled::Chunk) = consumer.discard(sink, Duration::ZERO) {}
    }

    /// Polls until the engine has finished, or the target is gone.
    fn until_the_end<S: Sink>(
        &mut self,
        sink: &mut S,
        mut poll: impl FnMut(&mut S) -> Result<Polled, StreamError>,
        status: impl Fn(&S) -> Status,
    ) {
        loop {
            match poll(sink) {
                Ok(Polled::Finished) => return,
                Ok(Polled::Idle) if self.launched.ending().is_some() => return,
                Ok(Polled::Chunk | Polled::Idle) => {}
                Err(error) => {
                    self.stream_error.get_or_insert(error);
                    self.launched.kill();
                }
            }
            self.progress.update(|| status(sink));
            if self.launched.interrupted() {
                let since = self.interrupted_at.get_or_insert_with(Instant::now);
                if since.elapsed() > GRACE {
                    self.launched.kill();
                }
            }
        }
    }
}

impl Ending {
    /// Why a profile of a target that ended so is incomplete, if it is.
    #[must_use]
    pub fn incompleteness(self, interrupted: bool, engine: Engine) -> Option<String> {
        match self {
            Self::Killed(signal) if interrupted => Some(format!(
                "interrupted; the target was ended by {}",
                signal_name(signal)
            )),
            Self::Killed(signal_hook::consts::SIGILL) if engine == Engine::Valgrind => Some(
                "the target was killed by SIGILL: Valgrind has no AVX-512 and no AMX; build the target for x86-64-v3 \
                 (-march=haswell), or use --engine native"
                    .to_owned(),
            ),
            Self::Killed(signal) => Some(format!("the target was killed by {}", signal_name(signal))),
            Self::Exited(_) => None,
        }
    }
}

fn signal_name(signal: i32) -> String {
    signal_hook::low_level::signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}
