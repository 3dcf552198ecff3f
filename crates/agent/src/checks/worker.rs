//! Do processes without a port of their own work? Seen from `/proc`: state, CPU and context switches, connections.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use super::error::{Error, UnwellSnafu};
use oaas_agent_config::WorkerProbe;

/// What `/proc` said about one process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// Process id.
    pid: i32,
    /// The command's name, as the kernel has it.
    name: String,
    /// State letter of `proc_pid_stat(5)`: R, S, D, T (stopped), t (traced), Z (zombie) ...
    state: char,
    /// Start time in ticks since boot: with the pid it names the process for ever.
    born: u64,
    /// CPU ticks and context switches of all threads: grows whenever it does anything.
    activity: u64,
    /// Whether it holds an established connection to the bus.
    on_bus: bool,
}

/// What is remembered between two questions: for each process its activity, and when that last grew.
#[derive(Debug, Default)]
pub(super) struct Memory {
    start: Option<Instant>,
    last: BTreeMap<(i32, u64), (u64, Duration)>,
}

pub(super) fn ask(probe: &WorkerProbe, roots: &[i32], memory: &mut Memory) -> Result<(), Error> {
    let seen = look(roots, probe.bus_port)?;
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
    if let Some(process) = seen.iter().find(|process| matches!(process.state, 'T' | 't')) {
        return Err(format!("process {} ({}) is stopped", process.pid, process.name));
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

/// Look at the trees below some processes.
fn look(roots: &[i32], bus_port: Option<u16>) -> Result<Vec<Seen>, Error> {
    let mut stats = BTreeMap::new();
    let entries = fs::read_dir("/proc").map_err(|source| Error::Proc { pid: 0, source })?;
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // It may have ended since the directory was read.
        if let Some(stat) =
            fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|text| parse_stat(&text))
        {
            stats.insert(pid, stat);
        }
    }
    let mut seen = Vec::new();
    for pid in tree(roots, &stats) {
        let stat = &stats[&pid];
        let on_bus = match bus_port {
            Some(port) if stat.state != 'Z' => connected(pid, port).or_else(gone)?,
            _ => false,
        };
        let activity = stat.cpu_ticks + switches(pid);
        seen.push(Seen {
            pid,
            name: stat.name.clone(),
            state: stat.state,
            born: stat.born,
            activity,
            on_bus,
        });
    }
    Ok(seen)
}

/// A process that ended while it was looked at is not connected.
fn gone(error: Error) -> Result<bool, Error> {
    match &error {
        Error::Proc { source, .. } if source.kind() == io::ErrorKind::NotFound => Ok(false),
        _ => Err(error),
    }
}

/// The fields of `/proc/<pid>/stat` that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stat {
    name: String,
    state: char,
    parent: i32,
    cpu_ticks: u64,
    born: u64,
}

/// `pid (name) state ppid ...`; the name may hold anything, parentheses too.
fn parse_stat(text: &str) -> Option<Stat> {
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let name = text.get(open + 1..close)?.to_owned();
    let fields: Vec<&str> = text.get(close + 1..)?.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        name,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        // utime and stime: fields 14 and 15, counted from 1 with the pid; the state is field 3.
        cpu_ticks: number(11)? + number(12)?,
        born: number(19)?,
    })
}

/// The given processes and all their descendants.
fn tree(roots: &[i32], stats: &BTreeMap<i32, Stat>) -> BTreeSet<i32> {
    let mut found: BTreeSet<i32> = roots.iter().copied().filter(|pid| stats.contains_key(pid)).collect();
    loop {
        let before = found.len();
        for (pid, stat) in stats {
            if found.contains(&stat.parent) {
                found.insert(*pid);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// Context switches of all threads; 0 where the process is gone.
fn switches(pid: i32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("status")).ok())
        .map(|status| parse_switches(&status))
        .sum()
}

fn parse_switches(status: &str) -> u64 {
    status
        .lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.ends_with("voluntary_ctxt_switches").then(|| value.trim().parse::<u64>().ok())?
        })
        .sum()
}

/// Whether a process holds an established connection to a remote port.
fn connected(pid: i32, port: u16) -> Result<bool, Error> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}"));
    let mut inodes = parse_established(&read("tcp").map_err(|source| Error::Proc { pid, source })?, port);
    // A kernel without IPv6 has no tcp6.
    inodes.extend(parse_established(&read("tcp6").unwrap_or_default(), port));
    if inodes.is_empty() {
        return Ok(false);
    }
    let descriptors =
        fs::read_dir(format!("/proc/{pid}/fd")).map_err(|source| Error::Proc { pid, source })?;
    Ok(descriptors.flatten().any(|descriptor| {
        fs::read_link(descriptor.path())
            .ok()
            .and_then(|target| parse_socket(target.to_str()?))
            .is_some_and(|inode| inodes.contains(&inode))
    }))
}

/// The inodes of established connections to a remote port, from `/proc/<pid>/net/tcp`.
fn parse_established(table: &str, port: u16) -> BTreeSet<u64> {
    const ESTABLISHED: &str = "01";
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (_, remote) = fields.get(2)?.rsplit_once(':')?;
            let right = *fields.get(3)? == ESTABLISHED && u16::from_str_radix(remote, 16).ok()? == port;
            right.then(|| fields.get(9)?.parse().ok())?
        })
        .collect()
}

/// The inode of a descriptor's link: `socket:[12345]`.
fn parse_socket(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
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

    #[test]
    fn proc_is_understood() {
        let line = "42 (a) b (c)) T 7 42 42 0 -1 4194304 10 0 0 0 30 12 0 0 20 0 1 0 9001 0 0";
        let stat = parse_stat(line).unwrap();
        let wanted = Stat { name: "a) b (c)".to_owned(), state: 'T', parent: 7, cpu_ticks: 42, born: 9001 };
        assert_eq!(stat, wanted);
        assert_eq!(
            parse_switches("Name:\tx\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t2\n"),
            7
        );
        assert_eq!(parse_socket("socket:[123]"), Some(123));
        assert_eq!(parse_socket("/dev/null"), None);
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 0100007F:1627 01 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
            1: 0100007F:1F91 0100007F:1627 06 00000000:00000000 00:00000000 00000000     0        0 222 1\n\
            2: 0100007F:1627 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 333 1\n";
        assert_eq!(parse_established(table, 5671), BTreeSet::from([111]));
    }

    #[test]
    fn this_very_process_is_seen_with_its_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = i32::try_from(std::process::id()).unwrap();
        let find =
            || look(&[own], Some(port)).unwrap().into_iter().find(|process| process.pid == own).unwrap();
        assert!(!find().on_bus);
        let stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(find().on_bus);
        drop(stream);
        assert!(find().activity > 0);
    }
}
