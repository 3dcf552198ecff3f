//! Golden drawings of one recorded deploy, with the clock passed in.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use oaas_feedback::{Event, Sink, Task};

use super::clock::Clock;
use super::fit::{View, draw};
use super::json::Json;
use super::lines::Lines;
use super::style::Style;
use super::trace::Trace;
use super::{Tee, chrome, svg};

#[derive(Default)]
struct Hand(AtomicU64);

impl Hand {
    fn at(&self, millis: u64) {
        self.0.store(millis, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
    fn began(&self) -> Timestamp {
        "2026-11-23T06:17:48Z".parse().unwrap()
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps events for later.
struct Keep(Arc<Mutex<Vec<Event>>>);
impl Sink for Keep {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// A sink and the hand that moves its clock.
struct Stage {
    hand: Arc<Hand>,
    trace: Arc<Trace>,
    lines: Buffer,
    json: Buffer,
    sink: Arc<dyn Sink>,
}

fn stage() -> Stage {
    let hand = Arc::new(Hand::default());
    let clock: Arc<dyn Clock> = Arc::clone(&hand) as Arc<dyn Clock>;
    let (lines, json) = (Buffer::default(), Buffer::default());
    let trace = Arc::new(Trace::new(Arc::clone(&clock)));
    let sink = Arc::new(Tee::new(vec![
        Arc::clone(&trace) as Arc<dyn Sink>,
        Arc::new(Lines::new(Arc::clone(&clock), lines.clone())),
        Arc::new(Json::new(clock, json.clone())),
    ]));
    Stage { hand, trace, lines, json, sink }
}

/// A deploy, stopped where `until` says; after the last step everything is over.
fn deploy(stage: &Stage, until: u64) {
    let at = |millis: u64| {
        stage.hand.at(millis.min(until));
        millis <= until
    };
    let up = Task::root(Arc::clone(&stage.sink), "cloud demo");
    let images = up.child("images");
    let (base, infra) = (images.child("base"), images.child("infra"));
    let node = up.child("node node1");
    base.unchanged();
    if !at(1_500) {
        return;
    }
    infra.status("installs packages");
    infra.progress(34, 120, "packages");
    node.status("waits for kube-apiserver");
    if !at(4_000) {
        return;
    }
    node.status("waits for kube-apiserver");
    node.status("waits for the kubelet to register");
    if !at(9_000) {
        return;
    }
    node.done();
    infra.progress(120, 120, "packages");
    if !at(61_000) {
        return;
    }
    infra.done();
    images.done();
    let core = up.child("services");
    let (galera, keystone) = (core.child("galera"), core.child("keystone"));
    galera.status("waits for its volume");
    keystone.status("waits for database keystone");
    if !at(66_000) {
        return;
    }
    galera.done();
    keystone.status("waits for its API to answer");
    if !at(75_400) {
        return;
    }
    keystone.failed("no answer on https://keystone:5000 <within> 8 s\nlast log line: no such table");
    core.failed("keystone is not ready");
    if !at(75_500) {
        return;
    }
    up.failed("keystone is not ready");
}

fn screen(until: u64, width: usize, height: Option<usize>, style: Style) -> String {
    let stage = stage();
    deploy(&stage, until);
    let (tree, now) = stage.trace.snapshot();
    draw(&tree, now, &View { width, height, style }).join("\n")
}

#[test]
fn a_running_tree_shows_what_each_branch_waits_for() {
    insta::assert_snapshot!(screen(8_000, 80, None, Style { color: false, unicode: true }));
}

#[test]
fn finished_branches_are_one_line() {
    insta::assert_snapshot!(screen(70_000, 80, None, Style { color: false, unicode: true }));
}

#[test]
fn a_failure_is_told_once_where_it_happened() {
    insta::assert_snapshot!(screen(80_000, 80, None, Style::PLAIN));
}

#[test]
fn colours_say_the_same() {
    insta::assert_snapshot!(screen(8_000, 80, None, Style { color: true, unicode: true }).escape_debug());
}

#[test]
fn a_narrow_screen_cuts_words_but_keeps_durations() {
    let narrow = screen(8_000, 34, None, Style { color: true, unicode: true });
    for line in narrow.lines() {
        assert!(console::measure_text_width(line) <= 34, "{line:?}");
    }
    insta::assert_snapshot!(console::strip_ansi_codes(&narrow));
}

#[test]
fn a_low_screen_counts_what_is_finished_then_leaves_out_the_deepest() {
    let full = screen(70_000, 80, None, Style::PLAIN);
    for height in 0..12 {
        let drawn = screen(70_000, 80, Some(height), Style::PLAIN);
        assert!(drawn.lines().count() <= height, "{height} lines: {drawn}");
        if full.lines().count() <= height {
            assert_eq!(drawn, full);
        }
    }
    insta::assert_snapshot!(screen(70_000, 80, Some(5), Style::PLAIN));
}

#[test]
fn plain_lines_have_one_line_per_change() {
    let stage = stage();
    deploy(&stage, 80_000);
    insta::assert_snapshot!(stage.lines.text());
}

#[test]
fn where_nothing_is_said_what_is_done_is_told_every_half_minute() {
    let hand = Arc::new(Hand::default());
    let buffer = Buffer::default();
    let lines = Arc::new(Lines::new(Arc::clone(&hand) as Arc<dyn Clock>, buffer.clone()));
    let up = Task::root(Arc::clone(&lines) as Arc<dyn Sink>, "cloud demo");
    let (kube, images) = (up.child("kube"), up.child("images"));
    let infra = images.child("infra");
    infra.status("installs packages");
    let before = buffer.text().lines().count();
    for second in 1..=95 {
        hand.at(second * 1000);
        kube.progress(second * 10, 1200, "packages");
        lines.pulse();
    }
    let text = buffer.text();
    let said: Vec<&str> = text.lines().skip(before).collect();
    assert_eq!(
        said,
        [
            "06:18:18Z at work: cloud demo > kube: 300 of 1200 packages (for 30.0 s); cloud demo > images > infra: installs packages (for 30.0 s)",
            "06:18:48Z at work: cloud demo > kube: 600 of 1200 packages (for 1 min 00 s); cloud demo > images > infra: installs packages (for 1 min 00 s)",
            "06:19:18Z at work: cloud demo > kube: 900 of 1200 packages (for 1 min 30 s); cloud demo > images > infra: installs packages (for 1 min 30 s)",
        ]
    );
    // Every other line puts it off, and what is over is not told of.
    kube.done();
    infra.done();
    images.done();
    up.done();
    hand.at(500_000);
    lines.pulse();
    assert!(buffer.text().lines().last().unwrap().contains("cloud demo: done"));
}

#[test]
fn json_has_one_object_per_event() {
    let stage = stage();
    deploy(&stage, 80_000);
    let text = stage.json.text();
    for line in text.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).unwrap().is_object());
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_chrome_trace_nests_every_task_in_its_lane() {
    let stage = stage();
    deploy(&stage, 80_000);
    let (tree, end) = stage.trace.snapshot();
    let trace = chrome::trace(&tree, end);
    let spans: Vec<(u64, u64, u64)> = trace["traceEvents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            let number = |key: &str| event[key].as_u64().unwrap();
            (number("tid"), number("ts"), number("ts") + number("dur"))
        })
        .collect();
    for (lane, from, to) in &spans {
        for (_, other_from, other_to) in spans.iter().filter(|other| other.0 == *lane) {
            let apart = other_to <= from || to <= other_from;
            let nested = (from <= other_from && other_to <= to) || (other_from <= from && to <= other_to);
            assert!(apart || nested, "lane {lane}: {from}-{to} crosses {other_from}-{other_to}");
        }
    }
    insta::assert_json_snapshot!(trace);
}

#[test]
fn the_critical_path_is_what_ended_last() {
    let stage = stage();
    deploy(&stage, 80_000);
    let (tree, end) = stage.trace.snapshot();
    let names: Vec<&str> =
        svg::critical_path(&tree, end).into_iter().map(|index| tree.node(index).name.as_str()).collect();
    assert_eq!(names, ["cloud demo", "images", "infra", "services", "keystone"]);
}

#[test]
fn the_picture_is_self_contained() {
    let stage = stage();
    deploy(&stage, 80_000);
    let (tree, end) = stage.trace.snapshot();
    let picture = svg::picture(&tree, end);
    assert!(!picture.contains("href") && !picture.contains("<script"));
    insta::assert_snapshot!(picture);
}

#[test]
fn events_for_unknown_or_finished_tasks_change_nothing() {
    let stage = stage();
    let task = Task::root(Arc::clone(&stage.sink), "a");
    task.done();
    let before = stage.lines.text();
    task.status("too late");
    task.failed("too late");
    let elsewhere = Task::silent();
    let other: Arc<Mutex<Vec<Event>>> = Arc::default();
    let kept = Task::root(Arc::new(Keep(Arc::clone(&other))), "b");
    kept.status("elsewhere");
    let status = other.lock().unwrap().pop().unwrap();
    stage.sink.event(status);
    elsewhere.done();
    assert_eq!(stage.lines.text(), before);
}
