//! A model file on disk: complete under its name, or not there at all.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::model::Model;

/// Why a model file could not be written.
#[derive(Debug)]
pub enum Error {
    /// The path names something that a model must not replace: a directory, a device.
    NotAFile(PathBuf),
    /// A new file could not be created in the folder.
    Create(PathBuf, io::Error),
    /// The folder took less than the whole file, which has this many bytes.
    Write(PathBuf, u64, io::Error),
    /// The finished file could not be given its name.
    Rename(PathBuf, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::NotAFile(path) => {
                write!(
                    f,
                    "{} exists and is not a regular file: choose another path with -o",
                    path.display()
                )
            }
            Self::Create(folder, error) => {
                write!(
                    f,
                    "cannot create a file in {}: {error}: choose a writable folder with -o",
                    folder.display()
                )
            }
            Self::Write(folder, need_bytes, error) => {
                let need_mb = need_bytes.div_ceil(1_000_000);
                write!(
                    f,
                    "cannot write the model to {}: {error}: it takes {need_mb} MB there",
                    folder.display()
                )
            }
            Self::Rename(path, error) => {
                write!(f, "cannot name the finished file {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for Error {}

/// Writes the model to a temporary file beside `path`, then renames it. Returns its size in bytes.
pub fn write_file(model: &Model, path: &Path, progress: &mut dyn FnMut(u64)) -> Result<u64, Error> {
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(Error::NotAFile(path.into()));
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".memloupe-models-")
        .permissions(Permissions::from_mode(0o666)) // less the umask
        .tempfile_in(folder)
        .map_err(|error| Error::Create(folder.into(), error))?;
    let size_bytes = model
        .write(file.as_file_mut(), progress)
        .map_err(|error| Error::Write(folder.into(), model.data_bytes(), error))?;
    file.persist(path)
        .map_err(|error| Error::Rename(path.into(), error.error))?;
    Ok(size_bytes)
}
