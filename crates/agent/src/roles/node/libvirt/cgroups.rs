//! Guests' processes outside the pod's cgroups: what ends with the pod is what is in its cgroups.
//!
//! libvirt itself places a guest in those hierarchies that it uses; in the others (and in all of them where it manages
//! none) the process stays in the cgroup of libvirt's own container.

use std::path::{Path, PathBuf};

use snafu::ResultExt as _;
use tracing::warn;

use super::super::error::{Error, WriteSnafu};
use super::super::system;

/// One hierarchy as `/proc/<pid>/mountinfo` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Its controllers, such as `memory` or `name=systemd`; none for version 2.
    pub controllers: Vec<String>,
}

/// A process's place in one hierarchy, as a line of `/proc/<pid>/cgroup` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place<'a> {
    controllers: Vec<&'a str>,
    path: &'a str,
}

/// The cgroup hierarchies that are mounted below `root`, each once.
pub fn hierarchies(mountinfo: &str, root: &Path) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let Some(point) = left.split(' ').nth(4).map(PathBuf::from) else { continue };
        let mut right = right.split(' ');
        let (kind, options) = (right.next().unwrap_or_default(), right.nth(1).unwrap_or_default());
        let controllers: Vec<String> = match kind {
            "cgroup2" => Vec::new(),
            "cgroup" => options.split(',').filter(|word| is_controller(word)).map(str::to_owned).collect(),
            _ => continue,
        };
        let known = found.iter().any(|other| other.controllers == controllers);
        if point.starts_with(root) && !known {
            found.push(Hierarchy { point, controllers });
        }
    }
    found
}

fn is_controller(option: &str) -> bool {
    !matches!(option, "rw" | "ro" | "xattr" | "none" | "noprefix" | "clone_children" | "cpuset_v2_mode")
        && !option.starts_with("release_agent")
}

fn places(cgroup: &str) -> Vec<Place<'_>> {
    let line = |line| {
        let mut parts = str::splitn(line, 3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        Some(Place { controllers: controllers.split(',').filter(|name| !name.is_empty()).collect(), path })
    };
    cgroup.lines().filter_map(line).collect()
}

/// Whether the container has a cgroup namespace of its own: then the node's cgroups are out of its reach.
pub fn is_confined(first_process: &str) -> bool {
    places(first_process).iter().any(|place| place.path.starts_with("/.."))
}

/// The hierarchies in which a guest is still in the container's cgroup (or below it).
///
/// `own` and `guest` are the content of `/proc/<pid>/cgroup` of a process of the container and of the guest's.
pub fn caught<'a>(hierarchies: &'a [Hierarchy], own: &str, guest: &str) -> Vec<&'a Hierarchy> {
    let (own, guest) = (places(own), places(guest));
    let find = |all: &[Place], hierarchy: &Hierarchy| -> Option<String> {
        all.iter().find(|place| place.controllers == hierarchy.controllers).map(|place| place.path.to_owned())
    };
    let is_caught = |hierarchy: &&Hierarchy| match (find(&own, hierarchy), find(&guest, hierarchy)) {
        // At the root there is no container.
        (Some(own), Some(guest)) if own != "/" => {
            guest.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        _ => false,
    };
    hierarchies.iter().filter(is_caught).collect()
}

/// Names a guest's cgroup: what libvirt calls the guest, without what a path cannot hold.
pub fn leaf(domain: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    format!("oaas-{}", domain.chars().map(safe).collect::<String>())
}

/// Move a process, all of its threads with it, to `parent/leaf` of a hierarchy.
pub fn move_to(hierarchy: &Hierarchy, parent: &str, leaf: &str, pid: i32) -> Result<(), Error> {
    let mut directory = hierarchy.point.clone();
    for part in [parent, leaf] {
        let above = directory.clone();
        directory.push(part);
        system::make_directory(&directory)?;
        if hierarchy.controllers.iter().any(|name| name == "cpuset") {
            // A new one has no processors and no memory, and takes no process before it has.
            inherit(&above, &directory, "cpuset.cpus")?;
            inherit(&above, &directory, "cpuset.mems")?;
        }
    }
    let path = directory.join("cgroup.procs");
    std::fs::write(&path, pid.to_string()).context(WriteSnafu { path })
}

fn inherit(above: &Path, directory: &Path, file: &str) -> Result<(), Error> {
    let path = directory.join(file);
    if system::read(&path)?.trim().is_empty() {
        let value = system::read(&above.join(file))?;
        std::fs::write(&path, value.trim()).context(WriteSnafu { path })?;
    }
    Ok(())
}

/// Remove a guest's cgroups; those that never were are no failure.
pub fn remove(hierarchies: &[Hierarchy], parent: &str, leaf: &str) {
    for hierarchy in hierarchies {
        let path = hierarchy.point.join(parent).join(leaf);
        match std::fs::remove_dir(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                warn!(target: "oaas_agent", "failed to remove the cgroup {}: {error}", path.display());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "24 1 0:20 / /proc rw - proc proc rw\n\
        30 1 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        31 30 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:1 - cgroup cgroup rw,cpu\n\
        32 30 0:27 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices\n\
        33 30 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
        34 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
        35 1 0:27 / /mnt/devices rw,relatime - cgroup cgroup rw,devices\n";

    fn names<'a>(all: impl IntoIterator<Item = &'a Hierarchy>) -> Vec<String> {
        all.into_iter().map(|one| one.controllers.join(",")).collect()
    }

    #[test]
    fn finds_the_hierarchies() {
        let found = hierarchies(MOUNTS, Path::new("/sys/fs/cgroup"));
        assert_eq!(names(&found), ["cpu", "devices", "name=systemd", ""]);
        assert_eq!(found[3].point, Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn finds_where_a_guest_would_die_with_the_pod() {
        let all = hierarchies(MOUNTS, Path::new("/sys/fs/cgroup"));
        let own =
            "4:cpu:/kubepods/pod1/c1\n5:devices:/kubepods/pod1/c1\n9:name=systemd:/kubepods/pod1/c1\n0::/\n";
        let guest = "4:cpu:/machine/qemu-1-x/emulator\n5:devices:/kubepods/pod1/c1\n9:name=systemd:/kubepods/pod1/c12\n0::/\n";
        assert_eq!(names(caught(&all, own, guest)), ["devices"]);
        assert!(caught(&all, own, "5:devices:/machine/oaas-x\n").is_empty());
    }

    #[test]
    fn version_2_is_one_hierarchy() {
        let all = hierarchies(
            "30 1 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
            Path::new("/sys/fs/cgroup"),
        );
        assert_eq!(caught(&all, "0::/kubepods.slice/a.scope\n", "0::/kubepods.slice/a.scope\n").len(), 1);
        assert!(caught(&all, "0::/kubepods.slice/a.scope\n", "0::/machine/oaas-x\n").is_empty());
        assert!(caught(&all, "0::/\n", "0::/\n").is_empty(), "at the root there is no pod to die with");
    }

    #[test]
    fn sees_a_namespace_that_hides_the_nodes_cgroups() {
        assert!(is_confined("0::/../../init.scope\n"));
        assert!(!is_confined("4:cpu:/\n0::/init.scope\n"));
    }

    #[test]
    fn names_are_safe_in_paths() {
        assert_eq!(leaf("instance-00000001"), "oaas-instance-00000001");
        assert_eq!(leaf("../x y"), "oaas-.._x_y");
    }
}
