//! What a node sees of the machine's files: first as a plan, then done.
//!
//! A node's root is the host's, but `/var` is a directory of its own on disk, `/run`, `/tmp` and `/dev/shm` are its
//! own in memory, `/proc`, `/sys` and the cgroups are its namespaces', and the three files that name machines are
//! its own.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use oaas_feedback::{Explain, Kind};
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu};

use crate::cgroup::{Hierarchies, MOUNT_POINT};
use crate::files::{self, Access, FileError};
use crate::options::inside;

/// A node's view of the files could not be made.
#[derive(Debug, Snafu)]
pub enum MountError {
    /// One mount failed.
    #[snafu(display("failed to mount {what} on {}", target.display()))]
    Mount {
        /// What was to be mounted.
        what: String,
        /// Where.
        target: PathBuf,
        /// Why.
        source: nix::Error,
    },
    /// What is to be seen elsewhere cannot be opened.
    #[snafu(display("failed to open {}", path.display()))]
    Open {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A mount point or file could not be made.
    #[snafu(display("failed to prepare a mount point"))]
    Prepare {
        /// Why.
        source: FileError,
    },
}

impl Explain for MountError {
    fn kind(&self) -> Kind {
        match self {
            Self::Mount { .. } | Self::Open { .. } => Kind::Environment,
            Self::Prepare { source } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Prepare { source } => source.hint(),
            Self::Mount { .. } | Self::Open { .. } => None,
        }
    }
}

/// One thing to do, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "do")]
pub enum Mount {
    /// Show a directory or file in another place as well. Sources are those of the host, whatever was mounted over
    /// them meanwhile.
    Show {
        /// The host's path.
        from: PathBuf,
        /// The node's path.
        to: PathBuf,
        /// May the node not write there?
        read_only: bool,
    },
    /// Mount a file system of the kernel.
    Fresh {
        /// Its type.
        kind: String,
        /// Where.
        to: PathBuf,
        /// Its options.
        options: String,
        /// Without device files, set-user-id programs and programs at all?
        inert: bool,
    },
    /// Make a directory.
    Directory {
        /// Where.
        path: PathBuf,
    },
    /// Let a file that exists appear with another text.
    Text {
        /// Which file.
        path: PathBuf,
        /// The text.
        text: String,
    },
}

/// The files of one node that take part in its mounts, on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// Becomes `/var`.
    pub var: PathBuf,
    /// Becomes [`inside::CONFIG`].
    pub config: PathBuf,
    /// Becomes [`inside::PROGRAMS`].
    pub programs: PathBuf,
    /// Becomes [`inside::KUBERNETES`].
    pub kubernetes: PathBuf,
    /// Becomes [`inside::IMAGES`].
    pub images: PathBuf,
}

