//! The supervisor of a node: keeps its services running.
//!
//! # Flow
//! It reads the services, adopts those that an earlier supervisor left running, starts the others once what they
//! need answers, and starts again with growing waits what ends.
//!
//! # Guarantees
//! SIGHUP ends it and leaves its services alone; its successor adopts them and restarts only those whose
//! description changed. SIGTERM ends the services first.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu};
use tokio::signal::unix::{SignalKind, signal};

use crate::backoff::Backoff;
use crate::command::{self, CommandError};
use crate::files::{self, Access, FileError};
use crate::logs;
use crate::options::inside;
use crate::probe::Prober;
use crate::process::Process;
use crate::services::{Probe, Service};

/// The file of the services below the node's configuration.
pub(crate) const SERVICES: &str = "services.json";
/// How long a service waits for what it needs before it is started all the same.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often to look while something is to be started, and while all runs.
const BUSY: Duration = Duration::from_millis(50);
const CALM: Duration = Duration::from_millis(500);
/// How often to look at the size of logs.
const LOG_CHECK: Duration = Duration::from_secs(30);
/// How long a service may take to end.
const STOP: Duration = Duration::from_secs(5);

/// The supervisor cannot work.
#[derive(Debug, Snafu)]
enum SuperviseError {
    #[snafu(display("failed to read the services"))]
    Read { source: FileError },
    #[snafu(display("failed to understand the services"))]
    Understand { source: serde_json::Error },
    #[snafu(display("failed to wait for signals"))]
    Signals { source: io::Error },
    #[snafu(display("failed to set the node's rules for packets"))]
    Rules { source: CommandError },
    #[snafu(display("failed to keep the state of the services"))]
    Keep { source: FileError },
}

/// Run as the supervisor of a node. `arguments` are those after `node-supervise`.
pub fn main(arguments: &[String]) -> ExitCode {
    // The first process waits for blocked signals, and what is blocked is inherited, down to the services.
    if let Err(error) = SigSet::all().thread_unblock() {
        say(&format!("failed to listen to signals: {error}"));
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("failed to start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    if let Some((word, rest)) = arguments.split_first()
        && word == "images"
    {
        return match runtime.block_on(crate::images::serve(rest)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&crate::chain(&error));
                ExitCode::FAILURE
            }
        };
    }
    match runtime.block_on(supervise()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&crate::chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Its output is its log.
#[allow(clippy::print_stderr, reason = "its error output is the supervisor's log")]
fn say(text: &str) {
    eprintln!("{} {text}", jiff::Timestamp::now());
}

/// What the supervisor knows of one service, for its successor and for `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// What was started.
    pub service: Service,
    /// What it is doing.
    pub state: State,
    /// How often it ended by itself since the node started.
    pub restarts: u32,
}

/// What a service is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum State {
    /// It waits for something to answer.
    Waiting {
        /// What does not answer yet.
        until: Vec<Probe>,
    },
    /// It runs. The id is one of the node's PID namespace.
    Running {
        /// As which process.
        process: Process,
    },
    /// It ended and will be started again.
    Resting {
        /// How it ended.
        how: String,
    },
}

/// One service and what only this process knows of it.
struct Kept {
    record: Record,
    child: Option<Child>,
    /// When its state was entered.
    since: Instant,
    /// When it may start.
    rest: Duration,
    backoff: Backoff,
}

/// What to do next with a service: a pure function of its state, the time in it, and the answers to probes.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    Start,
    Wait(Vec<Probe>),
}

fn next(
    service: &Service,
    state: &State,
    elapsed: Duration,
    rest: Duration,
    answers: &BTreeSet<Probe>,
) -> Next {
    let missing =
        || -> Vec<Probe> { service.after.iter().filter(|p| !answers.contains(p)).cloned().collect() };
    match state {
        State::Running { .. } => Next::Nothing,
        State::Resting { .. } if elapsed < rest => Next::Nothing,
        State::Resting { .. } => match missing() {
            missing if missing.is_empty() => Next::Start,
            missing => Next::Wait(missing),
        },
        State::Waiting { until } => match missing() {
            missing if missing.is_empty() || elapsed >= PATIENCE => Next::Start,
            missing if missing == *until => Next::Nothing,
            missing => Next::Wait(missing),
        },
    }
}

