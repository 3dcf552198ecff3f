//! Do processes without a port of their own work? Seen from `/proc`: state, CPU and context switches, connections.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use oaas_agent_config::WorkerProbe;

use super::error::{Error, UnwellSnafu};
use super::processes::{Connections, Seen, look_for, stopped};

/// What is remembered between two questions: for each process its activity, and when that last grew.
#[derive(Debug, Default)]
pub(super) struct Memory {
    start: Option<Instant>,
    last: BTreeMap<(i32, u64), (u64, Duration)>,
    connections: Connections,
}

pub(super) fn ask(probe: &WorkerProbe, roots: &[i32], memory: &mut Memory) -> Result<(), Error> {
    let bus = probe.bus_port.map(|port| (port, &mut memory.connections));
    let seen = look_for(roots, bus)?;
    let now = memory.start.get_or_insert_with(Instant::now).elapsed();
    judge(probe, &seen, &mut memory.last, now).map_or_else(|what| UnwellSnafu { what }.fail(), Ok)
}

/// Decide by what is seen now and what was seen before; `now` is the time since any fixed moment.
fn judge(
    probe: &WorkerProbe,
    seen: &[Seen],
    last: &mut BTreeMap<(i32, u64), (u64, Duration)>,
    now: Duration,
) -> Result<(), String> {
    let present: BTreeSet<(i32, u64)> = seen.iter().map(|process| (process.pid, process.born)).collect();
    last.retain(|key, _| present.contains(key));
    for process in seen {
        let entry = last.entry((process.pid, process.born)).or_insert((process.activity, now));
        if entry.0 != process.activity {
            *entry = (process.activity, now);
        }
    }

    if seen.is_empty() {
        return Err("no process runs".to_owned());
    }
    if let Some(stopped) = stopped(seen) {
        return Err(stopped);
    }
    if seen.iter().all(|process| process.state == 'Z') {
        return Err("every process is a zombie".to_owned());
    }
    if let Some(port) = probe.bus_port
        && !seen.iter().any(|process| process.on_bus)
    {
        return Err(format!("no process has a connection to the bus (port {port})"));
    }

    let limit = Duration::from_secs(probe.still_seconds);
    let still = |process: &&Seen| {
        last.get(&(process.pid, process.born)).is_some_and(|(_, grew)| now.saturating_sub(*grew) >= limit)
    };
    // Whoever is on the bus wakes up for its heart-beat; a helper beside it may sleep for ever.
    let mut awake_wanted: Vec<&Seen> = seen.iter().filter(|process| process.on_bus).collect();
    if awake_wanted.is_empty() {
        if seen.iter().all(|process| still(&process)) {
            return Err(format!("no process did anything for {} s", limit.as_secs()));
        }
        return Ok(());
    }
    awake_wanted.retain(still);
    awake_wanted.first().map_or(Ok(()), |process| {
        Err(format!("process {} ({}) did nothing for {} s", process.pid, process.name, limit.as_secs()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, state: char, activity: u64, on_bus: bool) -> Seen {
        Seen { pid, name: format!("p{pid}"), state, born: 7, activity, on_bus }
    }

    fn bus() -> WorkerProbe {
        WorkerProbe { bus_port: Some(5671), still_seconds: 60 }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_working_tree_is_good() {
        let mut last = BTreeMap::new();
        assert_eq!(judge(&bus(), &[process(2, 'S', 5, true)], &mut last, at(0)), Ok(()));
        assert_eq!(judge(&bus(), &[process(2, 'S', 6, true)], &mut last, at(100)), Ok(()));
    }

    #[test]
    fn nothing_stopped_and_unconnected_are_told_apart() {
        let mut last = BTreeMap::new();
        assert_eq!(judge(&bus(), &[], &mut last, at(0)).unwrap_err(), "no process runs");
        let stopped = [process(2, 'S', 5, true), process(3, 'T', 5, false)];
        assert_eq!(judge(&bus(), &stopped, &mut last, at(0)).unwrap_err(), "process 3 (p3) is stopped");
        let lonely = [process(2, 'S', 5, false)];
        assert!(
            judge(&bus(), &lonely, &mut last, at(0)).unwrap_err().contains("no process has a connection")
        );
        assert!(
            judge(&bus(), &[process(2, 'Z', 5, false)], &mut last, at(0)).unwrap_err().contains("zombie")
        );
    }

    #[test]
    fn who_is_on_the_bus_must_wake_up_and_helpers_need_not() {
        let mut last = BTreeMap::new();
        let tree = |active: u64| [process(2, 'S', active, true), process(3, 'S', 1, false)];
        for (seconds, active) in [(0, 1), (30, 2), (59, 2), (89, 2)] {
            assert_eq!(judge(&bus(), &tree(active), &mut last, at(seconds)), Ok(()), "at {seconds} s");
        }
        assert_eq!(
            judge(&bus(), &tree(2), &mut last, at(90)).unwrap_err(),
            "process 2 (p2) did nothing for 60 s"
        );
    }

    #[test]
    fn without_a_bus_the_whole_tree_must_be_still_to_fail() {
        let probe = WorkerProbe { bus_port: None, still_seconds: 60 };
        let mut last = BTreeMap::new();
        let tree = |active: u64| [process(2, 'S', 1, false), process(3, 'S', active, false)];
        assert_eq!(judge(&probe, &tree(1), &mut last, at(0)), Ok(()));
        assert_eq!(judge(&probe, &tree(2), &mut last, at(70)), Ok(()));
        assert!(judge(&probe, &tree(2), &mut last, at(130)).is_err());
    }

    #[test]
    fn a_new_process_with_an_old_number_starts_afresh() {
        let mut last = BTreeMap::new();
        judge(&bus(), &[process(2, 'S', 5, true)], &mut last, at(0)).unwrap();
        let mut reborn = process(2, 'S', 5, true);
        reborn.born = 8;
        assert_eq!(judge(&bus(), &[reborn], &mut last, at(100)), Ok(()));
        assert_eq!(last.len(), 1);
    }
}
