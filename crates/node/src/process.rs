//! Processes named so that a number used again by the kernel is not mistaken for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process: its id and when it started. The two together are unique until the machine reboots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Its id in the PID namespace of the `/proc` it was read from.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did (`/proc/PID/stat`, field 22).
    pub started: u64,
}

impl Process {
    /// The process with this id, if there is one that has not ended.
    pub fn find(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, started) = parse_stat(&stat)?;
        (!matches!(state, 'Z' | 'X')).then_some(Self { pid, started })
    }

    /// The process that runs this, seen by the `/proc` that is mounted (which may be another PID namespace's).
    pub fn own() -> Option<Self> {
        let link = fs::read_link("/proc/self").ok()?;
        Self::find(link.to_str()?.parse().ok()?)
    }

    /// When it started, by this machine's clock.
    pub fn since(self) -> Option<SystemTime> {
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let up = Duration::try_from_secs_f64(uptime.split_whitespace().next()?.parse().ok()?).ok()?;
        // The unit of that field is USER_HZ, which is 100 on every architecture that we run on (proc(5), sysconf(3)).
        let started = Duration::from_millis(self.started.checked_mul(10)?);
        SystemTime::now().checked_sub(up.checked_sub(started)?)
    }

    /// Does it still run?
    pub fn is_alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// Send it a signal, if it still runs.
    pub fn signal(self, signal: Signal) {
        if self.is_alive() {
            // It may end between the look and the signal; then there is nothing to signal.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// The root directory as this process sees it.
    pub fn root(self) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string()).join("root")
    }
}

/// State and start time in the text of `/proc/PID/stat`. The program's name, in brackets, may hold anything.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let rest = &stat[stat.rfind(')')? + 1..];
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let stat = "7 (a) S 1) R 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1 18446744073709551615";
        assert_eq!(parse_stat(stat), Some(('R', 12345)));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn a_process_says_when_it_started() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::find(i32::try_from(child.id()).unwrap()).unwrap();
        let age = process.since().unwrap().elapsed().unwrap_or_default();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(age < Duration::from_secs(30), "{age:?}");
    }

    #[test]
    fn an_id_used_again_is_another_process() {
        let own = Process::own().unwrap();
        assert!(own.is_alive());
        assert!(!Process { started: own.started + 1, ..own }.is_alive());
        assert_eq!(Process::find(i32::MAX), None);
    }

    #[test]
    fn a_process_that_ended_is_not_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = Process::find(i32::try_from(child.id()).unwrap());
        child.wait().unwrap();
        assert!(process.is_none_or(|process| !process.is_alive()));
    }
}
