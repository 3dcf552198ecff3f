//! One `up` at a time for an instance.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// For how long a process that is ending may go on holding the lock: the kernel gives back its memory and finishes its
/// writes before it closes its files.
const ENDING: Duration = Duration::from_secs(30);

/// The lock, or who holds it.
#[derive(Debug)]
pub enum Lock {
    /// It is ours until the file is closed.
    Ours(File),
    /// It is the process's of this ID.
    Held(String),
}

/// Take the lock, whose file says which process has it. One whose process is ending already, as after `kill -9`, is waited for.
pub fn take(path: &Path) -> io::Result<Lock> {
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                file.rewind()?;
                file.write_all(std::process::id().to_string().as_bytes())?;
                return Ok(Lock::Ours(file));
            }
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.rewind()?;
                file.read_to_string(&mut pid)?;
                let status = fs::read_to_string(format!("/proc/{pid}/status")).ok();
                if began.elapsed() > ENDING || !is_ending(status.as_deref()) {
                    return Ok(Lock::Held(pid));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::Error(source)) => return Err(source),
        }
    }
}

/// Whether a process is ending, from `/proc/PID/status`; nothing, if there is none any more.
///
/// One that is has a SIGKILL pending until its last thread has seen it (the kernel sends it to each thread), then no memory of
/// its own (`VmSize`, see `proc_pid_status(5)`) while the rest is given back.
fn is_ending(status: Option<&str>) -> bool {
    const SIGKILL: u64 = 1 << 8;
    let field = |name: &str| {
        status?.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let pending = |name| field(name).and_then(|bits| u64::from_str_radix(bits, 16).ok()).unwrap_or(0);
    status.is_none() || field("VmSize").is_none() || (pending("SigPnd") | pending("ShdPnd")) & SIGKILL != 0
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn status_of(pid: impl std::fmt::Display) -> Option<String> {
        fs::read_to_string(format!("/proc/{pid}/status")).ok()
    }

    #[test]
    fn one_that_works_is_not_ending() {
        assert!(!is_ending(status_of("self").as_deref()));
        assert!(is_ending(Some(
            "Name:\toaas\nVmSize:\t 1 kB\nSigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n"
        )));
        assert!(!is_ending(Some(
            "Name:\toaas\nVmSize:\t 1 kB\nSigPnd:\t0000000000000002\nShdPnd:\t0000000000000000\n"
        )));
        assert!(is_ending(None));
    }

    #[test]
    fn one_that_ended_without_being_waited_for_is_ending() {
        let mut child = Command::new("true").stdout(Stdio::null()).spawn().unwrap();
        while !is_ending(status_of(child.id()).as_deref()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.wait().unwrap();
    }

    #[test]
    fn a_lock_is_waited_for_while_its_process_ends() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("up.lock");
        let Lock::Ours(first) = take(&path).unwrap() else { panic!("nobody else has it") };
        let Lock::Held(pid) = take(&path).unwrap() else { panic!("it is held") };
        assert_eq!(pid, std::process::id().to_string());

        // The kernel's highest process ID is below 2^22.
        fs::write(&path, (1 << 22).to_string()).unwrap();
        let holder = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(first);
        });
        assert!(matches!(take(&path).unwrap(), Lock::Ours(_)));
        assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        holder.join().unwrap();
    }
}
