//! Why a reconciliation did not come to its end.

use oaas_feedback::{Explain, Kind};
use snafu::Snafu;

use crate::apply::WriteError;
use crate::ledger::LedgerError;

/// A reconciliation did not come to its end; it is tried again.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum ReconcileError {
    /// Something could not be written.
    #[snafu(display("failed to reconcile cloud {cloud}"))]
    Write {
        /// The cloud.
        cloud: String,
        /// Why.
        #[snafu(source(from(WriteError, Box::new)))]
        source: Box<WriteError>,
    },
    /// The ledger could not be written.
    #[snafu(display("failed to reconcile cloud {cloud}"))]
    Ledger {
        /// The cloud.
        cloud: String,
        /// Why.
        source: LedgerError,
    },
    /// Some objects could not be applied.
    #[snafu(display("failed to apply {count} objects of cloud {cloud}, first: {first}"))]
    Objects {
        /// The cloud.
        cloud: String,
        /// How many.
        count: usize,
        /// The first one in full.
        first: String,
    },
}

impl Explain for ReconcileError {
    fn kind(&self) -> Kind {
        match self {
            Self::Write { source, .. } => source.kind(),
            Self::Ledger { source, .. } => source.kind(),
            Self::Objects { .. } => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Write { source, .. } => source.hint(),
            Self::Ledger { source, .. } => source.hint(),
            Self::Objects { .. } => None,
        }
    }
}
