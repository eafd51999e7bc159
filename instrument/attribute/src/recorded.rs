//! The accesses of a recorded program one by one, each with its names.
//!
//! They come in the order of the recording: each thread's as the program made them, and those of several threads in the order
//! of the segments in which they were recorded. Loops that were recorded as runs are expanded on the way, so what is held in
//! memory is bounded by a chunk of the recording.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};

use memloupe_cachesim::AccessKind;
use memloupe_stream::{Captured, Event, Probe, Replay, RunBatch, Sink, SiteTable, StreamError};
use serde::{Deserialize, Serialize};

use crate::attribution::Attribution;
use crate::batch::AttributedBatch;
use crate::context::PhaseId;
use crate::object::ObjectId;
use crate::probe::{OperatorId, Preset, PresetError};

/// What a recording says of its run at the beginning.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The file that was executed.
    pub executable: PathBuf,
    /// [`Preset::choose`]'s choice in the run: whoever reads the recording must make the same.
    pub ops: String,
    /// When the run began.
    pub started_unix_seconds: u64,
}

impl About {
    /// What `replay` says.
    ///
    /// # Errors
    /// [`RecordedError::About`] if it was not recorded by `memloupe run`.
    pub fn of(replay: &Replay) -> Result<Self, RecordedError> {
        serde_json::from_str(replay.about()).map_err(|error| RecordedError::About(error.to_string()))
    }
}

/// Why a recording can't be read with names.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecordedError {
    /// It can't be read, or is damaged.
    Stream(StreamError),
    /// What it says of its run is not what `memloupe run` writes.
    About(String),
    /// The presets of its run are not there.
    Preset(PresetError),
    /// Its probes can't be told: a file of the program changed, or is elsewhere.
    ProbesDiffer {
        /// The file that was executed.
        executable: PathBuf,
    },
}

impl fmt::Display for RecordedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(error) => error.fmt(f),
            Self::About(what) => write!(f, "it was not recorded by memloupe run: {what}"),
            Self::Preset(error) => error.fmt(f),
            Self::ProbesDiffer { executable } => write!(
                f,
                "its operators can't be told: {} or a library of it is not what it was when it was recorded, or memloupe's \
                 presets or the region's function are not; say where its files are if they were moved",
                executable.display()
            ),
        }
    }
}

impl std::error::Error for RecordedError {}

/// An access with its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedAccess {
    /// Its first byte.
    pub address: u64,
    /// Its instruction; of a fetch, the first one of the block.
    pub instruction: u64,
    /// Its length; 0 for prefetch hints.
    pub bytes: u32,
    /// Of a fetch, the instructions that it brings; else 0.
    pub instructions: u32,
    /// What it does.
    pub kind: AccessKind,
    /// Who makes it.
    pub thread: u32,
    /// The operator that the thread is in.
    pub operator: Option<OperatorId>,
    /// What it touches.
    pub object: ObjectId,
    /// The phase of the run.
    pub phase: PhaseId,
}

/// Takes the stream: runs get their names and wait to be expanded.
struct Attributed {
    attribution: Attribution,
    waiting: VecDeque<(u32, AttributedBatch)>,
    spare: Vec<AttributedBatch>,
}

impl Sink for Attributed {
    fn runs(&mut self, thread: u32, sites: &SiteTable, batch: &RunBatch) {
        let mut attributed = self.spare.pop().unwrap_or_default();
        self.attribution.runs(thread, sites, batch, &mut attributed);
        self.waiting.push_back((thread, attributed));
    }

    fn event(&mut self, thread: u32, event: Event) {
        self.attribution.event(thread, &event);
    }

    fn probes(&mut self, first: u32) -> Vec<Probe> {
        self.attribution.resolve_probes(first)
    }
}

/// A recording that is being read.
pub struct Recorded {
    about: About,
    replay: Replay,
    attributed: Attributed,
    /// Where the expansion is in the first batch that waits: run, iteration, operand.
    at: (usize, u64, usize),
    /// Why no more comes; told once what came before is taken.
    failed: Option<StreamError>,
    is_over: bool,
}

