//! The first process of a node.
//!
//! # Flow
//! `up` starts `node-init launch SPEC`, which leaves the caller's session, joins the node's cgroups and its network
//! namespace, makes the other namespaces, and starts `node-init run SPEC` as the first process of the new PID
//! namespace; then it ends. The first process makes the node's mounts, and from then on only starts the supervisor
//! again when that ends, and reaps what is re-parented to it.
//!
//! # Guarantees
//! When the first process ends, however it ends, the kernel ends every process of the node.
//! The supervisor can end, and be replaced by a newer one, without any process of the node noticing.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, sethostname, setsid};
use serde::{Deserialize, Serialize};
use snafu::{OptionExt, ResultExt, Snafu};

use crate::backoff::Backoff;
use crate::cgroup::{self, Hierarchies};
use crate::files::{self, Access, FileError, FileSnafu};
use crate::instance::Node;
use crate::mounts::{self, Mount, MountError};
use crate::options::inside;
use crate::process::Process;

/// How many files a node's processes may have open, where the machine allows it.
const OPEN_FILES: u64 = 1 << 20;

/// A node could not be started.
#[derive(Debug, Snafu)]
enum InitError {
    #[snafu(display("usage: node-init launch|run SPEC"))]
    Usage,
    #[snafu(display("failed to read how the node is made"))]
    Read { source: FileError },
    #[snafu(display("failed to understand how the node is made ({})", path.display()))]
    Understand { path: PathBuf, source: serde_json::Error },
    #[snafu(display("failed to {what}"))]
    Kernel { what: &'static str, source: Errno },
    #[snafu(display("failed to hand down the controllers of the node's cgroup"))]
    Cgroup { source: FileError },
    #[snafu(display("failed to make the node's mounts"))]
    Mounts { source: MountError },
    #[snafu(display("failed to start {}", program.display()))]
    Start { program: PathBuf, source: std::io::Error },
    #[snafu(display("failed to find this process in /proc"))]
    Lost,
}

/// How a node's first process is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    /// The node; also its host name.
    pub node: Node,
    /// The file of its network namespace.
    pub network_namespace: PathBuf,
    /// Directories of its cgroup, one in each hierarchy.
    pub cgroups: Vec<PathBuf>,
    /// The machine's hierarchies.
    pub hierarchies: Hierarchies,
    /// Its view of the files.
    pub mounts: Vec<Mount>,
    /// Where to write which process is the first one.
    pub process: PathBuf,
}

/// Run as (a step towards) the first process of a node. `arguments` are those after `node-init`.
///
/// To be called before anything else in a program: nothing may have started a thread.
pub fn main(arguments: &[String]) -> ExitCode {
    let result = match arguments {
        [word, spec] if word == "launch" => launch(Path::new(spec)),
        [word, spec] if word == "run" => run(Path::new(spec)),
        _ => UsageSnafu.fail(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&crate::chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// The output of a first process is its log.
#[allow(clippy::print_stderr, reason = "its error output is the log of the node")]
fn say(text: &str) {
    eprintln!("{} {text}", jiff::Timestamp::now());
}

fn read(path: &Path) -> Result<Spec, InitError> {
    serde_json::from_str(&files::read(path).context(ReadSnafu)?).context(UnderstandSnafu { path })
}

fn launch(path: &Path) -> Result<(), InitError> {
    let spec = read(path)?;
    let kernel = |what| KernelSnafu { what };
    // Fails only where we lead a session already, which is what we want.
    let _ = setsid();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context(kernel("ask for the limit of open files"))?;
    let limit = most.max(OPEN_FILES);
    if setrlimit(Resource::RLIMIT_NOFILE, limit, limit).is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, most, most).context(kernel("raise the limit of open files"))?;
    }
    for directory in &spec.cgroups {
        let file = directory.join("cgroup.procs");
        fs::write(&file, "0").context(FileSnafu { verb: "join", path: file }).context(CgroupSnafu)?;
    }
    let namespace = File::open(&spec.network_namespace)
        .context(FileSnafu { verb: "open", path: &spec.network_namespace })
        .context(ReadSnafu)?;
    setns(&namespace, CloneFlags::CLONE_NEWNET).context(kernel("enter the node's network namespace"))?;
    unshare(
        CloneFlags::CLONE_NEWCGROUP
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWUTS,
    )
    .context(kernel("make the node's namespaces"))?;
    // The first child after this is the first process of the new PID namespace.
    let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    Command::new(&program)
        .args(["node-init", "run"])
        .arg(path)
        .stdin(Stdio::null())
        .spawn()
        .context(StartSnafu { program })?;
    Ok(())
}

fn run(path: &Path) -> Result<(), InitError> {
    let spec = read(path)?;
    let kernel = |what| KernelSnafu { what };
    // Told to others first, and by the host's /proc, which is still mounted: whatever fails from here on, they know
    // which process to look at.
    let own = Process::own().context(LostSnafu)?;
    let text = serde_json::to_string(&own).context(UnderstandSnafu { path })?;
    files::write(&spec.process, text.as_bytes(), Access::Public).context(ReadSnafu)?;
    sethostname(spec.node.to_string()).context(kernel("set the node's host name"))?;
    mounts::apply(&spec.mounts).context(MountsSnafu)?;
    if let Hierarchies::V2 { .. } = spec.hierarchies {
        hand_down().context(CgroupSnafu)?;
    }
    // The node forwards for its pods. Its own network namespace: nothing of the machine changes.
    for setting in ["net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding"] {
        let file = Path::new("/proc/sys").join(setting);
        fs::write(&file, "1").context(FileSnafu { verb: "set", path: file }).context(ReadSnafu)?;
    }
    for directory in [inside::LOGS, "/var/lib", "/var/tmp", "/var/cache", "/var/spool", "/run/containerd"] {
        files::make_directory(Path::new(directory), Access::Public).context(ReadSnafu)?;
    }
    if !Path::new("/var/run").exists() {
        std::os::unix::fs::symlink("/run", "/var/run")
            .context(FileSnafu { verb: "link", path: "/var/run" })
            .context(ReadSnafu)?;
    }
    serve().context(kernel("wait for signals"))
}

/// On version 2: move to a leaf, then hand the controllers down to the leaf's siblings.
fn hand_down() -> Result<(), FileError> {
    let root = Path::new(cgroup::MOUNT_POINT);
    let leaf = root.join(cgroup::LEAF);
    files::make_directory(&leaf, Access::Public)?;
    let write = |path: PathBuf, text: &str| fs::write(&path, text).context(FileSnafu { verb: "write", path });
    write(leaf.join("cgroup.procs"), "0")?;
    let available = files::read(&root.join("cgroup.controllers"))?;
    write(root.join("cgroup.subtree_control"), &cgroup::hand_down(&available))
}

/// What the first process is told.
fn signals() -> SigSet {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT] {
        signals.add(signal);
    }
    signals
}

