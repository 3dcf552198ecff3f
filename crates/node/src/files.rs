//! Files written whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt, Snafu};

/// A file or directory could not be read, written or removed.
#[derive(Debug, Snafu)]
#[snafu(display("failed to {verb} {}", path.display()), visibility(pub(crate)))]
pub struct FileError {
    verb: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// Is it that the file does not exist?
    pub fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

impl Explain for FileError {
    fn kind(&self) -> Kind {
        match self.source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::PermissionDenied => Kind::Environment,
            _ => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        let path = self.path.display();
        match self.source.kind() {
            io::ErrorKind::StorageFull => Some(format!("make room on the disk that holds {path}")),
            io::ErrorKind::ReadOnlyFilesystem => {
                Some("choose a writable directory (OAAS_STATE_DIR, OAAS_CACHE_DIR)".into())
            }
            io::ErrorKind::PermissionDenied => Some("run it as root".into()),
            _ => None,
        }
    }
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everyone.
    Public,
    /// Its owner alone.
    Secret,
}

/// Make a directory and those above it.
pub fn make_directory(path: &Path, access: Access) -> Result<(), FileError> {
    fs::create_dir_all(path).context(FileSnafu { verb: "make directory", path })?;
    if access == Access::Secret {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .context(FileSnafu { verb: "protect directory", path })?;
    }
    Ok(())
}

/// Write a file so that at any moment it has its old content or its new one, and survives a loss of power.
/// Does nothing when it has that content already; says whether it wrote.
pub fn write(path: &Path, content: &[u8], access: Access) -> Result<bool, FileError> {
    let mode = match access {
        Access::Public => 0o644,
        Access::Secret => 0o600,
    };
    if fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o777 == mode)
        && fs::read(path).is_ok_and(|found| found == content)
    {
        return Ok(false);
    }
    if let Some(parent) = path.parent() {
        make_directory(parent, Access::Public)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = (|| {
        // A leftover of a killed process with the same id may have another mode.
        let _ = fs::remove_file(&new);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.context(FileSnafu { verb: "write", path })?;
    Ok(true)
}

/// Read a file's text.
pub fn read(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).context(FileSnafu { verb: "read", path })
}

/// Read a file's text, if it exists.
pub fn read_if_there(path: &Path) -> Result<Option<String>, FileError> {
    match read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Remove a file or a whole directory, if it exists; says whether it did.
pub fn remove(path: &Path) -> Result<bool, FileError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(FileError { verb: "remove", path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_twice_writes_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        assert!(write(&path, b"one", Access::Secret).unwrap());
        assert!(!write(&path, b"one", Access::Secret).unwrap());
        assert!(write(&path, b"two", Access::Secret).unwrap());
        assert_eq!(read(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no leftovers");
    }

    #[test]
    fn a_secret_that_everyone_could_read_is_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        write(&path, b"k", Access::Public).unwrap();
        assert!(write(&path, b"k", Access::Secret).unwrap());
    }

    #[test]
    fn what_is_not_there_is_removed_already() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!remove(&directory.path().join("none")).unwrap());
        assert_eq!(read_if_there(&directory.path().join("none")).unwrap(), None);
    }
}
