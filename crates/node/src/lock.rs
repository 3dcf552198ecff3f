//! One process at a time brings an instance up or down.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use snafu::ResultExt;

use crate::error::{BusySnafu, Error};
use crate::files::FileSnafu;
use crate::instance::Instance;

/// Held until it is dropped, or its process ends in any way.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// Take the lock, or fail at once, naming the process that holds it.
    pub fn take(path: &Path, instance: &Instance) -> Result<Self, Error> {
        let open = || {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            File::options().create(true).truncate(false).read(true).write(true).open(path)
        };
        let file = open().context(FileSnafu { verb: "open", path })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                let mut write = || {
                    file.set_len(0)?;
                    file.rewind()?;
                    file.write_all(std::process::id().to_string().as_bytes())
                };
                write().context(FileSnafu { verb: "write", path })?;
                Ok(Self { _file: file })
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).context(FileSnafu { verb: "read", path })?;
                BusySnafu { instance: instance.clone(), pid }.fail()
            }
            Err((_, errno)) => {
                let failed: Result<(), std::io::Error> = Err(errno.into());
                failed.context(FileSnafu { verb: "lock", path })?;
                unreachable!("an error was just returned")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oaas_feedback::{Explain, Kind};

    #[test]
    fn a_second_one_is_told_who_is_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("i/lock");
        let first = Lock::take(&path, &Instance::default()).unwrap();
        let error = Lock::take(&path, &Instance::default()).unwrap_err();
        assert_eq!(error.kind(), Kind::Busy);
        let pid = std::process::id();
        assert_eq!(error.to_string(), format!("instance oaas is being brought up or down by process {pid}"));
        assert!(error.hint().unwrap().contains(&pid.to_string()));
        drop(first);
        Lock::take(&path, &Instance::default()).unwrap();
    }
}
