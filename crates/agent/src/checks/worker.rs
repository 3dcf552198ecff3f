//! Do processes without a port of their own work? Seen from `/proc`: state, CPU and context switches, connections.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use oaas_agent_config::WorkerProbe;
use snafu::ensure;

use super::error::{Error, UnwellSnafu};
use super::processes::{Connections, Roots, Seen, look_for, stopped};

/// What is remembered between two questions: for each process its activity, and when that last grew.
#[derive(Debug, Default)]
pub(super) struct Memory {
    start: Option<Instant>,
    last: BTreeMap<(i32, u64), (u64, Duration)>,
    connections: Connections,
}

pub(super) fn ask(probe: &WorkerProbe, roots: Roots<'_>, memory: &mut Memory) -> Result<(), Error> {
    let bus = probe.bus_port.map(|port| (port, &mut memory.connections));
    let seen = look_for(roots, bus)?;
    let now = memory.start.get_or_insert_with(Instant::now).elapsed();
    if let Some(count) = roots.family {
        let run = seen.iter().filter_map(|process| process.program).collect::<BTreeSet<i32>>().len();
        ensure!(run == count, UnwellSnafu { what: format!("{run} of {count} programs run") });
    }
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
    let programs: BTreeSet<i32> = seen.iter().filter_map(|process| process.program).collect();
    for program in programs {
        let its: Vec<&Seen> = seen.iter().filter(|process| process.program == Some(program)).collect();
        // Whoever is on the bus wakes up for its heart-beat; a helper beside it may sleep for ever.
        let on_bus = its.iter().any(|process| process.on_bus);
        let hung = if on_bus {
            its.iter().find(|process| process.on_bus && still(process))
        } else {
            its.first().filter(|_| its.iter().all(still))
        };
        if let Some(process) = hung {
            let alone = if on_bus || its.len() == 1 { "" } else { ", nor did any below it" };
            let (pid, name) = (process.pid, &process.name);
            return Err(format!("process {pid} ({name}) did nothing for {} s{alone}", limit.as_secs()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, state: char, activity: u64, on_bus: bool) -> Seen {
        Seen { pid, program: Some(2), name: format!("p{pid}"), state, born: 7, activity, on_bus }
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
    fn of_a_family_each_program_must_do_something() {
        let probe = WorkerProbe { bus_port: Some(5671), still_seconds: 60 };
        let mut last = BTreeMap::new();
        // The parent only waits; one is on the bus, the other is not, and both have workers.
        let family = |one: u64, two: u64| {
            let parent = Seen { program: None, ..process(1, 'S', 1, false) };
            let one = [process(2, 'S', one, true), process(3, 'S', 1, false)];
            let two = [process(4, 'S', 1, false), process(5, 'S', two, false)]
                .map(|process| Seen { program: Some(4), ..process });
            [vec![parent], one.to_vec(), two.to_vec()].concat()
        };
        assert_eq!(judge(&probe, &family(1, 1), &mut last, at(0)), Ok(()));
        assert_eq!(judge(&probe, &family(2, 2), &mut last, at(50)), Ok(()));
        assert_eq!(
            judge(&probe, &family(3, 2), &mut last, at(115)).unwrap_err(),
            "process 4 (p4) did nothing for 60 s, nor did any below it"
        );
        assert_eq!(judge(&probe, &family(3, 3), &mut last, at(120)), Ok(()));
        assert_eq!(
            judge(&probe, &family(3, 4), &mut last, at(176)).unwrap_err(),
            "process 2 (p2) did nothing for 60 s"
        );
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
