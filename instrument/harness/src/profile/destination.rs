//! How a profile reaches its folder: whole, or not at all.
//!
//! Everything is written into a temporary folder beside the destination, which is renamed into place at the end. Making
//! that folder before the run tells in time that the results will have nowhere to go.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Profile, ProfileError, SUMMARY_FILE, layout};

/// Where a profile will be. Dropping it uncommitted removes what was written.
#[derive(Debug)]
pub struct Destination {
    folder: PathBuf,
    staging: TempDir,
    /// What is written goes to this folder inside; at first, the profile's own.
    inside: PathBuf,
}

impl Destination {
    /// Claims a folder: makes its parents and a staging folder beside it.
    ///
    /// # Errors
    ///
    /// If it, or the place for the older profile that it holds, is something else than a profile or an empty folder, or
    /// if its parent can't be written.
    pub fn prepare(folder: &Path) -> Result<Self, ProfileError> {
        let failed = |source| ProfileError::Write {
            path: folder.to_owned(),
            source,
        };
        // A symbolic link is followed now, so that the rename meets a folder.
        let folder = match folder.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::path::absolute(folder),
            resolved => resolved,
        }
        .map_err(failed)?;
        let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
            return Err(ProfileError::Foreign(folder));
        };
        check_replaceable(&folder)?;
        check_replaceable(&old(&folder))?;
        fs::create_dir_all(parent).map_err(failed)?;
        let staging = tempfile::Builder::new()
            .prefix(&format!(".{}.", name.to_string_lossy()))
            .permissions(fs::Permissions::from_mode(0o777)) // less the umask, as for any folder
            .tempdir_in(parent)
            .map_err(|error| failed(error.kind().into()))?;
        Ok(Self {
            staging,
            folder,
            inside: PathBuf::new(),
        })
    }

    /// Where the profile will be.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What follows belongs to another profile of the same run, in a folder inside, which is made.
    ///
    /// # Errors
    ///
    /// If it can't be made.
    pub fn enter(&mut self, inside: PathBuf) -> Result<(), ProfileError> {
        self.inside = inside;
        let path = self.staging.path().join(&self.inside);
        fs::create_dir_all(&path).map_err(|source| self.name(ProfileError::Write { path, source }))
    }

    /// Writes a sealed profile's files.
    ///
    /// # Errors
    ///
    /// If one can't be written.
    pub fn write(&self, profile: &Profile) -> Result<(), ProfileError> {
        layout::write(&self.staging.path().join(&self.inside), profile).map_err(|error| self.name(error))
    }

    /// Writes another file of the profile.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub fn write_file(&self, name: &str, content: &[u8]) -> Result<(), ProfileError> {
        let path = self.staging.path().join(&self.inside).join(name);
        fs::write(&path, content).map_err(|source| self.name(ProfileError::Write { path, source }))
    }

    /// Puts the profile in its place; one that is there is kept as FOLDER.old.
    ///
    /// # Errors
    ///
    /// If something else appeared there during the run, or a rename fails.
    pub fn commit(self) -> Result<PathBuf, ProfileError> {
        let Self { folder, staging, .. } = self;
        check_replaceable(&folder)?;
        let rename = |from: &Path, to: &Path| {
            fs::rename(from, to).map_err(|source| ProfileError::Write {
                path: to.to_owned(),
                source,
            })
        };
        if folder.join(SUMMARY_FILE).exists() {
            let old = old(&folder);
            check_replaceable(&old)?;
            if old.exists() {
                fs::remove_dir_all(&old).map_err(|source| ProfileError::Write {
                    path: old.clone(),
                    source,
                })?;
            }
            rename(&folder, &old)?;
        }
        rename(staging.path(), &folder)?;
        // Renamed: there is nothing left to remove.
        let _ = staging.keep();
        Ok(folder)
    }

    /// Names the file by where it would have been: the staging folder's name means nothing to the user.
    fn name(&self, error: ProfileError) -> ProfileError {
        match error {
            ProfileError::Write { path, source } => {
                let path = path
                    .strip_prefix(self.staging.path())
                    .map_or(path.clone(), |file| self.folder.join(file));
                ProfileError::Write { path, source }
            }
            other => other,
        }
    }
}

fn old(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".old");
    name.into()
}

/// A folder may be replaced if it is a profile or empty; what does not exist is replaced by being made.
fn check_replaceable(folder: &Path) -> Result<(), ProfileError> {
    let mut entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(ProfileError::Foreign(folder.to_owned()));
        }
        Err(source) => {
            return Err(ProfileError::Read {
                file: folder.to_owned(),
                source,
            });
        }
    };
    if entries.next().is_none() || folder.join(SUMMARY_FILE).is_file() {
        return Ok(());
    }
    Err(ProfileError::Foreign(folder.to_owned()))
}
