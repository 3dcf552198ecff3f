//! The embedded Kubernetes of this machine, as the commands see it.

use std::path::PathBuf;

use oaas_feedback::{Explain, Kind};
use oaas_node::{FileError, Images, Layout, Options, OtherPrefix, Prefix};
use snafu::{ResultExt, Snafu};

use crate::directories;
use crate::global::Global;

/// Why the embedded cluster cannot be spoken of.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The program cannot be found again.
    #[snafu(display("failed to find the program that is running"))]
    Program {
        /// What the system said.
        source: std::io::Error,
    },
    /// What is known of the cluster cannot be read.
    #[snafu(transparent)]
    State {
        /// Why.
        source: FileError,
    },
    /// The cluster has other addresses.
    #[snafu(transparent)]
    Prefix {
        /// Which.
        source: OtherPrefix,
    },
    /// A cluster was named, but the command is about this machine.
    #[snafu(display(
        "`{command}` is about the embedded cluster of this machine, but another cluster was named"
    ))]
    Named {
        /// The command.
        command: &'static str,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Program { .. } => Kind::Environment,
            Self::State { source } => source.kind(),
            Self::Prefix { source } => source.kind(),
            Self::Named { .. } => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Program { .. } => None,
            Self::State { source } => source.hint(),
            Self::Prefix { source } => source.hint(),
            Self::Named { .. } => Some("leave out `--kubeconfig` and `--context`".to_owned()),
        }
    }
}

/// The embedded cluster that the global options mean, for commands that are about this machine.
pub fn options(global: &Global, command: &'static str) -> Result<Options, Error> {
    with_prefix(global, command, None)
}

/// The same, with addresses out of the prefix that was asked for, if it is not there yet.
pub fn with_prefix(global: &Global, command: &'static str, asked: Option<Prefix>) -> Result<Options, Error> {
    if global.names_a_cluster() {
        return NamedSnafu { command }.fail();
    }
    let stands = Layout::new(&directories::state(), &global.instance).standing_prefix()?;
    Ok(Options {
        instance: global.instance.clone(),
        prefix: oaas_node::chosen_prefix(&global.instance, stands, asked)?,
        nodes: 1,
        ports: Vec::new(),
        external: Vec::new(),
        state_dir: directories::state(),
        cache_dir: directories::cache(),
        images: Images { cache: image_cache(), pause: String::new() },
        program: std::env::current_exe().context(ProgramSnafu)?,
    })
}

/// Where images are kept.
pub fn image_cache() -> PathBuf {
    directories::cache().join("images")
}
