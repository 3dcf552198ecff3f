//! Memory of processes, and those of this container that the kernel killed because it ran out.
//!
//! Kubernetes tells of it only when the container's first process ends. A server that starts its workers anew would
//! fail for ever without a word of the cause.

use std::fs;

/// Where the kernel counts, as seen in a container: the control group version 2, then 1
/// (kernel documentation, `admin-guide/cgroup-v2.rst` and `admin-guide/cgroup-v1/memory.rst`).
const COUNTERS: [&str; 2] = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];
/// Where the limit is, in the same order.
const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// How many processes were killed, in words; nothing when none was, or when it cannot be seen.
pub(crate) fn killed() -> Option<String> {
    let read = |paths: [&str; 2]| paths.iter().find_map(|path| fs::read_to_string(path).ok());
    words(&read(COUNTERS)?, &read(LIMITS).unwrap_or_default())
}

/// Resident memory of a process, by `proc_pid_status(5)`.
pub(crate) fn resident_bytes(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

fn words(counters: &str, limit: &str) -> Option<String> {
    let kills = counters
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))
        .and_then(|count| count.trim().parse::<u64>().ok())
        .filter(|kills| *kills > 0)?;
    let limit = limit
        .trim()
        .parse::<u64>()
        .map_or_else(|_| String::new(), |bytes| format!(" (limit {} MiB)", bytes / 1_048_576));
    let processes = if kills == 1 { "1 process was".to_owned() } else { format!("{kills} processes were") };
    Some(format!("{processes} killed because memory ran out{limit}"))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn tells_kills_of_either_version() {
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(
            words(v1, "50331648\n").as_deref(),
            Some("3 processes were killed because memory ran out (limit 48 MiB)")
        );
        let v2 = "low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(words(v2, "max\n").as_deref(), Some("1 process was killed because memory ran out"));
        assert_eq!(words("oom_kill 0\n", "1"), None);
        assert_eq!(words("", ""), None);
    }
}
