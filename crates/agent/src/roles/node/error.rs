//! What can go wrong on a node.

use std::path::PathBuf;

use oaas_feedback::{Explain, Kind};
use snafu::Snafu;

use crate::program;

/// What can go wrong in the roles that work on a node.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum Error {
    /// A file cannot be read.
    #[snafu(display("failed to read {}", path.display()))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file or directory cannot be written.
    #[snafu(display("failed to write {}", path.display()))]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[snafu(display("failed to understand {what}"))]
    Parse {
        /// The file, or the program whose output it is.
        what: String,
        /// Why and where.
        source: serde_json::Error,
    },
    /// A program said something else than expected.
    #[snafu(display("failed to understand what {what} says: {said}"))]
    Answer {
        /// The program.
        what: String,
        /// Its answer, shortened.
        said: String,
    },
    /// A program failed.
    #[snafu(transparent)]
    Program {
        /// Why.
        source: program::Error,
    },
    /// A socket does not answer.
    #[snafu(display("failed to ask {}", socket.display()))]
    Ask {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A socket answers with an error.
    #[snafu(display("failed to have {} answer {method}: {said}", socket.display()))]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// What it was asked.
        method: String,
        /// What it said.
        said: String,
    },
    /// An environment variable is missing.
    #[snafu(display("failed to find {name} in the environment"))]
    Environment {
        /// Its name.
        name: &'static str,
    },
    /// The configuration cannot be followed on this node.
    #[snafu(display("{what}"))]
    Unfit {
        /// What is wrong and where.
        what: String,
        /// What to do.
        hint: String,
    },
    /// Going on could lose data.
    #[snafu(display("{what}"))]
    Unsafe {
        /// What is wrong and where.
        what: String,
        /// What to do.
        hint: String,
    },
    /// Something did not happen in time.
    #[snafu(display("failed to see {what} within {seconds} s"))]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } | Self::Write { .. } | Self::Environment { .. } | Self::Unfit { .. } => {
                Kind::Environment
            }
            Self::Parse { .. } => Kind::Input,
            Self::Answer { .. } | Self::Ask { .. } | Self::Refused { .. } => Kind::Failed,
            Self::Program { source } => source.kind(),
            Self::Unsafe { .. } => Kind::Integrity,
            Self::Late { .. } => Kind::NotReady,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Environment { name } => {
                Some(format!("the pod's template must set {name} from the downward API"))
            }
            Self::Unfit { hint, .. } | Self::Unsafe { hint, .. } => Some(hint.clone()),
            Self::Program { source } => source.hint(),
            _ => None,
        }
    }
}
