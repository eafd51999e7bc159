//! `memloupe run`: target, engine, pipeline and profile put together.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use memloupe_attribute::Attribution;
use memloupe_hierarchy::{Machine, System};
use memloupe_stream::{Checker, Consumer, Engine, Geometry, Progress as Polled, Sink, StreamError};

use crate::analyses::{self, Analyses, Choice};
use crate::args::{ProgressChoice, Run};
use crate::collect::{self, Capture};
use crate::failure::{Failure, Kind};
use crate::launch::{Ending, Launched};
use crate::pipeline::Pipeline;
use crate::profile::{Destination, Observed, PAGE_FILE, Profile, ProfileError};
use crate::progress::{Progress, Status};
use crate::window::Window;
use crate::{ops, page, report, target};

/// How long one wait for the target's data lasts; what else there is to look after is looked after so often.
const POLL: Duration = Duration::from_millis(50);
/// A target that was asked to stop gets this long before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// The value of `--machine` that simulates nothing.
const NO_MACHINE: &str = "none";

/// Runs a program and writes its profile. Returns the exit status to end with.
///
/// # Errors
/// [`Failure`] if memloupe could not do its part; a target that fails is not one.
pub fn run(arguments: &Run) -> Result<ExitCode, Failure> {
    if arguments.ops == "list" {
        print!("{}", ops::list());
        return Ok(ExitCode::SUCCESS);
    }
    let Choice::Some(wanted) = &arguments.analyses else {
        print!("{}", analyses::list());
        return Ok(ExitCode::SUCCESS);
    };
    let Some((program, program_arguments)) = arguments.command.split_first() else {
        return Err(Failure::new(
            Kind::NotFound,
            "no program given: memloupe run [OPTIONS] -- PROGRAM ARGUMENTS",
        ));
    };
    let presets = ops::load(&arguments.ops)?;
    let machine = match arguments.machine.as_str() {
        NO_MACHINE => None,
        _ if arguments.discard => None,
        name => Some(Machine::load(name).map_err(Failure::of(Kind::Machine))?),
    };
    let mut system = machine
        .as_ref()
        .map(System::new)
        .transpose()
        .map_err(Failure::of(Kind::Machine))?;
    if let Some(system) = system.as_mut().filter(|_| arguments.check) {
        system.check_runs().map_err(Failure::of(Kind::Machine))?;
    }
    let target = target::resolve(program)?;
    let destination = Destination::prepare(&arguments.output).map_err(Failure::of(Kind::Output))?;

    let mut consumer = Consumer::create(&Geometry::default()).map_err(Failure::of(Kind::Stream))?;
    let started = SystemTime::now();
    let progress = Progress::new(if arguments.discard {
        ProgressChoice::Never // Nobody knows what passes by.
    } else {
        arguments.progress
    });
    let launched = Launched::start(
        arguments.engine,
        &target,
        program_arguments,
        consumer.descriptor(),
    )?;
    let options = analyses::options(
        // Between instances that are not observed, lines are not followed.
        if arguments.sample.is_some() {
            Vec::new()
        } else {
            wanted.clone()
        },
        arguments.line_sample,
        arguments.line_limit.map(|lines| lines as usize),
        machine.as_ref(),
    );
    let attribution = Attribution::new(presets);
    let attribution = match &arguments.region {
        Some(region) => attribution.within(region.clone()),
        None => attribution,
    };
    let attribution = if arguments.call_paths {
        attribution.with_call_paths()
    } else {
        attribution
    };
    let attribution = match arguments.sample {
        Some(rule) => attribution.sampled(rule),
        None => attribution,
    };
    let pipeline = Pipeline::new(attribution, system, Analyses::new(options))
        .within(Window::new(arguments.after, arguments.length));
    let mut session = Session {
        launched,
        progress,
        interrupted_at: None,
        stream_error: None,
    };
    let (parts, violations) = if arguments.discard {
        let mut pipeline = pipeline;
        session.discard(&mut consumer, &mut pipeline);
        (pipeline.into_parts(), Vec::new())
    } else if arguments.check {
        let mut checker = Checker::new(pipeline);
        session.follow(&mut consumer, &mut checker, |checker| checker.inner().status());
        let mut violations: Vec<String> = checker
            .violations()
            .iter()
            .map(|v| format!("thread {}: {}", v.thread, v.what))
            .collect();
        let parts = checker.into_inner().into_parts();
        let disagreement = parts.system.as_ref().and_then(System::disagreement);
        violations.extend(disagreement.map(|what| format!("caches by runs and by accesses differ: {what}")));
        (parts, violations)
    } else {
        let mut pipeline = pipeline;
        session.follow(&mut consumer, &mut pipeline, Pipeline::status);
        (pipeline.into_parts(), Vec::new())
    };
    session.progress.clear();

    let ending = session.launched.wait();
    if consumer.engine() == Engine::None {
        let said = session.launched.messages().join("; ");
        let what = format!("the capture engine did not start the program: {said}");
        return Err(Failure::new(Kind::Engine, what.trim_end_matches([':', ' '])));
    }
    let capture = Capture {
        command: &arguments.command,
        executable: &target.executable,
        consumer: &consumer,
        parts,
        machine: machine.as_ref(),
        ending,
        interrupted: session.interrupted_at.is_some(),
        stream_error: session.stream_error.as_ref().map(ToString::to_string),
        violations,
        started,
        wall: session.progress.elapsed(),
        discarded: arguments.discard,
        region: observed(arguments),
    };
    let profile = if arguments.discard {
        collect::summary_only(&capture)
    } else {
        collect::profile(capture)
    };
    let folder = save(destination, &profile)?;
    if arguments.quiet {
        eprintln!("memloupe: profile in {}", folder.display());
    } else if arguments.discard {
        eprint!("{}", report::discarded(&profile.summary, &folder));
    } else {
        eprint!("{}", report::overview(&profile, &folder));
    }
    match session.stream_error {
        Some(error) => Err(Failure::new(
            Kind::Stream,
            format!("{error}; the profile holds what came before"),
        )),
        None => Ok(ExitCode::from(ending.status() as u8)),
    }
}

/// Writes the profile. What can't be written where it belongs goes to the folder for temporary files, not lost.
fn save(destination: Destination, profile: &Profile) -> Result<PathBuf, Failure> {
    write(destination, profile).map_err(|error| {
        let refuge = std::env::temp_dir().join(format!("memloupe.profile-{}", std::process::id()));
        let saved = Destination::prepare(&refuge).and_then(|destination| write(destination, profile));
        let whereabouts = match saved {
            Ok(folder) => format!("the profile is in {} instead", folder.display()),
            Err(second) => format!("nor could it be saved elsewhere: {second}"),
        };
        Failure::new(Kind::Output, format!("{error}; {whereabouts}"))
    })
}

/// The profile's tables and its page.
fn write(destination: Destination, profile: &Profile) -> Result<PathBuf, ProfileError> {
    destination.write(profile)?;
    if profile.summary.discarded {
        return destination.commit();
    }
    destination.write_file(PAGE_FILE, page::html(profile).as_bytes())?;
    destination.commit()
}

/// The part of the run that is asked for; none if it is all of it.
fn observed(arguments: &Run) -> Option<Observed> {
    let observed = Observed {
        name: arguments.region.as_ref().map(ToString::to_string),
        after: arguments.after.as_ref().map(ToString::to_string),
        length: arguments.length.as_ref().map(ToString::to_string),
        ..Observed::default()
    };
    (observed != Observed::default()).then_some(observed)
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
