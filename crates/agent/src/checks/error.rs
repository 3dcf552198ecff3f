//! Why a check's answer is not good.

use oaas_feedback::{Explain, Kind};
use snafu::Snafu;

use crate::{mysql, program, tls};

/// Why a check fails.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub))]
pub enum Error {
    /// No connection, or no TLS.
    #[snafu(transparent)]
    Connect {
        /// Why.
        source: tls::Error,
    },
    /// The connection broke.
    #[snafu(display("failed to talk to {target}"))]
    Talk {
        /// Whom it asked.
        target: String,
        /// Why.
        source: std::io::Error,
    },
    /// No HTTP answer.
    #[snafu(display("failed to get {url}"))]
    Http {
        /// The URL.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// No answer of a database.
    #[snafu(transparent)]
    Mysql {
        /// Why.
        source: mysql::Error,
    },
    /// A program failed.
    #[snafu(transparent)]
    Program {
        /// Why.
        source: program::Error,
    },
    /// `/proc` cannot be read.
    #[snafu(display("failed to look at process {pid}"))]
    Proc {
        /// Process id.
        pid: i32,
        /// Why.
        source: std::io::Error,
    },
    /// There was an answer, and it is not the one wanted.
    #[snafu(display("{what}"))]
    Unwell {
        /// The answer in words.
        what: String,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::NotReady
    }
}
