//! The embedded Kubernetes: upstream Kubernetes on one Linux machine, in one or several nodes.
//!
//! A node is a set of namespaces (network, mount, PID, UTS, IPC, cgroup) whose first process, a tiny init, keeps a
//! supervisor running, which keeps containerd, the kubelet and the rest running; the first node runs the control
//! plane as well.
//!
//! # Flow
//! [`preflight()`] looks at the machine, [`up()`] builds the programs, makes keys, configuration, links and nodes, and
//! waits until they are Ready; [`publish_ports`] leads ports of the host into the cluster; [`down()`] undoes all of it.
//!
//! # Guarantees
//! - What is changed on the host is written down before ([`host_changes`]) and undone by [`down()`].
//! - Every name on the host derives from the [`Instance`]: several clusters stand side by side.
//! - No process of a node belongs to the caller's session; all of them end with the node's first process.
//! - `up` may be killed at any point and run again.
//!
//! # Assumptions
//! Root on Linux with overlayfs, nftables and control groups of either version; Go and a C compiler for the first
//! build.
//!
//! # Caveats
//! A program that uses this crate must hand its arguments over before it does anything else: `node-init …` to
//! [`init::main`] and `node-supervise …` to [`supervise::main`].

mod artefacts;
mod backoff;
mod bootstrap;
mod cgroup;
mod command;
mod config;
mod down;
mod error;
mod files;
mod finding;
mod host;
mod images;
pub mod init;
mod instance;
mod ledger;
mod lock;
mod logs;
mod machine;
mod mounts;
mod network;
mod observe;
mod options;
mod outside;
mod packages;
mod pki;
pub mod preflight;
mod probe;
mod process;
mod runtime;
mod services;
mod status;
mod subnets;
pub mod supervise;
mod sysctl;
mod up;
mod versions;

pub use artefacts::{ArtefactError, Artefacts, ensure as build_programs};
pub use bootstrap::BootstrapError;
pub use command::CommandError;
pub use config::{REGISTRY, memory_for_pods};
pub use down::{Files, down};
pub use error::Error;
pub use files::FileError;
pub use host::HostError;
pub use instance::{Instance, NameError, Network, Node};
pub use ledger::{Change, LedgerError, host_changes};
pub use options::{ExternalNetwork, Images, Layout, NodeLayout, Options, PortMap, inside};
pub use outside::{publish_ports, route_external};
pub use pki::PkiError;
pub use preflight::{Finding, Report, preflight};
pub use process::Process;
pub use runtime::{enter, prefetch, program as kube_program};
pub use services::{Probe, Service};
pub use status::{NodeStatus, Status, status};
pub use subnets::{OtherPrefix, Prefix, PrefixError, Subnets, chosen as chosen_prefix};
pub use supervise::{Record, State};
pub use up::{Cluster, client, up};
pub use versions::KUBERNETES;

/// The message of an error with those of its sources.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Choose the one implementation of cryptography that this crate uses for TLS, unless the program chose before.
pub(crate) fn install_crypto() {
    // Fails only where a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
