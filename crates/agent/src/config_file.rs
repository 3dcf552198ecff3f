//! The agent's configuration file, `agent.json`.

use std::path::{Path, PathBuf};

use oaas_agent_config::AgentConfig;
use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt as _, Snafu};

/// Why the file is of no use.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The file cannot be read.
    #[snafu(display("failed to read the agent's configuration {}", path.display()))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what the agent knows.
    #[snafu(display("failed to understand the agent's configuration {}", path.display()))]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why and where.
        source: serde_json::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Read { .. } => "name the file that is mounted from the component's Secret",
            Self::Parse { .. } => {
                "the agent in the image may be older or newer than the operator that wrote the file"
            }
        };
        Some(hint.to_owned())
    }
}

/// Read `agent.json`.
pub(crate) fn read(path: &Path) -> Result<AgentConfig, Error> {
    let text = std::fs::read_to_string(path).context(ReadSnafu { path })?;
    serde_json::from_str(&text).context(ParseSnafu { path })
}
