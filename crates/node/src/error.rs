//! What can go wrong while a cluster is brought up, down or asked.

use std::path::PathBuf;

use oaas_feedback::{Explain, Kind};
use snafu::Snafu;

use crate::artefacts::ArtefactError;
use crate::bootstrap::BootstrapError;
use crate::command::CommandError;
use crate::files::FileError;
use crate::finding::Finding;
use crate::host::HostError;
use crate::instance::{Instance, Node};
use crate::ledger::LedgerError;
use crate::pki::PkiError;

/// A failure of this crate.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum Error {
    /// Someone else is at it.
    #[snafu(display("instance {instance} is being brought up or down by process {pid}"))]
    Busy {
        /// The cluster.
        instance: Instance,
        /// Who.
        pid: String,
    },
    /// The machine is not fit, and how: the first reason; the report has all.
    #[snafu(transparent)]
    Unfit {
        /// The first reason.
        source: Finding,
    },
    /// A file of the instance.
    #[snafu(transparent)]
    File {
        /// Why.
        source: FileError,
    },
    /// A program of the machine.
    #[snafu(transparent)]
    Command {
        /// Why.
        source: CommandError,
    },
    /// The ledger of changes.
    #[snafu(transparent)]
    Ledger {
        /// Why.
        source: LedgerError,
    },
    /// The programs of Kubernetes.
    #[snafu(transparent)]
    Artefacts {
        /// Why.
        source: ArtefactError,
    },
    /// Keys and certificates.
    #[snafu(transparent)]
    Pki {
        /// Why.
        source: PkiError,
    },
    /// The host.
    #[snafu(transparent)]
    Host {
        /// Why.
        source: HostError,
    },
    /// Objects in the cluster.
    #[snafu(transparent)]
    Bootstrap {
        /// Why.
        source: BootstrapError,
    },
    /// The machine has no control groups.
    #[snafu(display("failed to find control groups in /sys/fs/cgroup"))]
    NoCgroups,
    /// A node's first process ended while it started.
    #[snafu(display("failed to start {node}: {said}"))]
    Start {
        /// The node.
        node: Node,
        /// The last line of its log.
        said: String,
        /// Its log.
        log: PathBuf,
    },
    /// The cluster is not up.
    #[snafu(display("instance {instance} is not running"))]
    NotRunning {
        /// The cluster.
        instance: Instance,
    },
    /// Something did not become ready in time.
    #[snafu(display("{what} did not become ready within {seconds} s: {why}"))]
    NotReady {
        /// What was waited for.
        what: String,
        /// How long, in seconds.
        seconds: u64,
        /// What is known of the cause.
        why: String,
        /// Where to read more.
        logs: PathBuf,
    },
    /// A client of the API server cannot be made.
    #[snafu(display("failed to make a client of the API server"))]
    Client {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Busy { .. } => Kind::Busy,
            Self::Unfit { source } => source.kind(),
            Self::File { source } => source.kind(),
            Self::Command { source } => source.kind(),
            Self::Ledger { source } => source.kind(),
            Self::Artefacts { source } => source.kind(),
            Self::Pki { source } => source.kind(),
            Self::Host { source } => source.kind(),
            Self::Bootstrap { source } => source.kind(),
            Self::NoCgroups | Self::NotRunning { .. } => Kind::Environment,
            Self::Start { .. } | Self::Client { .. } => Kind::Failed,
            Self::NotReady { .. } => Kind::NotReady,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Busy { pid, .. } => {
                Some(format!("wait for it, or end it: kill {pid}; whatever it did can be done again"))
            }
            Self::Unfit { source } => source.hint(),
            Self::File { source } => source.hint(),
            Self::Command { source } => source.hint(),
            Self::Ledger { source } => source.hint(),
            Self::Artefacts { source } => source.hint(),
            Self::Pki { source } => source.hint(),
            Self::Host { source } => source.hint(),
            Self::Bootstrap { source } => source.hint(),
            Self::NoCgroups => Some("mount them: mount -t cgroup2 cgroup2 /sys/fs/cgroup".into()),
            Self::Start { log, .. } => Some(format!("see {}", log.display())),
            Self::NotRunning { .. } => Some("bring it up: `oaas up`".into()),
            Self::NotReady { logs, .. } => Some(format!("see {}; then try again", logs.display())),
            Self::Client { .. } => None,
        }
    }
}
