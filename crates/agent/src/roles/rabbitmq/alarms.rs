//! Why a member holds publishers back: seen as the server itself sees it, without asking it.
//!
//! Each of the server's own commands starts an Erlang machine. What raises its alarms is plain to see: the free space of the
//! volume (`disk_free_limit.absolute`) and the resident memory (`vm_memory_high_watermark.relative`, of the limit that it is
//! told, by its strategy `rss`).

use std::path::Path;

use nix::sys::statvfs::statvfs;
use oaas_agent_config::Rabbitmq;

use super::settings::MEMORY_SHARE;
use crate::context::Running;
use crate::memory::resident_bytes;

/// The alarms of this member now, in words.
pub fn alarms(config: &Rabbitmq, programs: &[Running]) -> Vec<String> {
    let free = free_bytes(&config.volume);
    let memory = programs.iter().filter_map(|running| resident_bytes(running.pid)).sum();
    judge(config, free, memory)
}

fn judge(config: &Rabbitmq, free: Option<u64>, memory: u64) -> Vec<String> {
    const MIB: u64 = 1 << 20;
    let mut alarms = Vec::new();
    // No numbers that change at each look: what is new is logged.
    if free.is_some_and(|free| free < config.disk_free_limit_bytes) {
        let (volume, limit) = (config.volume.display(), config.disk_free_limit_bytes / MIB);
        alarms.push(format!("publishers are held back: {volume} has less than {limit} MiB free"));
    }
    let most = config.memory_limit_bytes.map(|limit| limit / 100 * MEMORY_SHARE);
    if let Some(most) = most.filter(|most| memory > *most) {
        let most = most / MIB;
        alarms.push(format!("publishers are held back: it uses more than {most} MiB of memory"));
    }
    alarms
}

fn free_bytes(path: &Path) -> Option<u64> {
    let stat = statvfs(path).ok()?;
    Some(stat.blocks_available() * stat.fragment_size())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Rabbitmq {
        serde_json::from_str(r#"{"members": [], "cookie_file": "/c", "memory_limit_bytes": 1000000000}"#)
            .unwrap()
    }

    #[test]
    fn what_holds_publishers_back_is_named() {
        assert!(judge(&config(), Some(1 << 30), 1 << 20).is_empty());
        assert!(judge(&config(), None, 1 << 20).is_empty());
        assert!(judge(&config(), Some(5 << 20), 0)[0].contains("less than 200 MiB free"));
        let memory = judge(&config(), Some(1 << 30), 700_000_000);
        assert!(memory[0].contains("of memory"), "{memory:?}");
    }

    #[test]
    fn this_very_process_has_memory() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(resident_bytes(own).unwrap() > 1 << 20);
        assert!(free_bytes(Path::new("/")).is_some());
    }
}
