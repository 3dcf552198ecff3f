//! The tree as lines that fit a screen. Pure: tree, time and size in, lines out.

use std::time::Duration;

use console::{measure_text_width, truncate_str};
use oaas_feedback::Outcome;

use super::duration::human;
use super::style::{Style, Tone};
use super::tree::{Index, Node, Tree};

/// Lines are not made wider than this: a duration at the far end of a very wide screen is not found.
const WIDEST: usize = 110;

/// The screen.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Columns.
    pub width: usize,
    /// Lines that may be used; `None`: as many as there are.
    pub height: Option<usize>,
    /// Colours and symbols.
    pub style: Style,
}

/// How much is left out so that it fits.
#[derive(Debug, Clone, Copy)]
struct Detail {
    /// Finished parts of one task are counted in one line instead of shown each.
    count_finished: bool,
    /// Tasks deeper than this are not shown.
    depth: usize,
}

enum Line {
    Task { index: Index, depth: usize },
    Finished { count: usize, depth: usize },
}

/// The tree as it is at `now`.
///
/// A finished task is one line without its parts (a root keeps its own); a failed one keeps the parts that failed.
/// When the screen is too low, finished parts are counted in one line, then the deepest tasks are left out, then
/// the end is cut and counted.
pub fn draw(tree: &Tree, now: Duration, view: &View) -> Vec<String> {
    let deepest = tree.walk().iter().map(|(_, depth)| *depth).max().unwrap_or(0);
    let all = select(tree, Detail { count_finished: false, depth: deepest });
    let lines = match view.height {
        None => all,
        Some(height) => {
            let counted =
                (1..=deepest).rev().map(|depth| select(tree, Detail { count_finished: true, depth }));
            let mut last = all;
            for candidate in counted {
                if last.len() <= height {
                    break;
                }
                last = candidate;
            }
            last
        }
    };
    let cut = match view.height {
        Some(height) if lines.len() > height => height.saturating_sub(1),
        _ => lines.len(),
    };
    let mut out: Vec<String> = lines[..cut].iter().map(|line| text(tree, line, now, view)).collect();
    if cut < lines.len() && view.height != Some(0) {
        let more = format!("{} {} more", view.style.ellipsis(), lines.len() - cut);
        out.push(view.style.paint(Tone::Faint, &more));
    }
    out
}

fn select(tree: &Tree, detail: Detail) -> Vec<Line> {
    let mut out = Vec::new();
    for root in tree.roots() {
        push(tree, *root, 0, detail, &mut out);
    }
    out
}

fn push(tree: &Tree, index: Index, depth: usize, detail: Detail, out: &mut Vec<Line>) {
    out.push(Line::Task { index, depth });
    if depth >= detail.depth {
        return;
    }
    let node = tree.node(index);
    let shown: Vec<Index> = match &node.ended {
        Some((_, Outcome::Failed(_))) => {
            node.children.iter().copied().filter(|child| tree.node(*child).failed()).collect()
        }
        Some(_) if depth > 0 => Vec::new(),
        Some(_) | None => node.children.clone(),
    };
    let over = |child: &Index| tree.node(*child).ended.is_some() && !tree.node(*child).failed();
    let finished = shown.iter().filter(|child| over(child)).count();
    let counted = detail.count_finished && finished > 1;
    if counted {
        out.push(Line::Finished { count: finished, depth: depth + 1 });
    }
    for child in shown {
        if !(counted && over(&child)) {
            push(tree, child, depth + 1, detail, out);
        }
    }
}

fn text(tree: &Tree, line: &Line, now: Duration, view: &View) -> String {
    let style = view.style;
    match line {
        Line::Finished { count, depth } => {
            let words = format!("{}{} {count} done", "  ".repeat(*depth), style.done());
            style.paint(Tone::Faint, &truncate_str(&words, view.width, style.ellipsis()))
        }
        Line::Task { index, depth } => task(tree, tree.node(*index), *depth, now, view),
    }
}

fn task(tree: &Tree, node: &Node, depth: usize, now: Duration, view: &View) -> String {
    let style = view.style;
    let (mark, tone) = match &node.ended {
        None => (style.spinner(now), Tone::Active),
        Some((_, Outcome::Done)) => (style.done(), Tone::Good),
        Some((_, Outcome::Unchanged)) => (style.unchanged(), Tone::Faint),
        Some((_, Outcome::Failed(_))) => (style.failed(), Tone::Bad),
    };
    let name = if node.ended.is_none() { style.paint(Tone::Strong, &node.name) } else { node.name.clone() };
    let left = format!("{}{} {name}", "  ".repeat(depth), style.paint(tone, mark));
    let left = match explanation(tree, node, now) {
        Some(words) => format!("{left}  {}", style.paint(Tone::Faint, &words)),
        None => left,
    };
    let right = match &node.ended {
        Some((_, Outcome::Unchanged)) => "unchanged".to_owned(),
        Some(_) | None => human(node.duration(now)),
    };
    let width = view.width.min(WIDEST);
    let room = width.saturating_sub(right.len() + 2);
    let left = truncate_str(&left, room, style.ellipsis()).into_owned();
    let gap = room.saturating_sub(measure_text_width(&left)) + 2;
    let line = format!("{left}{}{}", " ".repeat(gap), style.paint(Tone::Faint, &right));
    truncate_str(&line, view.width, "").into_owned()
}

/// What the task does now, how far it is, or why it failed.
fn explanation(tree: &Tree, node: &Node, now: Duration) -> Option<String> {
    match &node.ended {
        Some((_, Outcome::Failed(message))) => {
            // The deepest failure says it; its parents would only repeat it.
            let told_below = node.children.iter().any(|child| tree.node(*child).failed());
            (!told_below).then(|| message.lines().next().unwrap_or_default().to_owned())
        }
        Some(_) => None,
        None => {
            let status = node.status().map(|(since, text)| {
                let waited = now.saturating_sub(since);
                // A wait that is as old as its task is told by the task's own duration.
                if waited >= Duration::from_secs(2) && since > node.started + Duration::from_secs(1) {
                    format!("{text} ({})", human(waited))
                } else {
                    text.to_owned()
                }
            });
            let far = node.progress.as_ref().map(amount);
            match (status, far) {
                (Some(status), Some(far)) => Some(format!("{status}, {far}")),
                (status, far) => status.or(far),
            }
        }
    }
}

/// `34 of 120 packages`; bytes in the unit that fits.
pub fn amount(progress: &super::tree::Progress) -> String {
    let super::tree::Progress { done, total, unit } = progress;
    match (*unit, *total) {
        ("bytes", 0) => megabytes(*done),
        ("bytes", total) => format!("{} of {}", megabytes(*done), megabytes(total)),
        (unit, 0) => format!("{done} {unit}"),
        (unit, total) => format!("{done} of {total} {unit}"),
    }
}

fn megabytes(bytes: u64) -> String {
    let tenths = bytes.saturating_add(50_000) / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}
