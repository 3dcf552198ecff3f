//! The tree of tasks that events build up.

use std::collections::BTreeMap;
use std::time::Duration;

use oaas_feedback::{Event, Outcome, TaskId};

/// Position of a node in a [`Tree`], counted in the order of starting.
pub type Index = usize;

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// The unit.
    pub unit: &'static str,
}

/// One task, all times since the command began.
#[derive(Debug, Clone)]
pub struct Node {
    /// What a person reads.
    pub name: String,
    /// The task that it is a part of.
    pub parent: Option<Index>,
    /// Its parts, in the order of starting.
    pub children: Vec<Index>,
    /// When it began.
    pub started: Duration,
    /// Everything it said that it did or waited for, and since when.
    pub statuses: Vec<(Duration, String)>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// When and how it ended.
    pub ended: Option<(Duration, Outcome)>,
}

impl Node {
    /// What it does now and since when, as long as it runs.
    pub fn status(&self) -> Option<(Duration, &str)> {
        match self.ended {
            Some(_) => None,
            None => self.statuses.last().map(|(since, text)| (*since, text.as_str())),
        }
    }

    /// How long it took, or has taken so far.
    pub fn duration(&self, now: Duration) -> Duration {
        self.ended.as_ref().map_or(now, |(at, _)| *at).saturating_sub(self.started)
    }

    /// Whether it ended by failing.
    pub const fn failed(&self) -> bool {
        matches!(self.ended, Some((_, Outcome::Failed(_))))
    }
}

/// What an event changed, for those who draw only changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The task began.
    Started(Index),
    /// The task does or waits for something else than before.
    Status(Index),
    /// The task is further.
    Progress(Index),
    /// The task ended.
    Ended(Index),
}

/// All tasks that were ever begun.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    nodes: Vec<Node>,
    roots: Vec<Index>,
    by_id: BTreeMap<TaskId, Index>,
}

impl Tree {
    /// Take in one event; `None` when it says nothing new (the same status again, a task that is over).
    pub fn apply(&mut self, at: Duration, event: &Event) -> Option<Change> {
        match event {
            Event::Started { id, parent, name } => {
                let parent = parent.as_ref().and_then(|id| self.by_id.get(id)).copied();
                let index = self.nodes.len();
                self.nodes.push(Node {
                    name: one_line(name),
                    parent,
                    children: Vec::new(),
                    started: at,
                    statuses: Vec::new(),
                    progress: None,
                    ended: None,
                });
                match parent {
                    Some(parent) => self.nodes[parent].children.push(index),
                    None => self.roots.push(index),
                }
                self.by_id.insert(*id, index);
                Some(Change::Started(index))
            }
            Event::Status { id, text } => {
                let (index, node) = self.running(*id)?;
                let text = one_line(text);
                if node.statuses.last().is_some_and(|(_, last)| *last == text) {
                    return None;
                }
                node.statuses.push((at, text));
                Some(Change::Status(index))
            }
            Event::Progress { id, done, total, unit } => {
                let (index, node) = self.running(*id)?;
                node.progress = Some(Progress { done: *done, total: *total, unit });
                Some(Change::Progress(index))
            }
            Event::Ended { id, outcome } => {
                let (index, node) = self.running(*id)?;
                node.ended = Some((at, outcome.clone()));
                Some(Change::Ended(index))
            }
        }
    }

    /// The task at `index`.
    ///
    /// # Panics
    /// When `index` is not from this tree.
    pub fn node(&self, index: Index) -> &Node {
        &self.nodes[index]
    }

    /// Tasks without a parent, in the order of starting.
    pub fn roots(&self) -> &[Index] {
        &self.roots
    }

    /// All tasks in the order of starting.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The names from the root down to the task.
    pub fn path(&self, index: Index) -> Vec<&str> {
        let mut path: Vec<&str> = std::iter::successors(Some(index), |index| self.nodes[*index].parent)
            .map(|index| self.nodes[index].name.as_str())
            .collect();
        path.reverse();
        path
    }

    /// All tasks, parents before their parts, each with its depth.
    pub fn walk(&self) -> Vec<(Index, usize)> {
        let mut out = Vec::with_capacity(self.nodes.len());
        let mut stack: Vec<(Index, usize)> = self.roots.iter().rev().map(|root| (*root, 0)).collect();
        while let Some((index, depth)) = stack.pop() {
            out.push((index, depth));
            stack.extend(self.nodes[index].children.iter().rev().map(|child| (*child, depth + 1)));
        }
        out
    }

    fn running(&mut self, id: TaskId) -> Option<(Index, &mut Node)> {
        let index = *self.by_id.get(&id)?;
        let node = &mut self.nodes[index];
        node.ended.is_none().then_some((index, node))
    }
}

/// Names and reasons come from many programs; what is drawn on one line must be one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()).collect()
}
