//! A process, and what prepares it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::check::Check;
use crate::program::{Program, Stop};

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

/// Programs in Python that import much of the same: one process imports it, and forks them. The end of one is the end of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// Done in order before the programs start, at each start; every step can be repeated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre: Vec<Prepare>,
    /// Modules that the programs share; one that starts threads when it is imported is an error.
    pub imports: Vec<String>,
    /// Scripts and their arguments, as [`Program::command`]. The first one's exit code is the agent's.
    pub programs: Vec<Vec<String>>,
    /// Whether they have more programs forked while they run (`oaas agent fork`), as for the helpers of oslo.privsep.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub helpers: bool,
    /// How they are stopped.
    #[serde(default)]
    pub stop: Stop,
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
