//! Files of a recording that are elsewhere now: what the user moved, and memloupe's own libraries, which went with their run.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use memloupe_stream::{Event, Probe, RunBatch, Sink, SiteTable};
use tempfile::TempDir;

use crate::failure::{Failure, Kind};
use crate::launch::{COLLECTOR_NAME, NATIVE_ENGINE, NATIVE_ENGINE_NAME};
use crate::pipeline::Pipeline;

/// Libraries that a run writes for its target, by name.
fn own_libraries() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let engine = (NATIVE_ENGINE_NAME, NATIVE_ENGINE);
    let collector = (COLLECTOR_NAME, memloupe_collector::LIBRARY);
    let tool = memloupe_valgrind::ARTEFACTS
        .iter()
        .map(|file| (file.name, file.bytes));
    [engine, collector].into_iter().chain(tool)
}

/// `FROM=TO`: files below FROM are below TO now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    from: PathBuf,
    to: PathBuf,
}

impl FromStr for Move {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok(Self {
                from: from.into(),
                to: to.into(),
            }),
            _ => Err(format!(
                "`{text}`: FROM=TO is needed, as in /build/llama=/home/me/llama"
            )),
        }
    }
}

/// A pipeline that hears of files where they are now.
pub struct Moved<'a> {
    /// What takes the stream.
    pub pipeline: Pipeline,
    moves: &'a [Move],
    own: TempDir,
}

impl<'a> Moved<'a> {
    /// # Errors
    /// [`Kind::Output`] if memloupe's libraries can't be written to the folder for temporary files.
    pub fn new(pipeline: Pipeline, moves: &'a [Move]) -> Result<Self, Failure> {
        let own = tempfile::Builder::new().prefix("memloupe-").tempdir();
        let own = own.map_err(Failure::of(Kind::Output))?;
        for (name, bytes) in own_libraries() {
            let file = own.path().join(name);
            fs::write(&file, bytes).map_err(|error| {
                Failure::new(Kind::Output, format!("cannot write {}: {error}", file.display()))
            })?;
        }
        Ok(Self { pipeline, moves, own })
    }

    /// Where the file is that was at `path`.
    fn now(&self, path: &str) -> Option<String> {
        let path = Path::new(path);
        let moved = self.moves.iter().find_map(|moved| {
            let below = path.strip_prefix(&moved.from).ok()?;
            Some(moved.to.join(below))
        });
        let rebuilt = || {
            let name = path.file_name()?;
            let is_gone = own_libraries().any(|(own, _)| name == own) && !path.exists();
            is_gone.then(|| self.own.path().join(name))
        };
        moved
            .or_else(rebuilt)
            .map(|path| path.to_string_lossy().into_owned())
    }
}

impl Sink for Moved<'_> {
    fn runs(&mut self, thread: u32, sites: &SiteTable, batch: &RunBatch) {
        self.pipeline.runs(thread, sites, batch);
    }

    fn event(&mut self, thread: u32, mut event: Event) {
        if let Event::Map { path, .. } | Event::FileRead { path, .. } | Event::Exec { path } = &mut event
            && let Some(now) = self.now(path)
        {
            *path = now;
        }
        self.pipeline.event(thread, event);
    }

    fn probes(&mut self, first: u32) -> Vec<Probe> {
        self.pipeline.probes(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_has_two_sides() {
        let moved: Move = "/a=/b/c".parse().expect("two sides");
        assert_eq!((moved.from, moved.to), ("/a".into(), "/b/c".into()));
        for wrong in ["", "/a", "/a=", "=/b"] {
            assert!(wrong.parse::<Move>().is_err(), "{wrong}");
        }
    }
}
