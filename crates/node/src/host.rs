//! Changes to the host and their undoing: the only place of this crate that does either.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;
use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt, Snafu};

use crate::cgroup::{Hierarchies, hand_down};
use crate::command::{self, CommandError};
use crate::files::{self, Access, FileError, FileSnafu};
use crate::ledger::{Change, Ledger, LedgerError};
use crate::network::{Standing, Step};
use crate::process::Process;
use crate::sysctl::{Machine, SETTINGS};

/// Where `ip netns` keeps network namespaces by name.
const NAMED_NAMESPACES: &str = "/run/netns";
/// How long processes may take to end when told to, and when killed.
const END: Duration = Duration::from_secs(25);
const DEATH: Duration = Duration::from_secs(15);

/// The host could not be changed, or not changed back.
#[derive(Debug, Snafu)]
pub enum HostError {
    /// The ledger.
    #[snafu(display("failed to write down a change of the host"))]
    Record {
        /// Why.
        source: LedgerError,
    },
    /// A command of the network.
    #[snafu(display("failed to set up the host's network"))]
    Network {
        /// Why.
        source: CommandError,
    },
    /// A file of the kernel.
    #[snafu(display("failed to change the host"))]
    HostFile {
        /// Why.
        source: FileError,
    },
    /// Processes that do not end.
    #[snafu(display("the processes of a node do not end (first one: {pid})"))]
    Undying {
        /// Its id.
        pid: i32,
    },
    /// A mount that does not go.
    #[snafu(display("failed to unmount {}", path.display()))]
    Unmount {
        /// Where.
        path: PathBuf,
        /// Why.
        source: nix::Error,
    },
}

