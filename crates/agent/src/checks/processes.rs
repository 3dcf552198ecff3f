//! Processes as `/proc` shows them: state, CPU and context switches, connections.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use super::error::Error;

/// What `/proc` said about one process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Process id.
    pub(super) pid: i32,
    /// The program that it belongs to: that one's process id. Nothing where it is the parent of a family.
    pub(super) program: Option<i32>,
    /// The command's name, as the kernel has it.
    pub(super) name: String,
    /// State letter of `proc_pid_stat(5)`: R, S, D, T (stopped), t (traced), Z (zombie) ...
    pub(super) state: char,
    /// Start time in ticks since boot: with the pid it names the process for ever.
    pub(super) born: u64,
    /// CPU ticks and context switches of all threads: grows whenever it does anything.
    pub(super) activity: u64,
    /// Whether it holds an established connection to the bus.
    pub(super) on_bus: bool,
}

impl Seen {
    /// Is it stopped, as by SIGSTOP or a debugger?
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }
}

/// Which process holds which connection to the bus. The kernel walks its table of all connections of the machine for whoever
/// reads `/proc/<pid>/net/tcp`, which takes milliseconds: who holds a connection that was seen before is not asked again so soon,
/// and one reading does for all processes, which are in one network namespace.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// Who held which socket, and when that was seen.
    held: BTreeMap<(i32, u64), (u64, Instant)>,
    /// The established ones, and when they were read.
    table: Option<(BTreeSet<u64>, Instant)>,
}

impl Connections {
    /// For so long a socket that a process keeps counts as established. One that the other side has closed, and the process has
    /// not, is noticed after it.
    const GOOD: Duration = Duration::from_secs(15);

    /// Whether the process holds an established connection to a remote port.
    fn held(&mut self, pid: i32, born: u64, port: u16) -> Result<bool, Error> {
        let sockets = sockets(pid)?;
        let known = self.held.get(&(pid, born));
        if known.is_some_and(|(inode, since)| since.elapsed() < Self::GOOD && sockets.contains(inode)) {
            return Ok(true);
        }
        // Whoever had one may have another by now; so may anyone where nobody has one.
        let anew = known.is_some() || self.held.is_empty();
        let table = match self.table.take().filter(|(_, since)| !anew && since.elapsed() < Self::GOOD) {
            Some(table) => table,
            None => (established(pid, port)?, Instant::now()),
        };
        let found = table.0.iter().find(|inode| sockets.contains(inode)).map(|inode| (*inode, table.1));
        self.table = Some(table);
        match found {
            Some(seen) => self.held.insert((pid, born), seen),
            None => self.held.remove(&(pid, born)),
        };
        Ok(found.is_some())
    }
}

/// What is looked at: some processes, and all below them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Roots<'a> {
    /// What the agent has started.
    pub(super) started: &'a [i32],
    /// Those are the parents of a family: so many programs are their first children.
    pub(super) family: Option<usize>,
}

/// In words, which of some processes is stopped.
pub(super) fn stopped(seen: &[Seen]) -> Option<String> {
    let process = seen.iter().find(|process| process.is_stopped())?;
    Some(format!("process {} ({}) is stopped", process.pid, process.name))
}

/// Look at the trees below some processes.
pub(super) fn look(roots: &[i32]) -> Result<Vec<Seen>, Error> {
    look_for(Roots { started: roots, family: None }, None)
}

/// Look at the trees below some processes, also at who holds a connection to the bus.
pub(super) fn look_for(
    roots: Roots<'_>,
    mut bus: Option<(u16, &mut Connections)>,
) -> Result<Vec<Seen>, Error> {
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
    let programs: BTreeMap<i32, i32> = programs(roots, &stats)
        .into_iter()
        .flat_map(|program| tree(&[program], &stats).into_iter().map(move |pid| (pid, program)))
        .collect();
    let mut seen = Vec::new();
    for pid in tree(roots.started, &stats) {
        let stat = &stats[&pid];
        let on_bus = match &mut bus {
            Some((port, connections)) if stat.state != 'Z' => {
                connections.held(pid, stat.born, *port).or_else(gone)?
            }
            _ => false,
        };
        let activity = stat.cpu_ticks + switches(pid);
        seen.push(Seen {
            pid,
            program: programs.get(&pid).copied(),
            name: stat.name.clone(),
            state: stat.state,
            born: stat.born,
            activity,
            on_bus,
        });
    }
    if let Some((_, connections)) = bus {
        connections.held.retain(|key, _| seen.iter().any(|process| (process.pid, process.born) == *key));
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

/// The programs that are to run: what was started, or the first children of that. What is forked later is a helper.
fn programs(roots: Roots<'_>, stats: &BTreeMap<i32, Stat>) -> Vec<i32> {
    let Some(count) = roots.family else { return roots.started.to_vec() };
    let mut children: Vec<(u64, i32)> = stats
        .iter()
        .filter(|(_, stat)| roots.started.contains(&stat.parent))
        .map(|(pid, stat)| (stat.born, *pid))
        .collect();
    children.sort_unstable();
    children.into_iter().take(count).map(|(_, pid)| pid).collect()
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

/// The inodes of the sockets that a process holds.
fn sockets(pid: i32) -> Result<BTreeSet<u64>, Error> {
    let descriptors =
        fs::read_dir(format!("/proc/{pid}/fd")).map_err(|source| Error::Proc { pid, source })?;
    Ok(descriptors
        .flatten()
        .filter_map(|descriptor| parse_socket(fs::read_link(descriptor.path()).ok()?.to_str()?))
        .collect())
}

/// The inodes of all established connections to a remote port where a process is.
fn established(pid: i32, port: u16) -> Result<BTreeSet<u64>, Error> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}"));
    let mut inodes = parse_established(&read("tcp").map_err(|source| Error::Proc { pid, source })?, port);
    // A kernel without IPv6 has no tcp6.
    inodes.extend(parse_established(&read("tcp6").unwrap_or_default(), port));
    Ok(inodes)
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
    fn the_first_children_are_a_family_s_programs() {
        let stat =
            |parent: i32, born: u64| Stat { name: String::new(), state: 'S', parent, cpu_ticks: 0, born };
        let stats = BTreeMap::from([
            (5, stat(1, 10)),
            (9, stat(5, 11)),
            (6, stat(5, 11)),
            (7, stat(5, 90)),
            (8, stat(9, 12)),
        ]);
        assert_eq!(programs(Roots { started: &[5], family: Some(2) }, &stats), [6, 9]);
        assert_eq!(programs(Roots { started: &[5], family: None }, &stats), [5]);
    }

    #[test]
    fn this_very_process_is_seen_with_its_connection_and_without_it_at_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = i32::try_from(std::process::id()).unwrap();
        let mut connections = Connections::default();
        let mut find = || {
            let roots = Roots { started: &[own], family: None };
            let all = look_for(roots, Some((port, &mut connections))).unwrap();
            all.into_iter().find(|process| process.pid == own).unwrap()
        };
        assert!(!find().on_bus);
        for _ in 0..2 {
            let stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            assert!(find().on_bus);
            assert!(find().on_bus);
            drop(stream);
            assert!(!find().on_bus);
        }
        assert!(find().activity > 0);
    }
}
