//! Where references come from: a recording, or another tool's trace.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use memloupe_attribute::{ObjectId, OperatorId, PhaseId, Recorded, RecordedAccess};
use memloupe_cachesim::AccessKind;
use memloupe_trace::{Format, Kind as ReferenceKind, Reader, Reference, Setting};

use super::names::Described;
use crate::args::Trace;
use crate::failure::{Failure, Kind};
use crate::moved::Move;

/// A reference, and of what it is: an index of the names so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub(super) reference: Reference,
    /// What it does, with what a reference does not tell: hints against caching.
    pub(super) access: AccessKind,
    pub(super) name: u32,
}

/// What a recorded access is of.
type Name = (u32, Option<OperatorId>, ObjectId, PhaseId);

/// References of a batch.
const BATCH: usize = 4096;

pub(super) struct Input {
    source: Source,
    path: String,
}

enum Source {
    Recording(Box<Recording>),
    Trace(Box<dyn Reader>, Vec<Reference>),
}

struct Recording {
    recorded: Recorded,
    accesses: Vec<RecordedAccess>,
    instructions: u64,
    index: HashMap<Name, u32>,
    names: Vec<Name>,
}

impl Input {
    pub(super) fn open(
        path: &Path,
        from: Option<&'static Format>,
        setting: &Setting,
        arguments: &Trace,
    ) -> Result<Self, Failure> {
        let named = path.display().to_string();
        let unreadable =
            |error: &dyn std::fmt::Display| Failure::new(Kind::Stream, format!("{named}: {error}"));
        let source = match from {
            Some(format) => {
                let input = memloupe_trace::open(path).map_err(|error| unreadable(&error))?;
                let reader = format.reader(input, setting);
                Source::Trace(reader.map_err(|error| unreadable(&error))?, Vec::new())
            }
            None if !is_recording(path) => {
                let what = "it is no recording of memloupe: say --from FORMAT (see memloupe trace --list)";
                return Err(unreadable(&what));
            }
            None => {
                let mut recorded = Recorded::open(path).map_err(|error| unreadable(&error))?;
                for Move { from, to } in &arguments.moved {
                    recorded.moved(from.clone(), to.clone());
                }
                Source::Recording(Box::new(Recording {
                    recorded,
                    accesses: Vec::new(),
                    instructions: 0,
                    index: HashMap::new(),
                    names: Vec::new(),
                }))
            }
        };
        Ok(Self { source, path: named })
    }

    /// Replaces what is in `to` by the next references; leaves none at the end.
    pub(super) fn read(&mut self, to: &mut Vec<Named>) -> Result<(), Failure> {
        to.clear();
        let read = match &mut self.source {
            Source::Recording(recording) => recording.read(to).map_err(|error| error.to_string()),
            Source::Trace(reader, batch) => {
                let read = reader.read(batch);
                to.extend(batch.iter().map(|&reference| Named {
                    reference,
                    access: match reference.kind {
                        ReferenceKind::Read => AccessKind::Load,
                        ReferenceKind::Write => AccessKind::Store,
                        ReferenceKind::Modify => AccessKind::ReadModifyWrite,
                        ReferenceKind::Fetch => AccessKind::Fetch,
                        ReferenceKind::Prefetch => AccessKind::Prefetch,
                    },
                    name: 0,
                }));
                read.map_err(|error| error.to_string())
            }
        };
        read.map_err(|error| Failure::new(Kind::Stream, format!("{}: {error}", self.path)))
    }

    /// How many names there are so far.
    pub(super) fn name_count(&self) -> usize {
        match &self.source {
            Source::Recording(recording) => recording.names.len(),
            Source::Trace(..) => 1,
        }
    }

    /// What each name stands for; none of another tool's trace.
    pub(super) fn described(&self) -> Option<Vec<Described>> {
        let Source::Recording(recording) = &self.source else {
            return None;
        };
        let attribution = recording.recorded.names();
        let describe = |&(thread, operator, object, phase): &Name| {
            let operator = operator.map(|id| &attribution.probes().operators()[id as usize]);
            let object = &attribution.objects().table()[object as usize];
            let phase = attribution.contexts().phase(phase);
            Described {
                thread,
                kind: operator.map_or_else(String::new, |operator| operator.kind.clone()),
                operator: operator.map_or_else(String::new, |operator| operator.name.clone()),
                layer: operator
                    .and_then(|operator| operator.layer.clone())
                    .unwrap_or_default(),
                object: object.name.clone(),
                class: object.class.name().to_owned(),
                phase: phase.name.clone(),
                phase_index: phase.index,
            }
        };
        Some(recording.names.iter().map(describe).collect())
    }
}

impl Recording {
    fn read(&mut self, to: &mut Vec<Named>) -> Result<(), memloupe_attribute::RecordedError> {
        self.accesses.clear();
        let read = self.recorded.read(&mut self.accesses, BATCH);
        for access in &self.accesses {
            let name = (access.thread, access.operator, access.object, access.phase);
            let (index, names) = (&mut self.index, &mut self.names);
            let name = *index.entry(name).or_insert_with(|| {
                names.push(name);
                names.len() as u32 - 1
            });
            to.push(Named {
                reference: Reference {
                    time: self.instructions,
                    address: access.address,
                    bytes: access.bytes,
                    kind: match access.kind {
                        AccessKind::Load | AccessKind::NonTemporalLoad => ReferenceKind::Read,
                        AccessKind::Store | AccessKind::NonTemporalStore => ReferenceKind::Write,
                        AccessKind::ReadModifyWrite => ReferenceKind::Modify,
                        AccessKind::Prefetch => ReferenceKind::Prefetch,
                        AccessKind::Fetch => ReferenceKind::Fetch,
                    },
                    pc: access.instruction,
                    thread: access.thread,
                },
                access: access.kind,
                name,
            });
            self.instructions += u64::from(access.instructions);
        }
        read
    }
}

/// Whether a file begins as recordings do.
fn is_recording(path: &Path) -> bool {
    let mut start = [0; memloupe_stream::RECORDING_MAGIC.len()];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == memloupe_stream::RECORDING_MAGIC
}
