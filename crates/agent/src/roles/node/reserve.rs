//! What of a node guests may not have: what everything else there takes.
//!
//! Nova gives all of a node to guests (`reserved_host_memory_mb`, `reserved_host_disk_mb`: nova/conf/compute.py), and what a tenant
//! fills is then missing to the databases beside it. How much the rest takes differs from node to node, so it is measured there.

use std::path::Path;

use nix::sys::statvfs::statvfs;
use tracing::warn;

use super::error::Error;
use super::{libvirt, system};

/// What is kept, in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Reserved {
    /// Of memory.
    pub memory_mib: u64,
    /// Of the file system with guests' disks.
    pub disk_mib: u64,
}

/// Where the largest measure so far stands, in Nova's state directory: right after a node's start little runs there yet.
const KEPT: &str = "oaas-reserved-memory";
/// Amounts are whole multiples of this, so that a restart seldom changes them.
const STEP_MIB: u64 = 256;
/// What the rest may grow by: this, and a quarter of what it takes.
const GROWTH_MIB: u64 = 512;
/// Guests get this part of the memory at least, in percent: a measure while something large runs must not take all.
const LEAST_PERCENT: u64 = 25;
/// What the rest may grow by on the disk: this, or a twentieth of the disk where that is less.
const DISK_GROWTH_MIB: u64 = 10 * 1024;

/// Memory to keep, by `/proc/meminfo`, what guests have of it and what was kept before.
fn memory(meminfo: &str, guests_mib: u64, before: u64) -> Option<u64> {
    let of = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
    };
    let (total, available) = (of("MemTotal")?, of("MemAvailable")?);
    let rest = total.saturating_sub(available).saturating_sub(guests_mib);
    let wanted = (rest + rest / 4 + GROWTH_MIB).next_multiple_of(STEP_MIB);
    Some(wanted.max(before).min(total * (100 - LEAST_PERCENT) / 100))
}

/// Space to keep on a file system, by its size, what is free and what guests have of it.
fn disk(total_mib: u64, free_mib: u64, guests_mib: u64) -> u64 {
    let rest = total_mib.saturating_sub(free_mib).saturating_sub(guests_mib);
    (rest + DISK_GROWTH_MIB.min(total_mib / 20)).next_multiple_of(STEP_MIB).min(total_mib)
}

/// What files below a directory take, in MiB: blocks, not lengths.
fn taken_mib(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let sum = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => taken_mib(&entry.path()),
        Ok(found) => found.blocks() * 512 / 1_048_576,
        // Gone meanwhile.
        Err(_) => 0,
    });
    sum.sum()
}

/// Measure this node; `instances` is the directory with guests' disks.
pub fn measure(state: &Path, instances: &Path) -> Result<Reserved, Error> {
    let kept = state.join(KEPT);
    let before = system::read_if_there(&kept)?.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let meminfo = system::read(Path::new("/proc/meminfo"))?;
    let memory_mib = memory(&meminfo, libvirt::guests_memory_mib()?, before).unwrap_or(before);
    system::write(&kept, &format!("{memory_mib}\n"), 0o644)?;
    let disk_mib = match statvfs(instances) {
        Ok(found) => {
            let unit = found.fragment_size();
            let mib = |blocks: u64| blocks * unit / 1_048_576;
            disk(mib(found.blocks()), mib(found.blocks_available()), taken_mib(instances))
        }
        Err(error) => {
            warn!(target: "oaas_agent", "no space is kept of {}: {error}", instances.display());
            0
        }
    };
    Ok(Reserved { memory_mib, disk_mib })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_rest_is_kept_with_room_to_grow() {
        let meminfo = "MemTotal:       24576000 kB\nMemFree:  100 kB\nMemAvailable:   18432000 kB\n";
        // 24000 MiB, of which 6000 are taken, 1000 by guests.
        assert_eq!(memory(meminfo, 1000, 0), Some(6912));
        assert_eq!(memory(meminfo, 0, 10_000), Some(10_000), "it only grows");
        assert_eq!(memory(meminfo, 0, 1_000_000), Some(18_000), "guests get a quarter at least");
        assert_eq!(memory("", 0, 0), None);
    }

    #[test]
    fn space_of_the_rest_is_kept_too() {
        assert_eq!(disk(250_000, 80_000, 1000), 179_456);
        assert_eq!(disk(20_000, 15_000, 0), 6144);
        assert_eq!(disk(10_000, 0, 0), 10_000, "never more than there is");
    }
}
