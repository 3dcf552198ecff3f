//! Progress as a tree of tasks, each a line on the screen or a span of a trace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Names one task within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TaskId(u64);

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Work was done and succeeded.
    Done,
    /// Nothing had to be done: a cache hit, or it was as wanted already.
    Unchanged,
    /// It failed; the message is the error's.
    Failed(String),
}

/// What happens to a task. The receiving [`Sink`] stamps the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// The task began.
    Started {
        /// The new task.
        id: TaskId,
        /// The task that it is a part of.
        parent: Option<TaskId>,
        /// What a person reads: a short noun phrase, such as `image infra`.
        name: String,
    },
    /// What it is doing or waiting for now, such as `waits for database nova`.
    Status {
        /// The task.
        id: TaskId,
        /// The newest state in words.
        text: String,
    },
    /// How far it is.
    Progress {
        /// The task.
        id: TaskId,
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
        /// The unit, such as `bytes` or `packages`.
        unit: &'static str,
    },
    /// The task ended.
    Ended {
        /// The task.
        id: TaskId,
        /// How.
        outcome: Outcome,
    },
}

/// Where events go: a live tree, plain lines, JSON lines, a trace.
pub trait Sink: Send + Sync {
    /// Take one event. Must not block for long.
    fn event(&self, event: Event);
}

/// A sink that drops everything, for callers that show nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Null;

impl Sink for Null {
    fn event(&self, _: Event) {}
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A handle on one running task. Clones name the same task. End it once, with [`Task::done`],
/// [`Task::unchanged`], [`Task::failed`] or [`Task::end_with`].
#[derive(Clone)]
pub struct Task {
    id: TaskId,
    sink: Arc<dyn Sink>,
}

impl Task {
    /// Begin a task at the top of the tree.
    pub fn root(sink: Arc<dyn Sink>, name: impl Into<String>) -> Self {
        Self::start(sink, None, name.into())
    }

    /// A task that nobody watches.
    pub fn silent() -> Self {
        Self::root(Arc::new(Null), "")
    }

    /// Begin a part of this task.
    #[must_use]
    pub fn child(&self, name: impl Into<String>) -> Self {
        Self::start(Arc::clone(&self.sink), Some(self.id), name.into())
    }

    /// Say what is done or waited for now.
    pub fn status(&self, text: impl Into<String>) {
        self.sink.event(Event::Status { id: self.id, text: text.into() });
    }

    /// Say how far it is.
    pub fn progress(&self, done: u64, total: u64, unit: &'static str) {
        self.sink.event(Event::Progress { id: self.id, done, total, unit });
    }

    /// It succeeded, and work was done.
    pub fn done(&self) {
        self.end(Outcome::Done);
    }

    /// It succeeded, and nothing had to be done.
    pub fn unchanged(&self) {
        self.end(Outcome::Unchanged);
    }

    /// It failed.
    pub fn failed(&self, error: impl std::fmt::Display) {
        self.end(Outcome::Failed(error.to_string()));
    }

    /// End by a result: done, or failed with the error's message; hands the result on.
    pub fn end_with<T, E: std::fmt::Display>(&self, result: Result<T, E>) -> Result<T, E> {
        match &result {
            Ok(_) => self.done(),
            Err(error) => self.failed(error),
        }
        result
    }

    fn start(sink: Arc<dyn Sink>, parent: Option<TaskId>, name: String) -> Self {
        let id = TaskId(NEXT.fetch_add(1, Ordering::Relaxed));
        sink.event(Event::Started { id, parent, name });
        Self { id, sink }
    }

    fn end(&self, outcome: Outcome) {
        self.sink.event(Event::Ended { id: self.id, outcome });
    }
}
