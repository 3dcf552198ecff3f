//! Starting processes: dumb I/O under [`crate::context::Context`].

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Gid, Group, Pid, Uid, User};
use oaas_feedback::{Explain, Kind};
use snafu::{OptionExt as _, ResultExt as _, Snafu, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use oaas_agent_config::Program;

/// What can go wrong with a program.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum Error {
    /// There is no command.
    #[snafu(display("failed to start {name}: its command is empty"))]
    Empty {
        /// The program's name within the role.
        name: String,
    },
    /// The system refused.
    #[snafu(display("failed to start {name} ({program})"))]
    Spawn {
        /// The program's name within the role.
        name: String,
        /// The file.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// No such user or group.
    #[snafu(display("failed to find the user or group {owner}"))]
    UnknownOwner {
        /// As configured.
        owner: String,
    },
    /// It failed.
    #[snafu(display("failed to run {name}: {how}{output}"))]
    Unsuccessful {
        /// The program's name within the role.
        name: String,
        /// Exit code or signal in words.
        how: String,
        /// The last lines it wrote, or nothing.
        output: String,
    },
    /// It took too long and was killed.
    #[snafu(display("failed to run {name}: it did not end within {} s", limit.as_secs_f32()))]
    TooSlow {
        /// The program's name within the role.
        name: String,
        /// How long it had.
        limit: Duration,
    },
    /// Its pipes broke.
    #[snafu(display("failed to talk to {name}"))]
    Pipe {
        /// The program's name within the role.
        name: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Empty { .. } => Kind::Input,
            Self::Spawn { .. } | Self::UnknownOwner { .. } => Kind::Environment,
            Self::Unsuccessful { .. } | Self::Pipe { .. } => Kind::Failed,
            Self::TooSlow { .. } => Kind::NotReady,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Spawn { source, program, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some(format!("check that the image holds {program}, and its working directory"))
            }
            Self::UnknownOwner { .. } => {
                Some("name a user that is in the image's /etc/passwd, or a number".to_owned())
            }
            _ => None,
        }
    }
}

/// A started program has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its name within the role.
    pub name: String,
    /// Its process id.
    pub pid: i32,
    /// How; an error when its status could not be had.
    pub status: std::io::Result<ExitStatus>,
}

impl Ended {
    /// The exit code that the agent hands on: the program's, 128 + n for signal n.
    pub fn exit_code(&self) -> u8 {
        self.status.as_ref().map_or(1, |status| exit_code(*status))
    }
}

/// A program's exit code as shells have it: its own, or 128 + n for signal n.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    u8::try_from(code).unwrap_or(1)
}

/// How a program ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it exited with code {code}"),
        (None, Some(signal)) => {
            let name =
                Signal::try_from(signal).map_or_else(|_| signal.to_string(), |signal| signal.to_string());
            format!("it was ended by {name}")
        }
        (None, None) => "it ended in an unknown way".to_owned(),
    }
}

/// What a helper did.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Its standard output if it exited 0, else an error with its last lines.
    pub fn success(self, name: &str) -> Result<String, Error> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let lines: Vec<&str> = said.trim().lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join("; ");
        let output = if last.is_empty() { String::new() } else { format!(": {last}") };
        UnsuccessfulSnafu { name, how: describe(self.status), output }.fail()
    }
}

/// Processes that this agent started itself and waits for; everything else that dies under it as PID 1 is an orphan.
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn own() -> MutexGuard<'static, BTreeSet<i32>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the agent started this process itself and waits for it.
pub(crate) fn is_own(pid: i32) -> bool {
    own().contains(&pid)
}

/// A child that is registered as the agent's own for as long as it is waited for.
pub(crate) struct OwnChild {
    child: Child,
    pid: i32,
}