impl Recorded {
    /// Opens what `memloupe run --record` wrote.
    ///
    /// # Errors
    /// [`RecordedError`] if it is none, or of another version.
    pub fn open(path: &Path) -> Result<Self, RecordedError> {
        let replay = Replay::open(path).map_err(RecordedError::Stream)?;
        let about = About::of(&replay)?;
        let presets = Preset::choose(&about.ops).map_err(RecordedError::Preset)?;
        Ok(Self {
            about,
            replay,
            attributed: Attributed {
                attribution: Attribution::new(presets),
                waiting: VecDeque::new(),
                spare: Vec::new(),
            },
            at: (0, 0, 0),
            failed: None,
            is_over: false,
        })
    }

    /// Files of the program that were below `from` are below `to` now. To be said before the first [`Recorded::read`].
    pub fn moved(&mut self, from: PathBuf, to: PathBuf) {
        self.replay.moved(from, to);
    }

    /// What is known of the run.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// What is known of the stream; of the whole of it at the end.
    #[must_use]
    pub fn captured(&self) -> Captured {
        self.replay.captured()
    }

    /// Whether it ends as a recording should: known once everything is read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.replay.closing().is_some()
    }

    /// Names, as far as they have been needed.
    #[must_use]
    pub fn names(&self) -> &Attribution {
        &self.attributed.attribution
    }

    /// Appends the next accesses to `to`, until there are `most`; fewer only at the end.
    ///
    /// # Errors
    /// [`RecordedError`] where the recording is damaged or its names can't be told, once what came before has been read. Nothing
    /// follows an error.
    pub fn read(&mut self, to: &mut Vec<RecordedAccess>, most: usize) -> Result<(), RecordedError> {
        while to.len() < most {
            if self.expand(to, most) {
                continue;
            }
            if let Some(error) = self.failed.take() {
                if to.is_empty() {
                    return Err(RecordedError::Stream(error));
                }
                self.failed = Some(error);
                break;
            }
            if self.is_over {
                break;
            }
            match self.replay.next(&mut self.attributed) {
                Ok(more) => self.is_over = !more,
                Err(error) => {
                    self.is_over = true;
                    self.failed = Some(error);
                }
            }
            if self.replay.probes_differ() && !self.is_over {
                self.is_over = true;
                self.attributed.waiting.clear();
                let executable = self.about.executable.clone();
                return Err(RecordedError::ProbesDiffer { executable });
            }
        }
        Ok(())
    }

    /// Appends accesses of the first batch that waits; false if none does.
    fn expand(&mut self, to: &mut Vec<RecordedAccess>, most: usize) -> bool {
        let Attributed {
            attribution,
            waiting,
            spare,
        } = &mut self.attributed;
        let Some((thread, batch)) = waiting.front() else {
            return false;
        };
        let (mut run_index, mut iteration, mut operand_index) = self.at;
        while to.len() < most {
            let Some(run) = batch.run(run_index) else {
                self.at = (0, 0, 0);
                spare.extend(waiting.pop_front().map(|(_, batch)| batch));
                return true;
            };
            if iteration == run.iterations {
                (run_index, iteration) = (run_index + 1, 0);
                continue;
            }
            let Some(operand) = run.operands.get(operand_index) else {
                (iteration, operand_index) = (iteration + 1, 0);
                continue;
            };
            let key = attribution.ledger().key(operand.owner);
            let context = attribution.contexts().get(key.context);
            let site = self.replay.sites().site(key.site);
            let instructions = match operand.kind {
                AccessKind::Fetch => self
                    .replay
                    .sites()
                    .block(site.block)
                    .map_or(0, |block| block.instructions),
                _ => 0,
            };
            to.push(RecordedAccess {
                address: operand
                    .address
                    .wrapping_add((operand.stride as u64).wrapping_mul(iteration)),
                instruction: site.ip,
                bytes: operand.bytes,
                instructions,
                kind: operand.kind,
                thread: *thread,
                operator: context.operator,
                object: key.object,
                phase: context.phase,
            });
            operand_index += 1;
        }
        self.at = (run_index, iteration, operand_index);
        true
    }
}
