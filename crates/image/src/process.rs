//! Running other programs: what is missing names its Debian package, what fails shows its last words.

use std::ffi::OsStr;
use std::io;
use std::process::{ExitStatus, Stdio};

use oaas_feedback::{Explain, Kind, Task};
use snafu::{ResultExt as _, Snafu};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;

/// Programs we start and the Debian package of each.
const PACKAGES: [(&str, &str); 6] = [
    ("/usr/lib/apt/apt-helper", "apt"),
    ("apt-cache", "apt"),
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("mmdebstrap", "mmdebstrap"),
    ("unshare", "util-linux"),
];

/// How many of the last lines of a failed program are kept.
const LAST_LINES: usize = 25;

/// What apt, pip and uv say of a file that is not what was pinned.
const MISMATCHES: [&str; 3] = ["Hash Sum mismatch", "DO NOT MATCH THE HASHES", "Hash mismatch for"];

/// What they say of a server that cannot be reached.
const UNREACHABLE: [&str; 6] = [
    "Temporary failure resolving",
    "Could not connect",
    "Unable to connect",
    "dns error",
    "client error (Connect)",
    "Failed to establish a new connection",
];

fn says(last: &str, words: &[&str]) -> bool {
    words.iter().any(|word| last.contains(word))
}

/// A program that did not do its work.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// It is not installed.
    #[snafu(display("failed to find the program {program}"))]
    Missing {
        /// Its name.
        program: String,
    },
    /// It could not be started.
    #[snafu(display("failed to start {program}"))]
    Start {
        /// Its name.
        program: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// Its output could not be read.
    #[snafu(display("failed to read what {program} prints"))]
    Read {
        /// Its name.
        program: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// It ended with an error.
    #[snafu(display("failed to {what}: {program} ended with {status}:\n{last}"))]
    Ended {
        /// What it was to do, as an infinitive.
        what: String,
        /// Its name.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// Its last lines.
        last: String,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. } => Kind::Environment,
            Self::Ended { last, .. } if last.contains("No space left on device") => Kind::Environment,
            Self::Ended { last, .. } if says(last, &MISMATCHES) => Kind::Integrity,
            Self::Ended { last, .. } if says(last, &UNREACHABLE) => Kind::Environment,
            _ => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { program } => {
                let package =
                    PACKAGES.iter().find(|(name, _)| name == program).map_or(program.as_str(), |(_, p)| p);
                Some(format!("it is in the Debian package {package}: apt-get install {package}"))
            }
            Self::Ended { last, .. } if last.contains("No space left on device") => {
                Some("the disk is full: make room, or set OAAS_CACHE_DIR to a larger one".into())
            }
            Self::Ended { last, .. } if says(last, &MISMATCHES) => Some(
                "a registry hands out another file than was pinned: ask its owner, or use another one".into(),
            ),
            Self::Ended { last, .. } if says(last, &UNREACHABLE) => Some(
                "a package registry could not be reached: check the network and the machine's proxy settings"
                    .into(),
            ),
            _ => None,
        }
    }
}

/// A command in mount, process, host name and IPC namespaces of its own, and in a network of its own unless it is to
/// reach the machine's. Its mounts and processes die with it, also when we are killed. What follows are the program and its arguments.
pub fn isolated(network: bool) -> Command {
    let mut unshare = command("unshare");
    unshare.args([
        "--mount",
        "--propagation",
        "private",
        "--pid",
        "--fork",
        "--kill-child",
        "--uts",
        "--ipc",
    ]);
    if !network {
        unshare.arg("--net");
    }
    unshare
}

/// A command of ours: nothing on standard input, killed when we stop waiting for it.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Run it to its end and hand back its standard output. `what` says in messages what it was to do; what it says on
/// standard error becomes the task's status.
pub async fn run(what: &str, mut command: Command, task: &Task) -> Result<String, Error> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    tracing::debug!(?command, "start");
    let mut child = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            return error::MissingSnafu { program }.fail();
        }
        Err(source) => return Err(source).context(error::StartSnafu { program }),
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (output, errors, status) =
        tokio::join!(collect(stdout, None), collect(stderr, Some(task)), child.wait());
    let output = output.context(error::ReadSnafu { program: &program })?;
    let errors = errors.context(error::ReadSnafu { program: &program })?;
    let status = status.context(error::StartSnafu { program: &program })?;
    if status.success() {
        return Ok(output.join("\n"));
    }
    let said = if errors.is_empty() { output } else { errors };
    let last = said[said.len().saturating_sub(LAST_LINES)..].join("\n");
    error::EndedSnafu { what, program, status, last }.fail()
}

/// The lines of a stream; with a task, each is its status.
async fn collect(stream: Option<impl AsyncRead + Unpin>, task: Option<&Task>) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let Some(stream) = stream else { return Ok(lines) };
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).await? > 0 {
        let text =
            String::from_utf8_lossy(&line).trim_end().rsplit('\r').next().unwrap_or_default().to_owned();
        line.clear();
        if let Some(task) = task.filter(|_| !text.is_empty()) {
            task.status(text.chars().take(160).collect::<String>());
        }
        lines.push(text);
    }
    Ok(lines)
}

/// Add the environment that a predictable run has, and nothing of ours.
pub fn clean_environment(
    command: &mut Command,
    more: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
) {
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8");
    command.env("HOME", "/tmp").envs(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_program_names_its_package() {
        let error = run("x", command("/nonexistent/mmdebstrap"), &Task::silent()).await.unwrap_err();
        assert!(matches!(error, Error::Missing { .. }));
        let error = Error::Missing { program: "mmdebstrap".into() };
        assert_eq!(error.kind(), Kind::Environment);
        assert_eq!(
            error.hint().unwrap(),
            "it is in the Debian package mmdebstrap: apt-get install mmdebstrap"
        );
    }

    #[tokio::test]
    async fn the_last_words_are_kept() {
        let mut failing = command("sh");
        failing.args(["-c", "echo one; echo 'cp: No space left on device' >&2; exit 3"]);
        let error = run("copy a file", failing, &Task::silent()).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("failed to copy a file: sh ended with exit status: 3:\ncp: No space"),
            "{error}"
        );
        assert_eq!(error.kind(), Kind::Environment);
        assert!(error.hint().unwrap().contains("OAAS_CACHE_DIR"));
    }

    #[tokio::test]
    async fn a_hash_that_does_not_match_and_a_registry_that_is_away_are_told_apart() {
        let cases = [
            (
                "error: Failed to fetch\n  Caused by: Hash mismatch for `six==1.17.0`",
                Kind::Integrity,
                "pinned",
            ),
            (
                "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
                Kind::Integrity,
                "pinned",
            ),
            ("  Caused by: client error (Connect)", Kind::Environment, "could not be reached"),
        ];
        for (words, kind, hint) in cases {
            let mut failing = command("sh");
            failing.args(["-c", "echo \"$0\" >&2; exit 1", words]);
            let error = run("run venv.sh", failing, &Task::silent()).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{words}");
            assert!(error.hint().unwrap().contains(hint), "{words}");
        }
    }
}
