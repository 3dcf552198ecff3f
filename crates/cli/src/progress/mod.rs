//! What people see of a long step: one tree of tasks, shown in four ways.
//!
//! # Flow
//! A crate reports [`oaas_feedback::Event`]s to a [`Sink`]. The sinks here stamp them with a [`Clock`], keep them in a
//! [`Tree`], and draw: [`live`] redraws a terminal, [`lines`] writes plain lines, [`json`] writes JSON lines,
//! [`trace`] keeps everything for `--trace`. Drawing is a pure function of the tree, the time and the size of
//! the screen, so it is tested without a terminal.
//!
//! # Guarantees
//! Progress goes to stderr, whatever the format; stdout carries the answer only.

pub mod chrome;
pub mod clock;
pub mod duration;
pub mod fit;
pub mod json;
pub mod lines;
pub mod live;
pub mod style;
pub mod svg;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod tree;

use std::io::IsTerminal;
use std::sync::Arc;

use oaas_feedback::{Event, Sink};

pub use clock::{Clock, SystemClock};
pub use style::Style;
pub use tree::Tree;

/// Which way progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// A tree that is redrawn in place.
    Live,
    /// A timestamped line per change.
    Lines,
    /// A JSON object per event.
    Json,
}

impl Shown {
    /// JSON when asked for; the live tree on a terminal that can be redrawn, unless log lines (`-v`) would run through it.
    pub fn choose(json: bool, verbose: bool) -> Self {
        let redrawable =
            std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        match (json, redrawable && !verbose) {
            (true, _) => Self::Json,
            (false, true) => Self::Live,
            (false, false) => Self::Lines,
        }
    }
}

/// Hands every event to several sinks.
pub struct Tee(Vec<Arc<dyn Sink>>);

impl Tee {
    /// A sink that hands on to each of `sinks`, in order.
    pub fn new(sinks: Vec<Arc<dyn Sink>>) -> Self {
        Self(sinks)
    }
}

impl Sink for Tee {
    fn event(&self, event: Event) {
        for sink in &self.0 {
            sink.event(event.clone());
        }
    }
}
