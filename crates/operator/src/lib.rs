//! The operator: observes clusters and makes each cloud what its resource says.
//!
//! # Flow
//! watch → observe → decide → apply → act → report, once per cloud and event, see [`controller`]. What is decided and
//! reported is a [`brain`]'s business; everything here is the I/O around it.
//!
//! # Guarantees
//! One operator writes at a time ([`leader`], [`fence`]); what is as desired is not written ([`apply`]); killing the
//! operator at any point and starting it again converges, because nothing but a small [`ledger`] is remembered.

pub mod actions;
pub mod apply;
pub mod brain;
pub mod cache;
pub mod cloud;
pub mod controller;
pub mod fence;
pub mod install;
pub mod leader;
pub mod ledger;
pub mod metrics;
pub mod observe;
pub mod process;
pub mod web;

pub use actions::{ActionError, ActionRequest};
pub use brain::{Brain, Decision, Doomed, Note, Report, Wanted};
pub use controller::{Options, RunError, run, run_with};
pub use install::{InstallOptions, InstallReport, install};
pub use observe::Observed;

/// An error with its causes, joined by colons.
pub fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}
