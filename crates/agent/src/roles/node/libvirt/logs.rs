//! What guests write to their consoles, kept short.
//!
//! QEMU writes each guest's log to a file that grows for as long as the guest likes to. libvirt's log daemon would rotate it, but ends
//! with its pod, and the guests' consoles with it. So the older part is given back to the file system by a hole: the file's length and
//! the emulator's place in it stay, and Nova, which reads the end of it (nova/virt/libvirt/driver.py, `MAX_CONSOLE_BYTES`), finds that.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};
use tracing::warn;

/// A log that takes more than this is made shorter, in bytes.
const MOST: u64 = 4 * 1024 * 1024;
/// What stays of its end, in bytes.
const STAYS: u64 = 1024 * 1024;

/// Make every log below a directory shorter that takes too much. One that cannot be is told of.
pub fn shorten(instances: &Path) {
    for entry in std::fs::read_dir(instances).into_iter().flatten().flatten() {
        let log = entry.path().join("console.log");
        match shorten_one(&log) {
            Err(error)
                if error.kind() != io::ErrorKind::NotFound
                    && error.kind() != io::ErrorKind::NotADirectory =>
            {
                warn!(target: "oaas_agent", "{} goes on growing: {error}", log.display());
            }
            _ => {}
        }
    }
}

fn shorten_one(log: &Path) -> io::Result<()> {
    let found = std::fs::metadata(log)?;
    if found.blocks() * 512 <= MOST {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(log)?;
    let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let length = i64::try_from(found.len().saturating_sub(STAYS)).map_err(io::Error::other)?;
    fallocate(&file, hole, 0, length)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_log_stays_where_it_is() {
        let instances = tempfile::tempdir().unwrap();
        let log = |guest: &str| instances.path().join(guest).join("console.log");
        let write = |guest: &str, bytes: usize| {
            std::fs::create_dir(instances.path().join(guest)).unwrap();
            let mut text = vec![b'a'; bytes];
            text.extend(b"END");
            std::fs::write(log(guest), text).unwrap();
            std::fs::File::open(log(guest)).unwrap().sync_all().unwrap();
        };
        write("long", 8 << 20);
        write("short", 1000);
        std::fs::write(instances.path().join("compute_nodes"), "").unwrap();
        shorten(instances.path());
        let found = std::fs::metadata(log("long")).unwrap();
        assert_eq!(found.len(), (8 << 20) + 3);
        assert!(found.blocks() * 512 < 2 << 20, "{}", found.blocks());
        assert!(std::fs::read(log("long")).unwrap().ends_with(b"aEND"));
        assert_eq!(std::fs::read(log("short")).unwrap().len(), 1003);
    }
}
