//! Keeps logs small.
//!
//! Services write to their logs themselves, appending, so that no log line depends on a supervisor being alive. A
//! log that grew is copied and then cut to nothing; lines written between the two are lost, which is the price.

use std::fs::{self, File};
use std::path::Path;

use snafu::ResultExt;

use crate::files::{FileError, FileSnafu};

/// The size from which a log is put aside, in bytes.
const LARGE: u64 = 32 << 20;

/// Put aside the logs in a directory that grew large; one older part of each is kept, as `NAME.log.1`.
pub(crate) fn rotate_all(directory: &Path) -> Result<(), FileError> {
    rotate_larger_than(directory, LARGE)
}

fn rotate_larger_than(directory: &Path, large: u64) -> Result<(), FileError> {
    let entries = fs::read_dir(directory).context(FileSnafu { verb: "list", path: directory })?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_log = path.extension().is_some_and(|end| end == "log");
        if is_log && fs::metadata(&path).is_ok_and(|found| found.len() > large) {
            fs::copy(&path, path.with_extension("log.1")).context(FileSnafu { verb: "copy", path: &path })?;
            let file =
                File::options().write(true).open(&path).context(FileSnafu { verb: "open", path: &path })?;
            file.set_len(0).context(FileSnafu { verb: "cut", path: &path })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_large_log_is_put_aside_while_its_writer_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let (log, other) = (directory.path().join("a.log"), directory.path().join("b.log"));
        let mut writer = File::options().create(true).append(true).open(&log).unwrap();
        writer.write_all(b"0123456789").unwrap();
        fs::write(&other, "01").unwrap();
        rotate_larger_than(directory.path(), 5).unwrap();
        writer.write_all(b"new").unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "new");
        assert_eq!(fs::read_to_string(directory.path().join("a.log.1")).unwrap(), "0123456789");
        assert_eq!(fs::read_to_string(&other).unwrap(), "01");
    }
}
