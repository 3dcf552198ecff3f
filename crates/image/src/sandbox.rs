//! Running a script inside a root: its own mounts, processes and host name, everything read-only but what it is to make.
//!
//! Built on `unshare` and `chroot`: nothing is left mounted when it ends or is killed, since the mounts live in a
//! namespace that dies with it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oaas_feedback::{Explain, Kind, Task};
use snafu::{ResultExt as _, Snafu};

use crate::process;

/// Run by `sh` in the new namespaces. Arguments: root, then per mount `ro|rw|root` outside inside, then `--` and the command.
const SETUP: &str = r#"
root=$1; shift
echo build > /proc/sys/kernel/hostname
furnish() {
    mount -t tmpfs -o mode=755 none "$1/dev"
    for node in null zero full random urandom; do : > "$1/dev/$node"; mount --bind "/dev/$node" "$1/dev/$node"; done
    ln -s /proc/self/fd "$1/dev/fd"; ln -s /proc/self/fd/0 "$1/dev/stdin"; ln -s /proc/self/fd/1 "$1/dev/stdout"; ln -s /proc/self/fd/2 "$1/dev/stderr"
    mkdir -m 1777 "$1/dev/shm"
    mount -t proc none "$1/proc"
    mount -t tmpfs -o mode=755 none "$1/run"
}
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
furnish "$root"
mount -t tmpfs -o mode=1777 none "$root/tmp"
mount -t tmpfs -o mode=1777 none "$root/var/tmp"
while [ "$1" != -- ]; do
    mount --bind "$2" "$root$3"
    case $1 in
        rw) ;;
        ro) mount -o remount,bind,ro "$root$3" ;;
        root) mount -o remount,bind,ro "$root$3"; furnish "$root$3"; mount --bind "$root/tmp" "$root$3/tmp" ;;
    esac
    shift 3
done
shift
cd /
exec chroot "$root" "$@"
"#;

/// A script that did not do its work.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// A mount point could not be made.
    #[snafu(display("failed to prepare {}", path.display()))]
    Prepare {
        /// The mount point.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The script failed.
    #[snafu(display("failed to run the script {script}"))]
    Script {
        /// Its name.
        script: String,
        /// What went wrong.
        source: process::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Script { source, .. } => source.kind(),
            Self::Prepare { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Script { source, .. } => source.hint(),
            Self::Prepare { .. } => None,
        }
    }
}

/// How a path of ours appears inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read.
    Read,
    /// To write.
    Write,
    /// As another root to `chroot` into, which shares `/tmp`.
    Root,
}

/// A root and what is mounted into it.
#[derive(Debug, Clone)]
pub struct Sandbox {
    root: PathBuf,
    mounts: Vec<(Access, PathBuf, String)>,
    environment: BTreeMap<String, String>,
    network: bool,
}

impl Sandbox {
    /// A sandbox in this root, without network.
    pub fn new(root: &Path) -> Self {
        Self { root: root.into(), mounts: Vec::new(), environment: BTreeMap::new(), network: false }
    }

    /// Let `outside` appear at `inside`.
    #[must_use]
    pub fn mount(mut self, access: Access, outside: &Path, inside: &str) -> Self {
        self.mounts.push((access, outside.into(), inside.into()));
        self
    }

    /// Set a variable.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Give it the machine's network.
    #[must_use]
    pub fn network(mut self) -> Self {
        self.network = true;
        self
    }

    /// Run a program of the root. `name` names it in messages.
    pub async fn run(&self, name: &str, command: &[String], task: &Task) -> Result<String, Error> {
        for (access, outside, inside) in &self.mounts {
            let path = self.root.join(inside.trim_start_matches('/'));
            let prepare = |path: &Path| -> io::Result<()> {
                if *access != Access::Root && outside.is_file() {
                    if let Some(up) = path.parent() {
                        fs::create_dir_all(up)?;
                    }
                    return fs::OpenOptions::new().create(true).append(true).open(path).map(drop);
                }
                fs::create_dir_all(path)
            };
            prepare(&path).context(error::PrepareSnafu { path })?;
        }
        let mut unshare = process::isolated(self.network);
        unshare.args(["sh", "-eu", "-c", SETUP, "sandbox"]).arg(&self.root);
        for (access, outside, inside) in &self.mounts {
            let word = match access {
                Access::Read => "ro",
                Access::Write => "rw",
                Access::Root => "root",
            };
            unshare.arg(word).arg(outside).arg(inside);
        }
        unshare.arg("--").args(command);
        process::clean_environment(&mut unshare, &self.environment);
        process::run(&format!("run {name}"), unshare, task).await.context(error::ScriptSnafu { script: name })
    }
}
