//! Starts the target under a capture engine and keeps hold of it.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use crate::args::EngineChoice;
use crate::failure::{Failure, Kind};
use crate::python;
use crate::target::Target;

/// How a target ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

impl Ending {
    fn of(status: ExitStatus) -> Self {
        match status.signal() {
            Some(signal) => Self::Killed(signal),
            None => Self::Exited(status.code().unwrap_or(-1)),
        }
    }

    /// The exit status that a shell would show.
    #[must_use]
    pub fn status(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => 128 + signal,
        }
    }
}

/// What lets a target announce its operators, beside what is read of its functions' arguments.
#[derive(Clone, Copy, Debug)]
pub struct Announced {
    /// The collector of ITT and NVTX tasks.
    pub tasks: bool,
    /// Hooks for Python.
    pub python: bool,
}

impl Announced {
    /// Puts it into `folder` and into the environment. A collector that the user has named stays.
    fn prepare(self, command: &mut Command, folder: &Path) -> Result<(), Failure> {
        let failed = |(file, error): (PathBuf, std::io::Error)| {
            Failure::new(Kind::Engine, format!("cannot write {}: {error}", file.display()))
        };
        if self.tasks {
            let library = folder.join("libmemloupe_collector.so");
            fs::write(&library, memloupe_collector::LIBRARY)
                .map_err(|error| failed((library.clone(), error)))?;
            for variable in memloupe_collector::VARIABLES {
                if std::env::var_os(variable).is_none() {
                    command.env(variable, &library);
                }
            }
        }
        if self.python {
            let path = python::install(folder).map_err(failed)?;
            command.env(python::PATH_VARIABLE, path);
        }
        Ok(())
    }
}

/// A running target.
pub struct Launched {
    child: Child,
    ending: Option<Ending>,
    interrupted: Arc<AtomicBool>,
    forwarded: bool,
    tool: Option<memloupe_valgrind::Tool>,
    /// Holds the engine's files until the target is gone.
    engine_folder: tempfile::TempDir,
}

impl Launched {
    /// Starts `target` under an engine with the stream's descriptor inherited, and with what lets it announce its operators.
    ///
    /// # Errors
    /// [`Kind::Engine`] if the engine is missing, can't be started or can't observe this target.
    pub fn start(
        engine: EngineChoice,
        target: &Target,
        arguments: &[String],
        stream: BorrowedFd<'_>,
        announced: Announced,
    ) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("memloupe-")
            .tempdir()
            .map_err(|error| {
                Failure::new(
                    Kind::Engine,
                    format!(
                        "cannot make a folder for the engine in {}: {error}",
                        std::env::temp_dir().display()
                    ),
                )
            })?;
        let (mut command, tool) = match engine {
            EngineChoice::Native => (native(target, arguments, folder.path())?, None),
            EngineChoice::Valgrind => {
                let tool = memloupe_valgrind::install(folder.path()).map_err(Failure::of(Kind::Engine))?;
                (tool.command(target.path.as_os_str(), arguments), Some(tool))
            }
        };
        command.env(memloupe_stream::FD_VARIABLE, stream.as_raw_fd().to_string());
        announced.prepare(&mut command, folder.path())?;
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))
                .map_err(|error| Failure::new(Kind::Engine, format!("cannot watch for signals: {error}")))?;
        }
        let child = command.spawn().map_err(|error| {
            let program = PathBuf::from(command.get_program());
            Failure::new(
                Kind::Engine,
                format!("cannot start {}: {error}", program.display()),
            )
        })?;
        Ok(Self {
            child,
            ending: None,
            interrupted,
            forwarded: false,
            tool,
            engine_folder: folder,
        })
    }

    /// The libraries that it was given, which go with it.
    #[must_use]
    pub fn libraries(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.engine_folder.path()).into_iter().flatten();
        let paths = files.filter_map(|file| Some(file.ok()?.path()));
        // Not the links to Valgrind's own.
        paths
            .filter(|path| path.extension().is_some_and(|it| it == "so") && !path.is_symlink())
            .collect()
    }

    /// What the engine had to say, line by line.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        let messages = self
            .tool
            .as_ref()
            .map(memloupe_valgrind::Tool::messages)
            .unwrap_or_default();
        messages.lines().map(str::to_owned).collect()
    }

    /// How it ended, if it has.
    pub fn ending(&mut self) -> Option<Ending> {
        if self.ending.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.ending = Some(Ending::of(status));
        }
        self.ending
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Ending {
        if let Some(ending) = self.ending {
            return ending;
        }
        let ending = self.child.wait().map_or(Ending::Exited(-1), Ending::of);
        self.ending = Some(ending);
        ending
    }

    /// Whether memloupe was asked to stop (Ctrl-C, SIGTERM). Asks the target to stop as well, once.
    pub fn interrupted(&mut self) -> bool {
        let interrupted = self.interrupted.load(Ordering::Relaxed);
        if interrupted && !self.forwarded {
            self.forwarded = true;
            // A terminal's Ctrl-C reaches the target by itself; a second SIGINT does no harm to one that is ending.
            self.signal(Signal::INT);
        }
        interrupted
    }

    /// Kills the target; for one that does not end when asked.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // An error means that it is gone already.
            let _ = kill_process(pid, signal);
        }
    }
}

/// The native engine's library, which the build script made.
pub(crate) static NATIVE_ENGINE: &[u8] = include_bytes!(env!("MEMLOUPE_ENGINE"));

/// The target with the native engine preloaded, before whatever it preloads itself.
fn native(target: &Target, arguments: &[String], folder: &Path) -> Result<Command, Failure> {
    if target.is_static {
        let what = "is statically linked: the native engine can't be loaded into it; use --engine valgrind";
        return Err(Failure::new(
            Kind::Engine,
            format!("{} {what}", target.executable.display()),
        ));
    }
    let library = folder.join("libmemloupe.so");
    fs::write(&library, NATIVE_ENGINE).map_err(|error| {
        Failure::new(
            Kind::Engine,
            format!("cannot write {}: {error}", library.display()),
        )
    })?;
    let mut preload = library.into_os_string();
    if let Some(others) = std::env::var_os(PRELOAD).filter(|others| !others.is_empty()) {
        preload.push(":");
        preload.push(others);
    }
    let mut command = Command::new(&target.path);
    command.args(arguments).env(PRELOAD, preload);
    Ok(command)
}

const PRELOAD: &str = "LD_PRELOAD";
