//! Have the processes taken what changed?

use std::path::Path;
use std::time::Duration;

/// A process that is behind for longer has something in its way.
const LIMIT: Duration = Duration::from_secs(30);

/// What a process says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// Its id, as it sees it.
    pub(super) pid: i32,
    /// The files that it has taken, by the name that the kubelet gave them.
    pub(super) files: String,
    /// Why it could not take them, or nothing.
    pub(super) wrong: String,
}

impl Process {
    /// `PID FILES WHY…`; one without files, where nothing is mounted, says nothing of use.
    pub(super) fn read(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let pid = words.next()?.parse().ok()?;
        let (files, wrong) = (words.next()?.to_owned(), words.next().unwrap_or_default().to_owned());
        Some(Self { pid, files, wrong })
    }
}

/// What is wrong, in words; `since` is how long the files of that name have been there.
pub(super) fn alarms<'a>(
    directory: &Path,
    files: &str,
    since: Duration,
    processes: impl Iterator<Item = &'a Process>,
) -> Vec<String> {
    let directory = directory.display();
    let of = |process: &Process| {
        let Process { pid, wrong, .. } = process;
        if process.files != files {
            let limit = LIMIT.as_secs();
            let late = since >= LIMIT;
            return late
                .then(|| format!("process {pid} has not taken what changed in {directory} for {limit} s"));
        }
        (!wrong.is_empty())
            .then(|| format!("process {pid} could not take what changed in {directory}: {wrong}"))
    };
    processes.filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_late_and_who_failed_is_named() {
        let process = |line: &str| Process::read(line).unwrap();
        let all = [process("7 ..1 "), process("8 ..2 "), process("9 ..2 ValueError('x y')")];
        let said = |seconds| alarms(Path::new("/etc/x"), "..2", Duration::from_secs(seconds), all.iter());
        let failed = "process 9 could not take what changed in /etc/x: ValueError('x y')";
        assert_eq!(said(29), [failed]);
        assert_eq!(said(30), ["process 7 has not taken what changed in /etc/x for 30 s", failed]);
    }

    #[test]
    fn a_line_is_a_process_with_its_files() {
        let process = Process::read("12 ..2026_11_30 ").unwrap();
        assert_eq!((process.pid, process.files.as_str(), process.wrong.as_str()), (12, "..2026_11_30", ""));
        assert_eq!(Process::read("x ..1"), None);
        assert_eq!(Process::read("12"), None);
    }
}
