//! Why the programs of Kubernetes are not to be had.

use std::path::PathBuf;

use oaas_feedback::{Explain, Kind};
use snafu::Snafu;

use crate::command::CommandError;
use crate::files::FileError;
use crate::versions::{KUBERNETES, OLDEST_GO};

/// The programs could not be built or are not what they should be.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum ArtefactError {
    /// A file of the cache.
    #[snafu(display("failed to keep the programs of the embedded Kubernetes"))]
    Keep {
        /// Why.
        source: FileError,
    },
    /// The compiler is not there or cannot be asked.
    #[snafu(display("failed to ask the Go compiler for its version"))]
    Compiler {
        /// Why.
        source: CommandError,
    },
    /// The compiler is too old.
    #[snafu(display("Go {found} is too old for Kubernetes {KUBERNETES}"))]
    TooOld {
        /// Its version.
        found: String,
    },
    /// A program does not build.
    #[snafu(display("failed to build {program}: {said}"))]
    Build {
        /// Which.
        program: &'static str,
        /// The last lines that the compiler wrote.
        said: String,
    },
    /// What was just built does not match its own manifest.
    #[snafu(display("{} does not match its recorded hash right after it was built", path.display()))]
    Mismatch {
        /// The file.
        path: PathBuf,
    },
}

impl Explain for ArtefactError {
    fn kind(&self) -> Kind {
        match self {
            Self::Keep { source } => source.kind(),
            Self::Compiler { source } => source.kind(),
            Self::TooOld { .. } => Kind::Environment,
            Self::Build { said, .. }
                if said.contains("SECURITY ERROR") || said.contains("checksum mismatch") =>
            {
                Kind::Integrity
            }
            Self::Build { said, .. } if is_unreachable(said) => Kind::Environment,
            Self::Build { .. } => Kind::Failed,
            Self::Mismatch { .. } => Kind::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Keep { source } => source.hint(),
            Self::Compiler { .. } | Self::TooOld { .. } => {
                Some(format!("install Go {}.{} or newer and put `go` into PATH", OLDEST_GO.0, OLDEST_GO.1))
            }
            Self::Build { said, .. } if said.contains("checksum mismatch") => {
                Some("the module proxy serves other content than was pinned: ask its owner, or use another GOPROXY".into())
            }
            Self::Build { said, .. } if said.contains("libseccomp") => {
                Some("install it: apt-get install libseccomp-dev pkg-config gcc".into())
            }
            Self::Build { said, .. } if is_unreachable(said) => {
                Some("the Go module proxy (`go env GOPROXY`) cannot be reached from here".into())
            }
            Self::Build { .. } => None,
            Self::Mismatch { .. } => Some("the disk or memory of this machine may be faulty".into()),
        }
    }
}

/// Does what Go says mean that its module proxy does not answer?
fn is_unreachable(said: &str) -> bool {
    said.contains("dial tcp") || said.contains("no such host")
}
