//! Plain timestamped lines, for logs and pipes: one per start, end and changed status, none per percent.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use oaas_feedback::{Event, Outcome, Sink};

use super::clock::Clock;
use super::duration::human;
use super::tree::{Change, Index, Tree};

/// Writes a line per change to `out`.
pub struct Lines<W> {
    clock: Arc<dyn Clock>,
    state: Mutex<(Tree, W)>,
}

impl<W: Write + Send> Lines<W> {
    /// Lines that go to `out`.
    pub fn new(clock: Arc<dyn Clock>, out: W) -> Self {
        Self { clock, state: Mutex::new((Tree::default(), out)) }
    }
}

impl<W: Write + Send> Sink for Lines<W> {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (tree, out) = &mut *state;
        let elapsed = self.clock.elapsed();
        if let Some(line) = tree.apply(elapsed, &event).and_then(|change| line(tree, &change, elapsed)) {
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(out, "{} {line}", clock_time(self.clock.now()));
        }
    }
}

/// The line for a change, without its time of day; `None` for changes that are not worth one.
pub fn line(tree: &Tree, change: &Change, now: Duration) -> Option<String> {
    let path = |index: Index| tree.path(index).join(" > ");
    match change {
        Change::Started(index) => Some(format!("{}: started", path(*index))),
        Change::Status(index) => {
            tree.node(*index).status().map(|(_, text)| format!("{}: {text}", path(*index)))
        }
        Change::Progress(_) => None,
        Change::Ended(index) => {
            let node = tree.node(*index);
            let took = human(node.duration(now));
            node.ended.as_ref().map(|(_, outcome)| match outcome {
                Outcome::Done => format!("{}: done ({took})", path(*index)),
                Outcome::Unchanged => format!("{}: unchanged", path(*index)),
                Outcome::Failed(message) => {
                    let first = message.lines().next().unwrap_or_default();
                    format!("{}: failed ({took}): {first}", path(*index))
                }
            })
        }
    }
}

fn clock_time(now: Timestamp) -> String {
    now.strftime("%H:%M:%SZ").to_string()
}