async fn supervise() -> Result<(), SuperviseError> {
    let mut hangup = signal(SignalKind::hangup()).context(SignalsSnafu)?;
    let mut terminate = signal(SignalKind::terminate()).context(SignalsSnafu)?;
    let text = files::read(&Path::new(inside::CONFIG).join(SERVICES)).context(ReadSnafu)?;
    let services: Vec<Service> = serde_json::from_str(&text).context(UnderstandSnafu)?;
    // The table is replaced as a whole: a supervisor after this one does it again.
    let rules = Path::new(inside::CONFIG).join("nftables");
    command::run("nft", &[OsStr::new("-f"), rules.as_os_str()]).await.context(RulesSnafu)?;
    let mut kept = adopt(services, earlier());
    let mut prober = Prober::default();
    let mut written = Vec::new();
    let mut logs_checked = Instant::now();

    loop {
        for one in &mut kept {
            look(one);
        }
        let asked: BTreeSet<Probe> = kept
            .iter()
            .filter(|one| !matches!(one.record.state, State::Running { .. }))
            .flat_map(|one| one.record.service.after.iter().cloned())
            .collect();
        let answers = prober.ask(asked).await;
        for one in &mut kept {
            let record = &one.record;
            match next(&record.service, &record.state, one.since.elapsed(), one.rest, &answers) {
                Next::Nothing => {}
                Next::Start => start(one),
                Next::Wait(until) => {
                    // A wait that goes on keeps its beginning, or patience would never end.
                    if !matches!(record.state, State::Waiting { .. }) {
                        one.since = Instant::now();
                    }
                    one.record.state = State::Waiting { until };
                }
            }
        }
        let records: Vec<Record> = kept.iter().map(|one| one.record.clone()).collect();
        if records != written {
            let text = serde_json::to_vec(&records).context(UnderstandSnafu)?;
            files::write(Path::new(inside::SUPERVISOR), &text, Access::Secret).context(KeepSnafu)?;
            written = records;
        }
        if logs_checked.elapsed() >= LOG_CHECK {
            logs_checked = Instant::now();
            if let Err(error) = logs::rotate_all(Path::new(inside::LOGS)) {
                say(&crate::chain(&error));
            }
        }
        let all_run = kept.iter().all(|one| matches!(one.record.state, State::Running { .. }));
        tokio::select! {
            _ = hangup.recv() => {
                say("hands its services on");
                return Ok(());
            }
            _ = terminate.recv() => {
                stop_all(&mut kept);
                return Ok(());
            }
            () = tokio::time::sleep(if all_run { CALM } else { BUSY }) => {}
        }
    }
}

/// What an earlier supervisor of this node left.
fn earlier() -> Vec<Record> {
    files::read_if_there(Path::new(inside::SUPERVISOR))
        .ok()
        .flatten()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

/// Take over what runs as described, end what runs otherwise, and make ready to start the rest.
fn adopt(services: Vec<Service>, earlier: Vec<Record>) -> Vec<Kept> {
    let mut earlier: BTreeMap<String, Record> =
        earlier.into_iter().map(|record| (record.service.name.clone(), record)).collect();
    let fresh = |service: Service| Kept {
        record: Record { service, state: State::Waiting { until: Vec::new() }, restarts: 0 },
        child: None,
        since: Instant::now(),
        rest: Duration::ZERO,
        backoff: Backoff::default(),
    };
    let mut kept = Vec::new();
    let mut ended = Vec::new();
    for service in services {
        let mut one = fresh(service);
        if let Some(record) = earlier.remove(&one.record.service.name) {
            one.record.restarts = record.restarts;
            if let State::Running { process } = record.state
                && process.is_alive()
            {
                if record.service == one.record.service {
                    one.record.state = record.state;
                } else {
                    say(&format!("{} changed: restarts it", one.record.service.name));
                    ended.push(process);
                }
            }
        }
        kept.push(one);
    }
    for (name, record) in earlier {
        if let State::Running { process } = record.state {
            say(&format!("{name} is no longer wanted: ends it"));
            ended.push(process);
        }
    }
    stop(&ended);
    kept
}

/// See whether a service still runs.
fn look(one: &mut Kept) {
    let State::Running { process } = one.record.state else { return };
    let how = match &mut one.child {
        Some(child) => match child.try_wait() {
            Ok(None) => return,
            Ok(Some(status)) => status.to_string(),
            Err(error) => error.to_string(),
        },
        None if process.is_alive() => return,
        None => "ended under an earlier supervisor's watch".to_owned(),
    };
    one.rest = one.backoff.ended_after(one.since.elapsed());
    say(&format!("{}: {how}; starts it again in {} ms", one.record.service.name, one.rest.as_millis()));
    one.child = None;
    one.since = Instant::now();
    one.record.restarts += 1;
    one.record.state = State::Resting { how };
}

fn start(one: &mut Kept) {
    let service = &one.record.service;
    one.since = Instant::now();
    match spawn(service) {
        Ok((child, process)) => {
            one.child = Some(child);
            one.record.state = State::Running { process };
        }
        Err(error) => {
            one.rest = one.backoff.ended_after(Duration::ZERO);
            let how = format!("cannot be started: {error}");
            say(&format!("{}: {how}; tries again in {} ms", service.name, one.rest.as_millis()));
            one.record.state = State::Resting { how };
        }
    }
}

fn spawn(service: &Service) -> io::Result<(Child, Process)> {
    let Some((program, arguments)) = service.command.split_first() else {
        return Err(io::Error::other("it has no program"));
    };
    let log = Path::new(inside::LOGS).join(format!("{}.log", service.name));
    let out = OpenOptions::new().create(true).append(true).open(&log)?;
    let errors = out.try_clone()?;
    let own = Path::new(program).parent().map(Path::to_string_lossy).unwrap_or_default();
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", format!("{own}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
        .env("HOME", "/root")
        .envs(&service.environment)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(errors)
        .process_group(0)
        .spawn()?;
    let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
    if let Some(score) = service.oom_score_adj {
        // Refused where the machine grants no CAP_SYS_RESOURCE: the service then has the usual score.
        let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string());
    }
    let process = Process::find(pid).unwrap_or(Process { pid, started: 0 });
    Ok((child, process))
}