impl Explain for HostError {
    fn kind(&self) -> Kind {
        match self {
            Self::Record { source } => source.kind(),
            Self::Network { source } => source.kind(),
            Self::HostFile { source } => source.kind(),
            Self::Undying { .. } | Self::Unmount { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Record { source } => source.hint(),
            Self::Network { source } => source.hint(),
            Self::HostFile { source } => source.hint(),
            Self::Undying { pid } => {
                Some(format!("see what it waits for: cat /proc/{pid}/stack; then try again"))
            }
            Self::Unmount { path, .. } => {
                Some(format!("see who uses it: fuser -vm {}; then try again", path.display()))
            }
        }
    }
}

/// What of the network stands.
pub(crate) fn standing() -> Standing {
    let names = |path: &str| -> BTreeSet<String> {
        fs::read_dir(path)
            .map(|entries| {
                entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
            })
            .unwrap_or_default()
    };
    Standing { links: names("/sys/class/net"), namespaces: names(NAMED_NAMESPACES) }
}

/// Do steps, each written down before.
pub(crate) async fn take(steps: Vec<Step>, ledger: &mut Ledger) -> Result<(), HostError> {
    if steps.iter().any(|step| matches!(step.change, Some(Change::NetworkNamespace { .. })))
        && !is_mount_point(Path::new(NAMED_NAMESPACES))
    {
        // `ip netns add` makes its directory a mount point the first time.
        ledger.record([Change::Mount { path: NAMED_NAMESPACES.into() }]).context(RecordSnafu)?;
    }
    ledger.record(steps.iter().filter_map(|step| step.change.clone())).context(RecordSnafu)?;
    for step in steps {
        if let Some((program, arguments)) = step.command.split_first() {
            let done = command::run(program, arguments).await;
            match (&done, arguments) {
                // A link of a namespace that was just deleted may go by itself at this moment.
                (Err(_), [link, delete, name]) if link == "link" && delete == "delete" && !is_link(name) => {}
                _ => {
                    done.context(NetworkSnafu)?;
                }
            }
        }
    }
    Ok(())
}

fn is_link(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// Replace the instance's table of packet rules.
pub(crate) async fn set_table(name: &str, rules: &str, ledger: &mut Ledger) -> Result<(), HostError> {
    ledger.record([Change::Table { name: name.to_owned() }]).context(RecordSnafu)?;
    command::run_with_input("nft", &["-f", "-"], rules).await.context(NetworkSnafu)?;
    Ok(())
}

/// Make the kernel's settings what nodes need.
pub(crate) fn set_settings(machine: &Machine, claimant: &str, ledger: &mut Ledger) -> Result<(), HostError> {
    for setting in &SETTINGS {
        let current = machine.get(setting.key).context(HostFileSnafu)?;
        let was = machine.original(setting.key).context(HostFileSnafu)?;
        // Claimed by another instance: it must stay as it is when that one goes.
        let wanted = setting.wanted(&current).or_else(|| (was != current).then(|| current.clone()));
        if let Some(is) = wanted {
            ledger
                .record([Change::Sysctl { key: setting.key.into(), was, is: is.clone() }])
                .context(RecordSnafu)?;
            machine.claim(setting.key, claimant, &is).context(HostFileSnafu)?;
        }
    }
    Ok(())
}

/// Kernel features that nodes use where a kernel keeps them in modules. The last two serve virtual networks and
/// storage; nodes work without.
const MODULES: [&str; 6] = ["overlay", "br_netfilter", "nf_conntrack", "nft_masq", "openvswitch", "geneve"];

/// Load the modules that are missing. A kernel without modules has what it has.
pub(crate) async fn load_modules(ledger: &mut Ledger) -> Result<(), HostError> {
    let Ok(loaded) = fs::read_to_string("/proc/modules") else { return Ok(()) };
    let known = |name: &str| {
        loaded.lines().any(|line| line.split(' ').next() == Some(name))
            || Path::new("/sys/module").join(name).exists()
    };
    for name in MODULES.into_iter().filter(|name| !known(name)) {
        if command::run("modprobe", &["--dry-run", "--quiet", name]).await.is_ok() {
            ledger.record([Change::Module { name: name.into() }]).context(RecordSnafu)?;
            // What needs a module that does not load says so better than a message here would.
            let _ = command::run("modprobe", &["--quiet", name]).await;
        }
    }
    Ok(())
}

/// Make a node's cgroups anew.
pub(crate) fn make_cgroups(
    hierarchies: &Hierarchies,
    name: &str,
    ledger: &mut Ledger,
) -> Result<Vec<PathBuf>, HostError> {
    let directories = hierarchies.directories(name);
    ledger
        .record(directories.iter().map(|path| Change::Cgroup { path: path.clone() }))
        .context(RecordSnafu)?;
    for directory in &directories {
        remove_cgroup(directory).context(HostFileSnafu)?;
    }
    if let Hierarchies::V2 { mount } = hierarchies {
        let available = files::read(&mount.join("cgroup.controllers")).context(HostFileSnafu)?;
        let path = mount.join("cgroup.subtree_control");
        fs::write(&path, hand_down(&available))
            .context(FileSnafu { verb: "write", path })
            .context(HostFileSnafu)?;
    }
    let (weight, value) = hierarchies.weight();
    for directory in &directories {
        fs::create_dir(directory)
            .context(FileSnafu { verb: "make cgroup", path: directory })
            .context(HostFileSnafu)?;
        let path = directory.join(weight);
        if path.exists() {
            fs::write(&path, value).context(FileSnafu { verb: "write", path }).context(HostFileSnafu)?;
        }
        // A new cgroup of version 1's cpuset tree has no processors and no memory: nothing can run in it.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let (path, above) = (directory.join(file), directory.parent().unwrap_or(directory).join(file));
            if matches!(hierarchies, Hierarchies::V1 { .. }) && path.exists() {
                let value = files::read(&above).context(HostFileSnafu)?;
                fs::write(&path, value.trim())
                    .context(FileSnafu { verb: "write", path })
                    .context(HostFileSnafu)?;
            }
        }
    }
    Ok(directories)
}

/// Undo one change; says whether there was anything to undo.
pub(crate) async fn undo(change: &Change, machine: &Machine, claimant: &str) -> Result<bool, HostError> {
    match change {
        Change::Processes { file, .. } => end_processes(file).await,
        Change::Table { name } => {
            // "delete" alone fails where there is none.
            let there = command::run("nft", &["list", "table", "ip", name]).await.is_ok();
            if there {
                command::run("nft", &["delete", "table", "ip", name]).await.context(NetworkSnafu)?;
            }
            Ok(there)
        }
        Change::NetworkNamespace { name } => {
            let there = Path::new(NAMED_NAMESPACES).join(name).exists();
            if there {
                command::run("ip", &["netns", "delete", name]).await.context(NetworkSnafu)?;
            }
            Ok(there)
        }
        Change::Mount { path } => unmount(path),
        Change::Link { name } => {
            // The other end's namespace may be taking it away at this moment.
            let there = is_link(name);
            if there
                && let Err(error) = command::run("ip", &["link", "delete", name]).await
                && is_link(name)
            {
                return Err(error).context(NetworkSnafu);
            }
            Ok(there)
        }
        Change::Cgroup { path } => remove_cgroup(path).context(HostFileSnafu),
        Change::Sysctl { key, was, .. } => machine.release(key, claimant, was).context(HostFileSnafu),
        Change::Module { name } => Ok(command::run("modprobe", &["-r", name]).await.is_ok()),
        Change::Directory { path } => files::remove(path).context(HostFileSnafu),
    }
}

/// The first process of a node, if it lives.
pub(crate) fn first_process(file: &Path) -> Option<Process> {
    let text = files::read_if_there(file).ok()??;
    serde_json::from_str::<Process>(&text).ok().filter(|process| process.is_alive())
}

/// End a node: ask its first process, then kill it, and wait until all below it is gone.
async fn end_processes(file: &Path) -> Result<bool, HostError> {
    let Some(first) = first_process(file) else {
        files::remove(file).context(HostFileSnafu)?;
        return Ok(false);
    };
    first.signal(Signal::SIGTERM);
    if !gone(first, END).await {
        first.signal(Signal::SIGKILL);
        if !gone(first, DEATH).await {
            return UndyingSnafu { pid: first.pid }.fail();
        }
    }
    files::remove(file).context(HostFileSnafu)?;
    Ok(true)
}

/// Wait for a process to end. The first process of a PID namespace ends after all others in it.
async fn gone(process: Process, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    while process.is_alive() {
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

fn is_mount_point(path: &Path) -> bool {
    files::read(Path::new("/proc/self/mountinfo"))
        .is_ok_and(|text| text.lines().any(|line| line.split(' ').nth(4) == path.to_str()))
}

/// Unmount a directory that we made a mount point, unless others have put something there.
fn unmount(path: &Path) -> Result<bool, HostError> {
    let empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if !is_mount_point(path) || !empty {
        return Ok(false);
    }
    umount2(path, MntFlags::MNT_DETACH).context(UnmountSnafu { path })?;
    // On a tmpfs, and made again by the next user.
    let _ = fs::remove_dir(path);
    Ok(true)
}

/// Remove a cgroup and all below it, the deepest first. Processes that just ended may hold one for a moment.
fn remove_cgroup(path: &Path) -> Result<bool, FileError> {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        match remove_cgroup_once(path) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) if Instant::now() >= until => {
                return Err(error).context(FileSnafu { verb: "remove cgroup", path });
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn remove_cgroup_once(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup_once(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

/// Make the directory of an instance, written down in the ledger inside it.
pub(crate) fn make_root(root: &Path, ledger: &mut Ledger) -> Result<(), HostError> {
    files::make_directory(root, Access::Secret).context(HostFileSnafu)?;
    ledger.record([Change::Directory { path: root.to_owned() }]).context(RecordSnafu)
}
