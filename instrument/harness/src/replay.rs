//! `memloupe replay`: a recorded stream instead of a running program; the rest is as in a run.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use memloupe_attribute::{About, RecordedError};
use memloupe_stream::{Engine, StreamError};
use serde::{Deserialize, Serialize};

use crate::analyses::{self, Choice};
use crate::args::Replay;
use crate::collect::{self, Capture};
use crate::failure::{Failure, Kind};
use crate::join::{MARK, Moment};
use crate::launch::Ending;
use crate::moved::Move;
use crate::plan::Plan;
use crate::profile::Destination;
use crate::progress::Progress;
use crate::report;
use crate::run::save;
use crate::window::Extent;

/// What a recording says of its run at the end.
#[derive(Debug, Serialize, Deserialize)]
pub struct Closing {
    /// Its exit code, if it exited.
    pub exit_code: Option<i32>,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
    /// Whether the user stopped it.
    pub interrupted: bool,
    /// Its beginning and its end by the clocks of stream and system.
    pub moments: Option<[Moment; 2]>,
}

impl Closing {
    /// Of a run that ended so.
    #[must_use]
    pub fn of(ending: Ending, interrupted: bool, began: Moment) -> Self {
        let (exit_code, signal) = match ending {
            Ending::Exited(code) => (Some(code), None),
            Ending::Killed(signal) => (None, Some(signal)),
        };
        Self {
            exit_code,
            signal,
            interrupted,
            moments: Some([began, Moment::now()]),
        }
    }

    fn ending(&self) -> Ending {
        match self.signal {
            Some(signal) => Ending::Killed(signal),
            None => Ending::Exited(self.exit_code.unwrap_or(0)),
        }
    }
}

/// Replays a recording and writes the profile. Returns the exit status to end with: that of the recorded program.
///
/// # Errors
/// [`Kind::Stream`] if the recording is damaged; what came before is in the profile.
pub fn replay(arguments: &Replay) -> Result<ExitCode, Failure> {
    let Choice::Some(wanted) = &arguments.locality.analyses else {
        print!("{}", analyses::list());
        return Ok(ExitCode::SUCCESS);
    };
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::new(
            Kind::Stream,
            format!("{}: {error}", arguments.recording.display()),
        )
    };
    let mut replay =
        memloupe_stream::Replay::open(&arguments.recording).map_err(|error| unreadable(&error))?;
    let mut extents = [arguments.scope.after, arguments.scope.length]
        .into_iter()
        .flatten();
    if let Some(extent) = extents.find(|extent| matches!(extent, Extent::Time(_))) {
        let what = format!("{extent} can't be found in it: it has no clock; use ops, tokens or inst");
        return Err(unreadable(&what));
    }
    let about = About::of(&replay).map_err(|error| unreadable(&error))?;
    let mut plan = Plan::new(
        &about.ops,
        &arguments.machine,
        wanted,
        &arguments.locality,
        &arguments.scope,
    )?;
    if let Some(join) = &arguments.join {
        let moments = moments(&arguments.recording).map_err(|error| unreadable(&error))?;
        plan = plan.joined(
            join.spans(moments)
                .map_err(|what| Failure::new(Kind::Stream, what))?,
        );
    }
    let destination = Destination::prepare(&arguments.output).map_err(Failure::of(Kind::Output))?;
    let mut pipeline = plan.pipeline(false);
    for Move { from, to } in &arguments.moved {
        replay.moved(from.clone(), to.clone());
    }
    let mut progress = Progress::new(arguments.progress);
    let error = loop {
        match replay.next(&mut pipeline) {
            Ok(true) if replay.probes_differ() => {
                let executable = about.executable;
                return Err(unreadable(&RecordedError::ProbesDiffer { executable }));
            }
            Ok(true) => progress.update(|| pipeline.status()),
            Ok(false) => break None,
            Err(error) => break Some(error),
        }
    };
    progress.clear();
    let closing: Option<Closing> = replay.closing().and_then(|text| serde_json::from_str(text).ok());
    let ending = closing.as_ref().map_or(Ending::Exited(0), Closing::ending);
    let capture = Capture {
        command: &about.command,
        executable: &about.executable,
        stream: replay.captured(),
        sites: replay.sites(),
        parts: pipeline.into_parts(replay.sites()),
        ending,
        interrupted: closing.is_some_and(|closing| closing.interrupted),
        stream_error: error.as_ref().map(ToString::to_string),
        violations: Vec::new(),
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(about.started_unix_seconds),
        wall: progress.elapsed(),
        discarded: false,
        region: arguments.scope.observed(),
    };
    let mut profiles = collect::profiles(capture);
    if let Some(join) = &arguments.join {
        let note = format!(
            "operators{MARK} are what {} says was running: approximate, as a thread's time is known only behind its system \
             calls, allocations and atomic instructions",
            join.file.display()
        );
        profiles
            .iter_mut()
            .for_each(|profile| profile.summary.notes.push(note.clone()));
    }
    let folder = save(destination, &profiles)?;
    if arguments.quiet {
        eprintln!("memloupe: profile in {}", folder.display());
    } else {
        eprint!("{}", report::overview(&profiles[0], &folder));
    }
    match error {
        Some(error) => Err(unreadable(&cut_short(&error))),
        None => Ok(ExitCode::from(ending.status() as u8)),
    }
}

/// The beginning and the end of the recorded run, by the stream's clock and the system's.
fn moments(recording: &Path) -> Result<[Moment; 2], String> {
    let (captured, closing) =
        memloupe_stream::Replay::ending(recording).map_err(|error| error.to_string())?;
    if captured.engine != Engine::Native {
        return Err("--join needs a recording of the native engine: this one has no clock".to_owned());
    }
    let closing: Option<Closing> = serde_json::from_str(&closing).ok();
    closing
        .and_then(|closing| closing.moments)
        .ok_or_else(|| "--join: it does not say when it was made: record it again".to_owned())
}

fn cut_short(error: &StreamError) -> String {
    format!("{error}; the profile holds what came before")
}
