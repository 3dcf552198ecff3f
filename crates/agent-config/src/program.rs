//! A program, how it is run, and how it is stopped.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