impl OwnChild {
    fn new(child: Child) -> Self {
        // A child that was not yet waited for has an id, and ids fit: pid_t is i32.
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(-1);
        own().insert(pid);
        Self { child, pid }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    pub(crate) async fn wait(mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }
}

impl Drop for OwnChild {
    fn drop(&mut self) {
        own().remove(&self.pid);
    }
}

/// Start a program in its own process group, with the agent's standard output and error.
pub(crate) fn spawn(name: &str, program: &Program) -> Result<OwnChild, Error> {
    let mut command = command(name, program)?;
    command.stdin(Stdio::null());
    let child = command.spawn().context(SpawnSnafu { name, program: &program.command[0] })?;
    Ok(OwnChild::new(child))
}

/// Run a program to its end with captured output, feeding `input`; its process group is killed after `limit`, or when
/// the future is dropped.
pub async fn finish(
    name: &str,
    program: &Program,
    input: Option<Vec<u8>>,
    limit: Duration,
) -> Result<Finished, Error> {
    let mut command = command(name, program)?;
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().context(SpawnSnafu { name, program: &program.command[0] })?;
    let mut own = OwnChild::new(child);
    let group = KillGroup(own.pid);
    let (stdin, stdout, stderr) = (own.child.stdin.take(), own.child.stdout.take(), own.child.stderr.take());
    let talk = async {
        let write = async {
            if let (Some(mut pipe), Some(bytes)) = (stdin, input) {
                // A program that does not read all of its input says so by its exit code.
                let _ = pipe.write_all(&bytes).await;
            }
            Ok(())
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let read_out = async {
            if let Some(mut pipe) = stdout {
                pipe.read_to_end(&mut out).await?;
            }
            Ok(())
        };
        let read_err = async {
            if let Some(mut pipe) = stderr {
                pipe.read_to_end(&mut err).await?;
            }
            Ok::<(), std::io::Error>(())
        };
        tokio::try_join!(write, read_out, read_err)?;
        let status = own.child.wait().await?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok::<Finished, std::io::Error>(Finished { status, stdout: text(out), stderr: text(err) })
    };
    let result = timeout(limit, talk).await;
    match result {
        Ok(finished) => {
            // It has been waited for: its number may belong to someone else from now on.
            std::mem::forget(group);
            finished.context(PipeSnafu { name })
        }
        Err(_) => TooSlowSnafu { name, limit }.fail(),
    }
}

/// Kills a process group when dropped.
struct KillGroup(i32);

impl Drop for KillGroup {
    fn drop(&mut self) {
        if self.0 > 1 {
            // It may have ended by itself.
            let _ = killpg(Pid::from_raw(self.0), Signal::SIGKILL);
        }
    }
}

/// Send a signal to a process; says whether it was there to take it.
pub fn signal(pid: i32, signal: Signal) -> bool {
    // 0, 1 and negative numbers would mean groups or init.
    pid > 1 && kill(Pid::from_raw(pid), signal).is_ok()
}

/// Send a signal to a process group; says whether anyone was there to take it.
pub fn signal_group(group: i32, signal: Signal) -> bool {
    group > 1 && killpg(Pid::from_raw(group), signal).is_ok()
}

fn command(name: &str, program: &Program) -> Result<Command, Error> {
    ensure!(!program.command.is_empty(), EmptySnafu { name });
    let mut command = Command::new(&program.command[0]);
    command.args(&program.command[1..]).envs(&program.env).process_group(0).kill_on_drop(true);
    if let Some(directory) = &program.directory {
        command.current_dir(directory);
    }
    // Only root may change user; for anyone else the pod's own user is the right one already.
    if let Some(user) = program.user.as_ref().filter(|_| Uid::effective().is_root()) {
        let (uid, gid) = owner(user)?;
        command.uid(uid.as_raw());
        command.gid(gid.unwrap_or(Gid::from_raw(uid.as_raw())).as_raw());
    }
    Ok(command)
}

/// The ids of `user` or `user:group`, names or numbers; without a group that user's own one, if known.
pub fn owner(text: &str) -> Result<(Uid, Option<Gid>), Error> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let unknown = || UnknownOwnerSnafu { owner: text };
    let found = match user.parse::<u32>() {
        Ok(number) => User::from_uid(Uid::from_raw(number)).ok().flatten(),
        Err(_) => User::from_name(user).ok().flatten(),
    };
    let uid = match (&found, user.parse::<u32>()) {
        (Some(user), _) => user.uid,
        (None, Ok(number)) => Uid::from_raw(number),
        (None, Err(_)) => return unknown().fail(),
    };
    let gid = match group {
        None => found.map(|user| user.gid),
        Some(group) => Some(match group.parse::<u32>() {
            Ok(number) => Gid::from_raw(number),
            Err(_) => Group::from_name(group).ok().flatten().with_context(unknown)?.gid,
        }),
    };
    Ok((uid, gid))
}
