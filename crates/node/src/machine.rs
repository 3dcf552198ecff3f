//! What this machine and this process are, at a glance.

use std::fs;

/// Does this process belong to root?
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The machine's memory, in bytes.
pub fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .map_or(0, |kibibytes| kibibytes << 10)
}

/// Does this process have `CAP_SYS_RESOURCE` (bit 24 of the capability sets)?
pub fn may_lower_oom_score() -> bool {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .is_some_and(|set| set & (1 << 24) != 0)
}
