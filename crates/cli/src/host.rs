//! The embedded Kubernetes of this machine, as the commands see it.

use std::path::PathBuf;

use oaas_feedback::{Explain, Kind};
use oaas_node::{Images, Options};
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
            Self::Named { .. } => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Program { .. } => None,
            Self::Named { .. } => Some("leave out `--kubeconfig` and `--context`".to_owned()),
        }
    }
}

/// The embedded cluster that the global options mean, for commands that are about this machine.
pub fn options(global: &Global, command: &'static str) -> Result<Options, Error> {
    if global.names_a_cluster() {
        return NamedSnafu { command }.fail();
    }
    Ok(Options {
        instance: global.instance.clone(),
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