/// The kernel settings that a kubelet sets on start for the whole machine, with the values it wants. A node shows
/// them to it as set, because a panic of the kernel is the business of the machine's owner, not of a node on it.
const KUBELET_TUNABLES: [(&str, &str); 6] = [
    ("kernel/keys/root_maxbytes", "25000000"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
];

/// The mounts of a node.
pub fn plan(sources: &Sources, hierarchies: &Hierarchies) -> Vec<Mount> {
    let fresh = |kind: &str, to: &str, options: &str, inert: bool| Mount::Fresh {
        kind: kind.into(),
        to: to.into(),
        options: options.into(),
        inert,
    };
    let show = |from: &Path, to: &str, read_only| Mount::Show { from: from.into(), to: to.into(), read_only };
    let directory = |path: &str| Mount::Directory { path: path.into() };

    let mut plan = vec![
        fresh("tmpfs", "/run", "mode=755", false),
        directory("/run/lock"),
        directory("/run/netns"),
        show(&sources.config, inside::CONFIG, true),
        show(&sources.programs, inside::PROGRAMS, true),
        show(&sources.kubernetes, inside::KUBERNETES, true),
        show(&sources.images, inside::IMAGES, true),
        show(&sources.var, "/var", false),
        fresh("tmpfs", "/tmp", "mode=1777", false),
        fresh("tmpfs", "/dev/shm", "mode=1777", false),
        fresh("proc", "/proc", "", true),
        // Links under /sys/class/net are those of the network namespace that mounts it.
        fresh("sysfs", "/sys", "", true),
    ];
    match hierarchies {
        Hierarchies::V1 { trees } => {
            plan.push(fresh("tmpfs", MOUNT_POINT, "mode=755", false));
            for tree in trees {
                let name = tree.mount.file_name().unwrap_or_default();
                plan.push(Mount::Fresh {
                    kind: "cgroup".into(),
                    to: Path::new(MOUNT_POINT).join(name),
                    options: tree.option.clone(),
                    inert: true,
                });
            }
        }
        Hierarchies::V2 { .. } => plan.push(fresh("cgroup2", MOUNT_POINT, "", true)),
    }
    for name in ["hosts", "hostname", "resolv.conf"] {
        let from = sources.config.join(name);
        plan.push(Mount::Show { from, to: Path::new("/etc").join(name), read_only: true });
    }
    for (setting, text) in KUBELET_TUNABLES {
        plan.push(Mount::Text { path: Path::new("/proc/sys").join(setting), text: format!("{text}\n") });
    }
    plan
}

/// Do the plan. Must run in a mount namespace of its own.
pub fn apply(plan: &[Mount]) -> Result<(), MountError> {
    let no = None::<&str>;
    // What is mounted here must not reach the host.
    mount(no, "/", no, MsFlags::MS_REC | MsFlags::MS_PRIVATE, no)
        .context(MountSnafu { what: "a private root", target: "/" })?;

    // Open every source first: later mounts hide some of them.
    let mut opened = Vec::new();
    for source in plan.iter().filter_map(|mount| match mount {
        Mount::Show { from, .. } => Some(from),
        _ => None,
    }) {
        opened.push((source, File::open(source).context(OpenSnafu { path: source })?));
    }
    // The host's /proc, by which opened sources are named, is covered on the way.
    let handles = File::open("/proc/self/fd").context(OpenSnafu { path: "/proc/self/fd" })?;
    nix::unistd::fchdir(&handles).context(MountSnafu { what: "the handles", target: "/proc/self/fd" })?;
    for one in plan {
        apply_one(one, &opened)?;
    }
    nix::unistd::chdir("/").context(MountSnafu { what: "the root", target: "/" })?;

    // Pods that ask for it (libvirt, the OVN agent) share their mounts with the node.
    mount(no, "/", no, MsFlags::MS_REC | MsFlags::MS_SHARED, no)
        .context(MountSnafu { what: "a shared root", target: "/" })
}

fn apply_one(one: &Mount, opened: &[(&PathBuf, File)]) -> Result<(), MountError> {
    let no = None::<&str>;
    match one {
        Mount::Directory { path } => {
            files::make_directory(path, Access::Public).context(PrepareSnafu)?;
        }
        Mount::Fresh { kind, to, options, inert } => {
            // The directories for cgroups are in a file system made for them just before.
            if !to.exists() {
                files::make_directory(to, Access::Public).context(PrepareSnafu)?;
            }
            let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            flags.set(MsFlags::MS_NOEXEC, *inert);
            // Test machines and containers run programs from /run and /tmp, device files nobody needs there.
            mount(Some(kind.as_str()), to, Some(kind.as_str()), flags, Some(options.as_str()))
                .context(MountSnafu { what: kind, target: to })?;
        }
        Mount::Show { from, to, read_only } => {
            let Some((_, file)) = opened.iter().find(|(source, _)| *source == from) else {
                unreachable!("every source of the plan was opened")
            };
            let Some(to) = mount_point(to, from.is_dir())? else { return Ok(()) };
            let what = from.display().to_string();
            // Relative to the handles' directory: see apply().
            let handle = PathBuf::from(file.as_raw_fd().to_string());
            mount(Some(&handle), &to, no, MsFlags::MS_BIND | MsFlags::MS_REC, no)
                .context(MountSnafu { what: &what, target: &to })?;
            if *read_only {
                mount(no, &to, no, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, no)
                    .context(MountSnafu { what: &what, target: &to })?;
            }
        }
        Mount::Text { path, text } => {
            // A kernel without the setting needs no other text for it.
            if path.exists() {
                let from = Path::new("/run/oaas/texts")
                    .join(path.to_string_lossy().trim_matches('/').replace('/', "."));
                files::write(&from, text.as_bytes(), Access::Public).context(PrepareSnafu)?;
                mount(Some(&from), path, no, MsFlags::MS_BIND, no)
                    .context(MountSnafu { what: "a text", target: path })?;
            }
        }
    }
    Ok(())
}

/// Where to mount so that `to` shows it; nothing if the host has no such file and needs none.
///
/// `/etc/resolv.conf` may be a link into `/run`, which is the node's own by now and empty.
fn mount_point(to: &Path, directory: bool) -> Result<Option<PathBuf>, MountError> {
    let mut place = to.to_owned();
    for _ in 0..8 {
        let Ok(link) = fs::read_link(&place) else { break };
        place = place.parent().unwrap_or(Path::new("/")).join(link);
    }
    let owned = ["/run", "/var", "/tmp"].iter().any(|own| place.starts_with(own));
    if place.exists() {
        return Ok(Some(place));
    }
    if directory {
        files::make_directory(&place, Access::Public).context(PrepareSnafu)?;
    } else if owned {
        files::write(&place, b"", Access::Public).context(PrepareSnafu)?;
    } else {
        return Ok(None);
    }
    Ok(Some(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Tree;

    fn sources() -> Sources {
        Sources {
            var: "/s/nodes/node1/var".into(),
            config: "/s/nodes/node1/config".into(),
            programs: "/s/programs".into(),
            kubernetes: "/s/kubernetes".into(),
            images: "/c/images".into(),
        }
    }

    #[test]
    fn a_node_on_version_1() {
        let trees = vec![
            Tree { mount: "/sys/fs/cgroup/memory".into(), option: "memory".into() },
            Tree { mount: "/sys/fs/cgroup/systemd".into(), option: "none,name=systemd".into() },
        ];
        insta::assert_json_snapshot!(plan(&sources(), &Hierarchies::V1 { trees }));
    }

    #[test]
    fn version_2_differs_in_the_cgroup_mounts_only() {
        let one = plan(&sources(), &Hierarchies::V1 { trees: Vec::new() });
        let two = plan(&sources(), &Hierarchies::V2 { mount: MOUNT_POINT.into() });
        let only = |a: &[Mount], b: &[Mount]| -> Vec<String> {
            a.iter().filter(|m| !b.contains(m)).map(|m| serde_json::to_string(m).unwrap()).collect()
        };
        assert_eq!(
            only(&two, &one),
            [r#"{"do":"fresh","kind":"cgroup2","to":"/sys/fs/cgroup","options":"","inert":true}"#]
        );
        assert_eq!(only(&one, &two).len(), 1, "the tmpfs that version 1's trees hang in");
    }

    #[test]
    fn a_link_into_run_is_followed_and_made() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("resolv.conf");
        let target = directory.path().join("stub/resolv.conf");
        std::os::unix::fs::symlink("stub/resolv.conf", &link).unwrap();
        // The temporary directory is below /tmp, one of the node's own places.
        if target.starts_with("/tmp") {
            assert_eq!(mount_point(&link, false).unwrap().unwrap(), target);
            assert!(target.exists());
        }
        assert_eq!(mount_point(Path::new("/etc/oaas-no-such-file"), false).unwrap(), None);
    }
}
