//! Files of a recorded program that are elsewhere now: those that the user moved, and those that the recording keeps
//! itself because they went with the run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use tempfile::TempDir;

use crate::{Answer, Event, Probe, RunBatch, Sink, SiteTable};

/// Where files are now.
#[derive(Debug, Default)]
pub(crate) struct Relocation {
    /// What was below the first is below the second.
    pub(crate) moves: Vec<(PathBuf, PathBuf)>,
    kept: HashMap<PathBuf, PathBuf>,
    /// Holds the kept files.
    folder: Option<TempDir>,
}

impl Relocation {
    /// Puts a file that was at `path` to where it can be read.
    pub(crate) fn keep(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = match &mut self.folder {
            Some(folder) => folder,
            none => none.insert(tempfile::Builder::new().prefix("memloupe-").tempdir()?),
        };
        // Its name is that of what is in it.
        let folder = folder.path().join(self.kept.len().to_string());
        fs::create_dir(&folder)?;
        let file = folder.join(path.file_name().unwrap_or_default());
        fs::write(&file, bytes)?;
        self.kept.insert(path.to_owned(), file);
        Ok(())
    }

    fn now(&self, path: &str) -> Option<PathBuf> {
        let path = Path::new(path);
        let below = |(from, to): &(PathBuf, PathBuf)| Some(to.join(path.strip_prefix(from).ok()?));
        self.moves
            .iter()
            .find_map(below)
            .or_else(|| self.kept.get(path).cloned())
    }
}

/// A sink that hears of files where they are now.
pub(crate) struct Relocated<'a, S> {
    pub(crate) sink: &'a mut S,
    pub(crate) relocation: &'a Relocation,
}

impl<S: Sink> Sink for Relocated<'_, S> {
    fn runs(&mut self, thread: u32, sites: &SiteTable, batch: &RunBatch) {
        self.sink.runs(thread, sites, batch);
    }

    fn event(&mut self, thread: u32, mut event: Event) {
        if let Event::Map { path, .. } | Event::FileRead { path, .. } | Event::Exec { path } = &mut event
            && let Some(now) = self.relocation.now(path)
        {
            *path = now.to_string_lossy().into_owned();
        }
        self.sink.event(thread, event);
    }

    fn probes(&mut self, first: u32) -> Vec<Probe> {
        self.sink.probes(first)
    }

    fn wants_clock(&self) -> bool {
        self.sink.wants_clock()
    }

    fn clock(&mut self, thread: u32, clock: u64) {
        self.sink.clock(thread, clock);
    }

    fn answer(&mut self, thread: u32) -> Answer {
        self.sink.answer(thread)
    }

    fn takes_scattered(&self) -> bool {
        self.sink.takes_scattered()
    }

    fn wants(&self) -> bool {
        self.sink.wants()
    }
}