fn stop_all(kept: &mut [Kept]) {
    let running = |one: &Kept| match one.record.state {
        State::Running { process } => Some(process),
        _ => None,
    };
    // The kubelet first, so that it does not start anew what ends; etcd last, so that others can still write.
    let of = |name: &str, kept: &[Kept]| -> Vec<Process> {
        kept.iter().filter(|one| one.record.service.name == name).filter_map(running).collect()
    };
    stop(&of("kubelet", kept));
    let last = of("etcd", kept);
    let others: Vec<Process> =
        kept.iter().filter_map(running).filter(|process| !last.contains(process)).collect();
    stop(&others);
    stop(&last);
}

/// End processes: ask, wait, insist.
fn stop(processes: &[Process]) {
    for process in processes {
        process.signal(Signal::SIGTERM);
    }
    let until = Instant::now() + STOP;
    while processes.iter().any(|process| process.is_alive()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    for process in processes {
        process.signal(Signal::SIGKILL);
    }
}

/// Where a node's supervisor keeps its state, seen from the host.
pub(crate) fn state_file(first: Process) -> PathBuf {
    first.root().join(inside::SUPERVISOR.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        Service {
            name: "kubelet".into(),
            command: vec!["/bin/true".into()],
            environment: BTreeMap::new(),
            after: vec![probe()],
            oom_score_adj: None,
            fingerprint: String::new(),
        }
    }

    fn probe() -> Probe {
        Probe::Socket { path: "/run/x".into() }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_service_starts_when_all_it_needs_answers() {
        let waiting = State::Waiting { until: Vec::new() };
        let none = BTreeSet::new();
        let all = BTreeSet::from([probe()]);
        assert_eq!(next(&service(), &waiting, SECOND, Duration::ZERO, &none), Next::Wait(vec![probe()]));
        assert_eq!(next(&service(), &waiting, SECOND, Duration::ZERO, &all), Next::Start);
        let known = State::Waiting { until: vec![probe()] };
        assert_eq!(next(&service(), &known, SECOND, Duration::ZERO, &none), Next::Nothing);
    }

    #[test]
    fn patience_ends() {
        let waiting = State::Waiting { until: vec![probe()] };
        assert_eq!(next(&service(), &waiting, PATIENCE, Duration::ZERO, &BTreeSet::new()), Next::Start);
    }

    #[test]
    fn what_ended_rests_first_and_then_waits_for_what_it_needs() {
        let resting = State::Resting { how: "exit code 1".into() };
        let all = BTreeSet::from([probe()]);
        assert_eq!(next(&service(), &resting, SECOND, 2 * SECOND, &all), Next::Nothing);
        assert_eq!(next(&service(), &resting, 2 * SECOND, 2 * SECOND, &all), Next::Start);
        let none = BTreeSet::new();
        assert_eq!(next(&service(), &resting, 2 * SECOND, 2 * SECOND, &none), Next::Wait(vec![probe()]));
    }

    #[test]
    fn a_successor_adopts_what_runs_as_described() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::find(i32::try_from(child.id()).unwrap()).unwrap();
        let record = Record { service: service(), state: State::Running { process }, restarts: 3 };
        let kept = adopt(vec![service()], vec![record.clone()]);
        assert_eq!(kept[0].record, record);
        assert!(process.is_alive());

        let changed = Service { fingerprint: "other".into(), ..service() };
        // Someone else reaps the child, as the first process of a node would.
        let reaper = std::thread::spawn(move || child.wait());
        let kept = adopt(vec![changed], vec![record]);
        assert!(matches!(kept[0].record.state, State::Waiting { .. }));
        reaper.join().unwrap().unwrap();
        assert!(!process.is_alive());
    }
}
