//! Failures that end the agent.

use std::fmt::Write as _;

use oaas_feedback::{Explain, Kind};
use tracing::error;

/// Any explained error, as roles hand it up: message, chain of causes, kind and hint.
pub struct Failure(Box<dyn Explain>);

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl Failure {
    /// Which sort of failure it is; the agent exits with its code.
    pub fn kind(&self) -> Kind {
        self.0.kind()
    }

    /// What to do next, where we know.
    pub fn hint(&self) -> Option<String> {
        self.0.hint()
    }

    /// The message and the messages of all causes, joined by `: `.
    pub fn chain(&self) -> String {
        chain(&*self.0)
    }
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.chain())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.chain())
    }
}

/// An error's message and those of its sources, joined by `: `; a source whose message the one before already ends
/// with is left out, as some libraries repeat their source.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !text.ends_with(&message) {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {message}");
        }
        source = cause.source();
    }
    text
}

/// Say why the agent ends, and give its exit code.
pub(crate) fn report_failure(failure: &Failure) -> u8 {
    if let Some(hint) = failure.hint() {
        error!(target: "oaas_agent", "{failure}; hint: {hint}");
    } else {
        error!(target: "oaas_agent", "{failure}");
    }
    failure.kind().exit_code()
}
