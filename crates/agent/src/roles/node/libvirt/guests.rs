//! Guests' processes and what is done to each as soon as it runs: out of the pod's cgroups, and a place of its own when
//! memory is short.

use std::path::{Path, PathBuf};

use serde::Serialize;
use snafu::ResultExt as _;

use super::super::error::{Error, ReadSnafu, UnfitSnafu, WriteSnafu};
use super::super::system;
use super::cgroups;
use crate::memory::resident_bytes;

/// Where libvirt keeps its guests' process ids; the node's directory.
const STATE: &str = "/run/libvirt/qemu";

/// Where cgroups are mounted; the node's.
const CGROUPS: &str = "/sys/fs/cgroup";

/// How guests' processes are treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Treatment {
    /// The cgroup that guests' ones are below, relative to the root.
    pub cgroup: String,
    /// `oom_score_adj`, -1000 to 1000.
    pub oom_score_adj: i32,
}

/// A running guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// libvirt's name of it.
    pub domain: String,
    /// Its process.
    pub pid: i32,
}

/// What was found and done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Tended {
    /// Number of running guests.
    pub guests: usize,
    /// Guests that would end with this pod, and why that could not be helped.
    pub exposed: Vec<String>,
    /// The highest `oom_score_adj` among them: where the node lacks `CAP_SYS_RESOURCE` it stays that of the pod.
    pub oom_score_adj: Option<i32>,
}

/// All running guests.
pub fn all() -> Result<Vec<Guest>, Error> {
    let directory = Path::new(STATE);
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.context(ReadSnafu { path: directory })?,
    };
    let mut guests = Vec::new();
    for entry in entries {
        let path = entry.context(ReadSnafu { path: directory })?.path();
        if path.extension().is_some_and(|extension| extension == "pid") {
            guests.extend(guest_of(&path)?);
        }
    }
    guests.sort_by(|a, b| a.domain.cmp(&b.domain));
    Ok(guests)
}

/// The guest whose process id stands in this file, if the process is there.
fn guest_of(path: &Path) -> Result<Option<Guest>, Error> {
    let domain = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let Some(pid) = system::read_if_there(path)?.and_then(|text| text.trim().parse::<i32>().ok()) else {
        return Ok(None);
    };
    // A file may outlive its process, and the number may be another program's by now.
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_qemu = command.split(|byte| *byte == 0).next().is_some_and(|word| {
        String::from_utf8_lossy(word).rsplit('/').next().is_some_and(|name| name.starts_with("qemu-"))
    });
    Ok(is_qemu.then_some(Guest { domain, pid }))
}

/// Treat one guest; done again it changes nothing.
pub fn treat(guest: &Guest, treatment: &Treatment) -> Result<(), Error> {
    let first = system::read(Path::new("/proc/1/cgroup"))?;
    if cgroups::is_confined(&first) {
        return UnfitSnafu {
            what: format!(
                "failed to move {} out of the pod: the pod has a cgroup namespace of its own",
                guest.domain
            ),
            hint: "run libvirt's container privileged and in the node's PID namespace",
        }
        .fail();
    }
    let mounts = system::read(Path::new("/proc/self/mountinfo"))?;
    let hierarchies = cgroups::hierarchies(&mounts, Path::new(CGROUPS));
    let own = system::read(Path::new("/proc/self/cgroup"))?;
    let of_guest = system::read(Path::new(&format!("/proc/{}/cgroup", guest.pid)))?;
    let leaf = cgroups::leaf(&guest.domain);
    let mut first_error = None;
    for hierarchy in cgroups::caught(&hierarchies, &own, &of_guest) {
        // One hierarchy that does not let it go must not keep it in the others.
        if let Err(error) = cgroups::move_to(hierarchy, &treatment.cgroup, &leaf, guest.pid) {
            first_error.get_or_insert(error);
        }
    }
    set_score(guest.pid, treatment.oom_score_adj)?;
    first_error.map_or(Ok(()), Err)
}

fn score_file(pid: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/oom_score_adj"))
}

fn score(pid: i32) -> Option<i32> {
    system::read(&score_file(pid)).ok()?.trim().parse().ok()
}

/// Set `oom_score_adj`, or as near to it as this node allows.
fn set_score(pid: i32, wanted: i32) -> Result<(), Error> {
    let now = score(pid).unwrap_or_default();
    if now == wanted {
        return Ok(());
    }
    let path = score_file(pid);
    match std::fs::write(&path, wanted.to_string()) {
        // Without CAP_SYS_RESOURCE it may only rise.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && wanted < now => Ok(()),
        other => other.context(WriteSnafu { path }),
    }
}

/// The memory that all running guests have, in MiB.
pub fn memory_mib() -> Result<u64, Error> {
    let resident = all()?.iter().filter_map(|guest| resident_bytes(guest.pid)).sum::<u64>();
    Ok(resident / 1_048_576)
}

/// Treat all guests, and say how many there are and which could not be treated.
pub fn tend(treatment: &Treatment) -> Result<Tended, Error> {
    let guests = all()?;
    let exposed = guests.iter().filter_map(|guest| match treat(guest, treatment) {
        // One that ended meanwhile needs no treatment.
        Err(error) if Path::new(&format!("/proc/{}", guest.pid)).exists() => {
            Some(format!("{}: {}", guest.domain, crate::error::chain(&error)))
        }
        _ => None,
    });
    let exposed = exposed.collect();
    let oom_score_adj = guests.iter().filter_map(|guest| score(guest.pid)).max();
    Ok(Tended { guests: guests.len(), exposed, oom_score_adj })
}

/// What libvirt's hook was told; the arguments that libvirt gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The guest.
    pub domain: String,
    /// What happens to it, such as `started` or `release`.
    pub operation: String,
}

/// Act on what libvirt says of a guest.
pub fn hook(hook: &Hook, treatment: &Treatment) -> Result<(), Error> {
    match hook.operation.as_str() {
        "started" | "reconnect" | "attach" => {
            let path = Path::new(STATE).join(format!("{}.pid", hook.domain));
            guest_of(&path)?.map_or(Ok(()), |guest| treat(&guest, treatment))
        }
        "release" => {
            let mounts = system::read(Path::new("/proc/self/mountinfo"))?;
            let hierarchies = cgroups::hierarchies(&mounts, Path::new(CGROUPS));
            cgroups::remove(&hierarchies, &treatment.cgroup, &cgroups::leaf(&hook.domain));
            Ok(())
        }
        // prepare, start, stopped, migrate, restore: nothing to do.
        _ => Ok(()),
    }
}
