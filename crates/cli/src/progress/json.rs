//! One JSON object per event, one per line.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use oaas_feedback::{Event, Outcome, Sink, TaskId};
use serde_json::{Value, json};

use super::clock::Clock;

/// Writes JSON lines to `out`.
pub struct Json<W> {
    clock: Arc<dyn Clock>,
    state: Mutex<(Names, W)>,
}

impl<W: Write + Send> Json<W> {
    /// JSON lines that go to `out`.
    pub fn new(clock: Arc<dyn Clock>, out: W) -> Self {
        Self { clock, state: Mutex::new((Names::default(), out)) }
    }
}

impl<W: Write + Send> Sink for Json<W> {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (names, out) = &mut *state;
        let mut object = names.object(&event);
        object["time"] = json!(self.clock.now().to_string());
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(out, "{object}");
    }
}

/// Numbers tasks in the order of starting, from 1, so that a run's numbers do not depend on what ran before it.
#[derive(Debug, Default)]
struct Names(BTreeMap<TaskId, usize>);

impl Names {
    fn number(&mut self, id: TaskId) -> usize {
        let next = self.0.len() + 1;
        *self.0.entry(id).or_insert(next)
    }

    fn object(&mut self, event: &Event) -> Value {
        match event {
            Event::Started { id, parent, name } => {
                let parent = parent.map(|parent| self.number(parent));
                json!({"event": "started", "task": self.number(*id), "parent": parent, "name": name})
            }
            Event::Status { id, text } => {
                json!({"event": "status", "task": self.number(*id), "text": text})
            }
            Event::Progress { id, done, total, unit } => {
                json!({"event": "progress", "task": self.number(*id), "done": done, "total": total, "unit": unit})
            }
            Event::Ended { id, outcome } => {
                let (outcome, message) = match outcome {
                    Outcome::Done => ("done", None),
                    Outcome::Unchanged => ("unchanged", None),
                    Outcome::Failed(message) => ("failed", Some(message)),
                };
                let mut object = json!({"event": "ended", "task": self.number(*id), "outcome": outcome});
                if let Some(message) = message {
                    object["message"] = json!(message);
                }
                object
            }
        }
    }
}
