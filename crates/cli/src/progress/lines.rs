//! Plain timestamped lines, for logs and pipes: one per start, end and changed status, none per percent; and where nothing
//! else is said for a while, one that says what is being done and how far it is.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use oaas_feedback::{Event, Outcome, Sink};

use super::clock::Clock;
use super::duration::human;
use super::fit::amount;
use super::tree::{Change, Index, Tree};

/// After how long without a line what is being done is told again.
pub const QUIET: Duration = Duration::from_secs(30);
/// How often it is looked at whether that time is over.
const LOOK: Duration = Duration::from_millis(500);
/// How many of the tasks that run are told of in one line.
const TOLD: usize = 4;

/// Writes a line per change to `out`.
pub struct Lines<W> {
    clock: Arc<dyn Clock>,
    state: Mutex<State<W>>,
}

struct State<W> {
    tree: Tree,
    out: W,
    /// When the last line was written.
    last: Duration,
}

impl<W: Write + Send> Lines<W> {
    /// Lines that go to `out`.
    pub fn new(clock: Arc<dyn Clock>, out: W) -> Self {
        Self { clock, state: Mutex::new(State { tree: Tree::default(), out, last: Duration::ZERO }) }
    }

    /// Say what is being done, where nothing was said for [`QUIET`].
    pub fn pulse(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = self.clock.elapsed();
        if elapsed.saturating_sub(state.last) >= QUIET
            && let Some(line) = pulse(&state.tree, elapsed)
        {
            state.write(&line, elapsed, &*self.clock);
        }
    }
}

impl<W: Write> State<W> {
    fn write(&mut self, line: &str, elapsed: Duration, clock: &dyn Clock) {
        self.last = elapsed;
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(self.out, "{} {line}", clock_time(clock.now()));
    }
}

impl<W: Write + Send + 'static> Lines<W> {
    /// Look at the time from now on, as long as there are these lines.
    pub fn keep_alive(self: &Arc<Self>) {
        let lines: Weak<Self> = Arc::downgrade(self);
        std::thread::spawn(move || {
            while let Some(lines) = lines.upgrade() {
                lines.pulse();
                drop(lines);
                std::thread::sleep(LOOK);
            }
        });
    }
}

impl<W: Write + Send> Sink for Lines<W> {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = self.clock.elapsed();
        let change = state.tree.apply(elapsed, &event);
        if let Some(line) = change.and_then(|change| line(&state.tree, &change, elapsed)) {
            state.write(&line, elapsed, &*self.clock);
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

/// What is being done and how far it is: the tasks that run and have no part that runs. `None` when none runs.
pub fn pulse(tree: &Tree, now: Duration) -> Option<String> {
    let runs = |index: &Index| tree.node(*index).ended.is_none();
    let at_work: Vec<Index> = (tree.walk().into_iter().map(|(index, _)| index))
        .filter(|index| runs(index) && !tree.node(*index).children.iter().any(runs))
        .collect();
    let one = |index: &Index| {
        let node = tree.node(*index);
        let status = node.status().map(|(_, text)| text.to_owned());
        let said: Vec<String> = status.into_iter().chain(node.progress.as_ref().map(amount)).collect();
        let said = if said.is_empty() { String::new() } else { format!(": {}", said.join(", ")) };
        format!("{}{said} (for {})", tree.path(*index).join(" > "), human(node.duration(now)))
    };
    let mut told: Vec<String> = at_work.iter().take(TOLD).map(one).collect();
    if at_work.len() > TOLD {
        told.push(format!("{} more", at_work.len() - TOLD));
    }
    (!told.is_empty()).then(|| format!("at work: {}", told.join("; ")))
}

fn clock_time(now: Timestamp) -> String {
    now.strftime("%H:%M:%SZ").to_string()
}
