//! A self-contained picture of where the time goes: a row per task, a bar per duration, the critical path in colour.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use super::duration::human;
use super::tree::{Index, Tree};

const LABEL: f64 = 320.0;
const CHART: f64 = 840.0;
const RIGHT: f64 = 90.0;
const ROW: f64 = 18.0;
const TOP: f64 = 56.0;
/// Tasks shorter than this share of the whole are left out, but for failed ones.
const SMALLEST: f64 = 0.002;

/// The picture, with what still runs cut at `end`.
pub fn picture(tree: &Tree, end: Duration) -> String {
    let whole = end.as_secs_f64().max(0.001);
    let critical = critical_path(tree, end);
    let rows: Vec<(Index, usize)> = tree
        .walk()
        .into_iter()
        .filter(|(index, depth)| {
            let node = tree.node(*index);
            *depth == 0 || node.failed() || node.duration(end).as_secs_f64() / whole >= SMALLEST
        })
        .collect();
    let width = LABEL + CHART + RIGHT;
    let height = ROW.mul_add(count(rows.len()), TOP + 24.0);
    let x = |at: Duration| LABEL + at.as_secs_f64() / whole * CHART;

    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="system-ui, sans-serif" font-size="12">"#
    );
    out.push_str("<style>.t{fill:#57606a}.g{stroke:#d0d7de;stroke-width:1}.b{fill:#9fb6cd}.c{fill:#d1633c}.f{fill:#a40e26}.w{fill:#fff;opacity:.45}</style>\n");
    let _ = writeln!(out, r##"<rect width="{width}" height="{height}" fill="#fff"/>"##);
    let _ = writeln!(
        out,
        r#"<text x="12" y="22" font-size="15">Where the time goes: {}</text><text x="12" y="40" class="t">dark: the critical path; pale: beside it; light stripe: waiting</text>"#,
        human(end)
    );
    for second in ticks(whole) {
        let at = x(Duration::from_secs(second));
        let bottom = height - 20.0;
        let _ = writeln!(
            out,
            r#"<line class="g" x1="{at:.1}" x2="{at:.1}" y1="{TOP}" y2="{bottom}"/><text class="t" x="{at:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            height - 6.0,
            tick_label(second)
        );
    }
    for (row, (index, depth)) in rows.iter().enumerate() {
        let node = tree.node(*index);
        let y = ROW.mul_add(count(row), TOP);
        let stop = node.started + node.duration(end);
        let class = if node.failed() {
            "f"
        } else if critical.contains(index) {
            "c"
        } else {
            "b"
        };
        let (left, right) = (x(node.started), x(stop));
        let name = escape(&shorten(&node.name, 46_usize.saturating_sub(depth * 2)));
        let _ = writeln!(
            out,
            r#"<text x="{:.1}" y="{:.1}">{name}</text><rect class="{class}" x="{left:.1}" y="{:.1}" width="{:.1}" height="{}" rx="2"><title>{}: {}</title></rect>"#,
            12.0_f64.mul_add(count(*depth), 12.0),
            y + 13.0,
            y + 3.0,
            (right - left).max(1.0),
            ROW - 6.0,
            escape(&tree.path(*index).join(" > ")),
            human(node.duration(end)),
        );
        if node.children.is_empty() {
            let next = node.statuses.iter().skip(1).map(|(at, _)| *at).chain([stop]);
            for ((from, words), to) in node.statuses.iter().zip(next).filter(|((_, words), _)| is_wait(words))
            {
                let _ = writeln!(
                    out,
                    r#"<rect class="w" x="{:.1}" y="{:.1}" width="{:.1}" height="4"><title>{}: {}</title></rect>"#,
                    x(*from),
                    y + 7.0,
                    x(to) - x(*from),
                    escape(words),
                    human(to.saturating_sub(*from)),
                );
            }
        }
        let _ = writeln!(
            out,
            r#"<text class="t" x="{:.1}" y="{:.1}">{}</text>"#,
            right + 5.0,
            y + 13.0,
            human(node.duration(end))
        );
    }
    out.push_str("</svg>\n");
    out
}

/// The tasks that decided when the whole was over: from each root's end backwards, always the part that ended last
/// before the moment looked at, then the one that ended last before that one began.
pub fn critical_path(tree: &Tree, end: Duration) -> BTreeSet<Index> {
    let mut path = BTreeSet::new();
    let mut todo: Vec<Index> =
        tree.roots().iter().copied().max_by_key(|root| tree.node(*root).duration(end)).into_iter().collect();
    while let Some(index) = todo.pop() {
        path.insert(index);
        let node = tree.node(index);
        let mut until = node.started + node.duration(end);
        loop {
            let ends = |child: &Index| tree.node(*child).started + tree.node(*child).duration(end);
            let last = node
                .children
                .iter()
                .copied()
                .filter(|child| {
                    ends(child) <= until && !path.contains(child) && tree.node(*child).started < until
                })
                .max_by_key(|child| (ends(child), *child));
            let Some(last) = last else { break };
            todo.push(last);
            path.insert(last);
            until = tree.node(last).started;
        }
    }
    path
}

fn is_wait(words: &str) -> bool {
    words.starts_with("wait")
}

/// About eight round numbers of seconds up to `whole`.
fn ticks(whole: f64) -> Vec<u64> {
    const STEPS: [u64; 11] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800];
    let step = STEPS.into_iter().find(|step| whole / seconds(*step) <= 10.0).unwrap_or(3600);
    // At most ten fit by the choice of the step; a whole day of the largest step is 24.
    (0..100).map(|n| n * step).take_while(|second| seconds(*second) <= whole).collect()
}

fn tick_label(second: u64) -> String {
    if second >= 60 && second.is_multiple_of(60) {
        format!("{} min", second / 60)
    } else {
        format!("{second} s")
    }
}

fn seconds(second: u64) -> f64 {
    Duration::from_secs(second).as_secs_f64()
}

/// A count that is far below where a float stops counting.
fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::from(u32::MAX), f64::from)
}

fn shorten(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    name.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
