//! The tree as a Chrome trace (open it in `chrome://tracing` or Perfetto).
//!
//! Format: "Trace Event Format", JSON object form: complete events (`ph: X`) with microseconds. A viewer nests events of
//! one thread by time, so each task gets a lane (thread) in which nothing that overlaps it, but its ancestors, lies.

use std::time::Duration;

use oaas_feedback::Outcome;
use serde_json::{Value, json};

use super::tree::{Index, Tree};

/// The tree as a trace, with what still runs cut at `end`.
pub fn trace(tree: &Tree, end: Duration) -> Value {
    let lanes = lanes(tree, end);
    let mut events = Vec::new();
    for (index, _) in tree.walk() {
        let node = tree.node(index);
        let lane = lanes[index];
        let outcome = match &node.ended {
            None => "unfinished".to_owned(),
            Some((_, Outcome::Done)) => "done".to_owned(),
            Some((_, Outcome::Unchanged)) => "unchanged".to_owned(),
            Some((_, Outcome::Failed(message))) => format!("failed: {message}"),
        };
        let stop = node.started + node.duration(end);
        events.push(complete(&node.name, "task", lane, node.started, stop, &json!({"outcome": outcome})));
        if node.children.is_empty() {
            // What a leaf said it waited for, below it; a parent's waits are told by its parts.
            let next = node.statuses.iter().skip(1).map(|(at, _)| *at).chain([stop]);
            for ((from, text), to) in node.statuses.iter().zip(next) {
                events.push(complete(text, "status", lane, *from, to, &json!({})));
            }
        }
    }
    json!({"displayTimeUnit": "ms", "traceEvents": events})
}

fn complete(name: &str, category: &str, lane: usize, from: Duration, to: Duration, args: &Value) -> Value {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    json!({
        "name": name, "cat": category, "ph": "X", "pid": 1, "tid": lane,
        "ts": micros(from), "dur": micros(to.saturating_sub(from)), "args": args,
    })
}

/// The lane of each task, from 1: its parent's where that is free, else the first that is.
fn lanes(tree: &Tree, end: Duration) -> Vec<usize> {
    let mut lane_of = vec![0; tree.nodes().len()];
    // Per lane, the tasks in it so far.
    let mut lanes: Vec<Vec<Index>> = Vec::new();
    for (index, _) in tree.walk() {
        let node = tree.node(index);
        let stop = node.started + node.duration(end);
        let ancestors: Vec<Index> =
            std::iter::successors(node.parent, |index| tree.node(*index).parent).collect();
        let inside = |other: &Index| {
            let other = tree.node(*other);
            other.started <= node.started && stop <= other.started + other.duration(end)
        };
        let apart = |other: &Index| {
            let other = tree.node(*other);
            other.started + other.duration(end) <= node.started || stop <= other.started
        };
        let free = |lane: &Vec<Index>| {
            lane.iter().all(|other| apart(other) || (ancestors.contains(other) && inside(other)))
        };
        let preferred = node.parent.map(|parent| lane_of[parent] - 1);
        let lane = preferred
            .filter(|lane| free(&lanes[*lane]))
            .or_else(|| lanes.iter().position(free))
            .unwrap_or_else(|| {
                lanes.push(Vec::new());
                lanes.len() - 1
            });
        lanes[lane].push(index);
        lane_of[index] = lane + 1;
    }
    lane_of
}
