//! A node's control groups, on both versions of them.
//!
//! A node joins a cgroup of its own and makes that the root of a cgroup namespace, so that what runs in it (the
//! kubelet, runc, libvirt) sees a machine's whole tree and can leave nothing behind outside it.
//!
//! On version 1 a cgroup of the same name stands in every hierarchy. On version 2 there is one tree; a cgroup that
//! has both processes and controlled children is refused by the kernel, so a node's own processes move to a leaf
//! (`init`) before its controllers are handed down (Linux, Documentation/admin-guide/cgroup-v2.rst, "No Internal
//! Process Constraint").

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where the hierarchies are mounted on the host and in a node.
pub const MOUNT_POINT: &str = "/sys/fs/cgroup";
/// The leaf that a node's own processes live in on version 2.
pub const LEAF: &str = "init";
/// The controllers of version 2 that Kubernetes uses.
pub const CONTROLLERS: [&str; 6] = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"];

/// The hierarchies of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "version")]
pub enum Hierarchies {
    /// Version 1: several trees.
    V1 {
        /// Each of them.
        trees: Vec<Tree>,
    },
    /// Version 2: one tree.
    V2 {
        /// Where it is mounted on the host.
        mount: PathBuf,
    },
}

/// One tree of version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Where it is mounted on the host.
    pub mount: PathBuf,
    /// The option that mounts it: controllers, or `none,name=systemd`.
    pub option: String,
}

impl Hierarchies {
    /// Read them from the text of `/proc/self/mountinfo`. Nothing, if no cgroups are mounted.
    ///
    /// A machine that has version 1 trees and a bare version 2 tree beside them ("hybrid") counts as version 1:
    /// its controllers are there.
    pub fn from_mountinfo(mountinfo: &str) -> Option<Self> {
        let mut trees = Vec::new();
        let mut unified = None;
        for line in mountinfo.lines() {
            // ID PARENT DEV ROOT MOUNT OPTIONS [FIELDS…] - TYPE SOURCE SUPER-OPTIONS
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let left: Vec<&str> = left.split(' ').collect();
            let right: Vec<&str> = right.split(' ').collect();
            let (Some(&root), Some(&mount)) = (left.get(3), left.get(4)) else { continue };
            let (Some(&kind), Some(&options)) = (right.first(), right.get(2)) else { continue };
            if root != "/" || !Path::new(mount).starts_with(MOUNT_POINT) {
                continue;
            }
            match kind {
                "cgroup2" => unified = Some(PathBuf::from(mount)),
                "cgroup" => {
                    let option = mount_option(options);
                    if !trees.iter().any(|tree: &Tree| tree.option == option) {
                        trees.push(Tree { mount: mount.into(), option });
                    }
                }
                _ => {}
            }
        }
        if trees.is_empty() { unified.map(|mount| Self::V2 { mount }) } else { Some(Self::V1 { trees }) }
    }

    /// The directories of a node's cgroup on the host.
    pub fn directories(&self, cgroup: &str) -> Vec<PathBuf> {
        match self {
            Self::V1 { trees } => trees.iter().map(|tree| tree.mount.join(cgroup)).collect(),
            Self::V2 { mount } => vec![mount.join(cgroup)],
        }
    }

    /// The file of a cgroup that says how much of busy processors it gets, and what a node's says: eight times as much as each
    /// session or service of the host. By the kernel's default a node with all its pods has as much as a single shell, and who
    /// compiles something starves a cloud.
    pub fn weight(&self) -> (&'static str, &'static str) {
        match self {
            Self::V1 { .. } => ("cpu.shares", "8192"),
            Self::V2 { .. } => ("cpu.weight", "800"),
        }
    }

    /// 1 or 2.
    pub fn version(&self) -> u8 {
        match self {
            Self::V1 { .. } => 1,
            Self::V2 { .. } => 2,
        }
    }
}

/// What of a version 1 tree's options says which tree it is.
fn mount_option(options: &str) -> String {
    let own: Vec<&str> = options
        .split(',')
        .filter(|option| {
            !matches!(*option, "rw" | "ro" | "xattr" | "clone_children" | "noprefix")
                && !option.starts_with("release_agent")
        })
        .collect();
    let own = own.join(",");
    if own.starts_with("name=") { format!("none,{own}") } else { own }
}

/// The controllers to hand down, of those that are there: the text for `cgroup.subtree_control`.
pub fn hand_down(available: &str) -> String {
    let available: Vec<&str> = available.split_whitespace().collect();
    let wanted = CONTROLLERS.iter().filter(|controller| available.contains(controller));
    wanted.map(|controller| format!("+{controller}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
23 1 253:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:5 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
99 31 0:29 / /mnt/elsewhere rw - cgroup cgroup rw,cpu,cpuacct
";

    #[test]
    fn version_1_is_several_trees() {
        let Some(Hierarchies::V1 { trees }) = Hierarchies::from_mountinfo(V1) else {
            panic!("not version 1")
        };
        let options: Vec<&str> = trees.iter().map(|tree| tree.option.as_str()).collect();
        assert_eq!(options, ["cpu,cpuacct", "memory", "none,name=systemd"]);
        let all = Hierarchies::V1 { trees };
        assert_eq!(all.directories("oaas-x-node1")[0], Path::new("/sys/fs/cgroup/cpu,cpuacct/oaas-x-node1"));
        assert_eq!(all.version(), 1);
    }

    #[test]
    fn version_2_is_one_tree() {
        let text = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = Hierarchies::from_mountinfo(text).unwrap();
        assert_eq!(found, Hierarchies::V2 { mount: MOUNT_POINT.into() });
        assert_eq!(found.directories("n"), [Path::new("/sys/fs/cgroup/n")]);
    }

    #[test]
    fn a_machine_without_cgroups() {
        assert_eq!(Hierarchies::from_mountinfo("23 1 253:0 / / rw - ext4 /dev/vda rw\n"), None);
    }

    #[test]
    fn only_controllers_that_are_there_are_handed_down() {
        assert_eq!(hand_down("cpuset cpu io memory pids rdma misc\n"), "+cpuset +cpu +io +memory +pids");
        assert_eq!(hand_down(""), "");
    }
}
