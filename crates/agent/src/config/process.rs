//! A process, what prepares it, and how it is stopped.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Check;

/// Any process that needs no more than preparation, signals and probes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Done in order before the program starts, at each start; every step can be repeated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre: Vec<Prepare>,
    /// What runs.
    pub program: Program,
}

/// A program and how it is run. Its standard output and error are the container's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Program and arguments; no shell, no secrets. The program is looked up in `PATH`.
    pub command: Vec<String>,
    /// Added to the agent's own environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Working directory; the agent's when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// User (name or number) to run as, with that user's group; the agent's when not set. Needs an agent run by root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How it is stopped.
    #[serde(default)]
    pub stop: Stop,
}

impl Program {
    /// A program run as the agent's own user and stopped in the default way.
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            directory: None,
            user: None,
            stop: Stop::default(),
        }
    }
}

/// How a program is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// The signal that asks it to end.
    #[serde(default)]
    pub signal: StopSignal,
    /// Seconds until it is killed. Keep it below the pod's `terminationGracePeriodSeconds`.
    #[serde(default = "default_grace_seconds")]
    pub grace_seconds: u64,
    /// Seconds to wait, not ready but serving, between being asked to end and asking the program to: time for
    /// Services to forget the pod.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub drain_seconds: u64,
    /// Whether the whole process group is asked to end, not only the program itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub group: bool,
}

const fn default_grace_seconds() -> u64 {
    25
}

// serde hands a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            signal: StopSignal::default(),
            grace_seconds: default_grace_seconds(),
            drain_seconds: 0,
            group: false,
        }
    }
}

/// A signal that asks a program to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StopSignal {
    /// SIGTERM.
    #[default]
    Term,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Hup,
}

/// One step that prepares a start; each can be repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Prepare {
    /// A directory exists with this mode and owner; its parents are made too.
    MakeDir {
        /// Absolute path.
        path: PathBuf,
        /// Octal permissions, such as `0750`; left alone when not set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<String>,
        /// `user` or `user:group`, names or numbers; left alone when not set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
    },
    /// A tree of files is copied; files that exist are overwritten, others kept. Links are followed (a mounted Secret is
    /// links), dot-dot names of the mount are skipped.
    CopyTree {
        /// A file or a directory.
        from: PathBuf,
        /// Where it goes.
        to: PathBuf,
        /// Octal permissions of the files, such as `0600`; those of the source when not set. Directories get the same
        /// plus search permission where there is read permission.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<String>,
        /// `user` or `user:group`, names or numbers; left alone when not set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
    },
    /// Wait until a check succeeds; `/status` says what is waited for and why it fails.
    WaitFor {
        /// The check, asked again and again.
        check: Check,
        /// What people read, such as `database nova`.
        why: String,
    },
    /// Run a program to its end; it must exit 0.
    Run {
        /// The program.
        program: Program,
        /// What people read, such as `collects static files`.
        why: String,
    },
}
