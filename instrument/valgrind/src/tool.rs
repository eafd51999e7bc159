//! The tool in its folder, ready to run programs.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artefact::ARTEFACTS;
use crate::installed::{SUPPORT_FILES, probe};
use crate::{Error, Installed};

/// Valgrind's options for a recorded run, beside the tool's name and the log's place.
const OPTIONS: &[&str] = &[
    "--quiet",
    // No gdb server: its pipes and its thread would be the target's.
    "--vgdb=no",
    // The tool goes along when the target calls exec; for forked children it turns this off.
    "--trace-children=yes",
    // Threads take turns: a spinning thread must not starve the one it waits for.
    "--fair-sched=try",
    // Translations that are thrown away and made again cost more than the memory.
    "--num-transtab-sectors=48",
    // As many as the stream has rings.
    "--max-threads=512",
    // User and project option files are not the recorded run's.
    "--command-line-only=yes",
];

/// The tool's files in a private folder.
#[derive(Debug)]
pub struct Tool {
    folder: PathBuf,
    valgrind: Installed,
}

/// Writes the tool's files into `folder`, which must exist, be private to the user and outlive the run.
///
/// # Errors
/// If Valgrind is missing or of another version ([`probe`]), or the folder can't be written.
pub fn install(folder: &Path) -> Result<Tool, Error> {
    let valgrind = probe()?;
    let failed = |path: PathBuf| move |source: io::Error| Error::Install { path, source };
    let folder = folder.canonicalize().map_err(failed(folder.to_owned()))?;
    for artefact in ARTEFACTS {
        let path = folder.join(artefact.name);
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o755)
            .open(&path)
            .and_then(|mut file| file.write_all(artefact.bytes))
            .map_err(failed(path))?;
    }
    for name in SUPPORT_FILES {
        let link = folder.join(name);
        match symlink(valgrind.support.join(name), &link) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            result => result.map_err(failed(link))?,
        }
    }
    Ok(Tool { folder, valgrind })
}

impl Tool {
    /// The Valgrind it runs under.
    #[must_use]
    pub fn valgrind(&self) -> &Installed {
        &self.valgrind
    }

    /// A command that runs `program` under the tool. The caller adds the stream's descriptor to its environment.
    /// The target's standard streams are its own: what Valgrind has to say goes to [`Tool::messages`].
    #[must_use]
    pub fn command<S: AsRef<OsStr>>(
        &self,
        program: &OsStr,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut log = std::ffi::OsString::from("--log-file=");
        // Valgrind takes '%' in this path for a pattern.
        log.push(self.folder.to_string_lossy().replace('%', "%%"));
        log.push("/messages.%p.log");
        let mut command = Command::new(&self.valgrind.program);
        command
            .env("VALGRIND_LIB", &self.folder)
            .env_remove("VALGRIND_OPTS")
            .arg("--tool=memloupe")
            .args(OPTIONS)
            .arg(log)
            .arg("--")
            .arg(program)
            .args(arguments);
        command
    }

    /// What Valgrind and the tool said during the runs so far: errors, fatal signals, unsupported instructions.
    #[must_use]
    pub fn messages(&self) -> String {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return String::new();
        };
        let mut logs: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        logs.sort();
        logs.iter()
            .filter_map(|log| fs::read(log).ok())
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .collect()
    }
}