/// Keep a supervisor running and reap, until told to end.
///
/// SIGHUP replaces the supervisor by the newest program. SIGTERM ends the node: the supervisor ends its services
/// first.
fn serve() -> Result<(), Errno> {
    signals().thread_block()?;
    let mut backoff = Backoff::default();
    loop {
        let started = Instant::now();
        let mut supervisor = match start_supervisor() {
            Ok(child) => child,
            Err(error) => {
                say(&crate::chain(&error));
                std::thread::sleep(backoff.ended_after(started.elapsed()));
                continue;
            }
        };
        let end = watch(&mut supervisor)?;
        match end {
            End::Stop => return Ok(()),
            End::Replace => say("the supervisor is replaced"),
            End::Died(how) => {
                let wait = backoff.ended_after(started.elapsed());
                say(&format!("the supervisor ended ({how}); starts it again in {} ms", wait.as_millis()));
                std::thread::sleep(wait);
            }
        }
    }
}

fn start_supervisor() -> Result<Child, InitError> {
    let program = Path::new(inside::PROGRAMS).join("current");
    let log = Path::new(inside::LOGS).join("supervisor.log");
    let open = || OpenOptions::new().create(true).append(true).open(&log);
    let (out, error) = (open(), open());
    let (Ok(out), Ok(error)) = (out, error) else {
        return Err(InitError::Start { program, source: std::io::Error::other("its log cannot be opened") });
    };
    Command::new(&program)
        .arg("node-supervise")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(error)
        // A group of its own, so that a signal for it is not one for its services.
        .process_group(0)
        .spawn()
        .context(StartSnafu { program })
}

enum End {
    Stop,
    Replace,
    Died(String),
}

fn watch(supervisor: &mut Child) -> Result<End, Errno> {
    let pid = Pid::from_raw(i32::try_from(supervisor.id()).unwrap_or(i32::MAX));
    let mut replace = false;
    loop {
        // Reap first: a child may have ended before its signal could be waited for.
        if let Some(how) = reap(pid) {
            return Ok(if replace { End::Replace } else { End::Died(how) });
        }
        match signals().wait()? {
            Signal::SIGHUP => {
                replace = true;
                let _ = nix::sys::signal::kill(pid, Signal::SIGHUP);
            }
            Signal::SIGTERM | Signal::SIGINT => {
                say("told to end");
                let _ = nix::sys::signal::kill(pid, Signal::SIGTERM);
                let until = Instant::now() + Duration::from_secs(20);
                while reap(pid).is_none() && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(20));
                }
                return Ok(End::Stop);
            }
            _ => {}
        }
    }
}

/// Reap all that ended; says how the supervisor did, if it was among them.
fn reap(supervisor: Pid) -> Option<String> {
    let mut ended = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return ended,
            Ok(status) if status.pid() == Some(supervisor) => {
                ended = Some(match status {
                    WaitStatus::Exited(_, code) => format!("exit code {code}"),
                    WaitStatus::Signaled(_, signal, _) => format!("{signal}"),
                    other => format!("{other:?}"),
                });
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                say(&format!("cannot wait for processes: {error}"));
                return ended;
            }
        }
    }
}
