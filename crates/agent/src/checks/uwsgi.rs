//! Does a WSGI server live? Its master says what the workers do, and `/proc` whether they do it: a request that takes its
//! time is no hang, and the question itself never waits for a free worker.

use std::time::{Duration, Instant};

use oaas_agent_config::UwsgiProbe;
use serde::Deserialize;
use snafu::ResultExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::error::{Error, TalkSnafu, UnwellSnafu};
use super::processes::{Seen, look, stopped};

/// How much of the statistics is read.
const LARGEST: u64 = 4 << 20;

/// What the master says of its workers (uwsgi's `core/master_utils.c`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Stats {
    /// Connections with a request in them that nobody has taken.
    #[serde(default)]
    listen_queue: u64,
    workers: Vec<Worker>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Worker {
    /// 0 while it has no process.
    pid: i32,
    /// Requests it has answered since it began.
    requests: u64,
    /// Its threads.
    #[serde(default)]
    cores: Vec<Core>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Core {
    /// 1 while it serves a request.
    in_request: u8,
}

/// What is remembered between two questions.
#[derive(Debug, Default)]
pub(super) struct Memory {
    start: Option<Instant>,
    last: Option<Last>,
}

/// The counters, and when each last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    requests: (u64, Duration),
    activity: (u64, Duration),
}

pub(super) async fn ask(probe: &UwsgiProbe, roots: &[i32], memory: &mut Memory) -> Result<(), Error> {
    let seen = look(roots)?;
    // A stopped master would not answer, and it is better said why.
    if let Some(what) = stopped(&seen) {
        return UnwellSnafu { what }.fail();
    }
    let stats = ask_master(&probe.stats).await?;
    let now = memory.start.get_or_insert_with(Instant::now).elapsed();
    judge(probe, &stats, &seen, &mut memory.last, now).map_or_else(|what| UnwellSnafu { what }.fail(), Ok)
}

/// The master writes its statistics to whoever connects, and hangs up.
async fn ask_master(address: &str) -> Result<Stats, Error> {
    let talk = async {
        let mut text = Vec::new();
        TcpStream::connect(address).await?.take(LARGEST).read_to_end(&mut text).await?;
        Ok(text)
    };
    let text: Vec<u8> = talk.await.context(TalkSnafu { target: address })?;
    serde_json::from_slice(&text).map_err(|error| Error::Unwell {
        what: format!("failed to understand the statistics of uWSGI at {address}: {error}"),
    })
}

/// Decide by what is said and seen now and what was before; `now` is the time since any fixed moment.
fn judge(
    probe: &UwsgiProbe,
    stats: &Stats,
    seen: &[Seen],
    last: &mut Option<Last>,
    now: Duration,
) -> Result<(), String> {
    let running: Vec<&Worker> = stats.workers.iter().filter(|worker| worker.pid > 0).collect();
    if running.is_empty() {
        return Err("no worker runs".to_owned());
    }
    let requests = running.iter().map(|worker| worker.requests).sum();
    let activity = seen
        .iter()
        .filter(|process| running.iter().any(|worker| worker.pid == process.pid))
        .map(|process| process.activity)
        .sum();
    let before = last.unwrap_or(Last { requests: (requests, now), activity: (activity, now) });
    let since = |(value, at): (u64, Duration), is: u64| if value == is { (is, at) } else { (is, now) };
    let answered = since(before.requests, requests);
    // Where nobody waits there is nothing to answer.
    let requests = if stats.listen_queue == 0 { (requests, now) } else { answered };
    let current = Last { requests, activity: since(before.activity, activity) };
    *last = Some(current);

    let cores = || running.iter().flat_map(|worker| &worker.cores);
    let busy = cores().filter(|core| core.in_request > 0).count();
    if busy < cores().count() {
        let still = now.saturating_sub(current.requests.1);
        if still >= Duration::from_secs(probe.idle_seconds) {
            let waiting = stats.listen_queue;
            return Err(format!(
                "{waiting} requests wait, threads are free, and none was answered for {} s",
                still.as_secs()
            ));
        }
        return Ok(());
    }
    let still = now.saturating_sub(current.activity.1);
    if still >= Duration::from_secs(probe.busy_seconds) {
        return Err(format!("all {busy} threads serve a request and did nothing for {} s", still.as_secs()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(requests: u64, busy: u8) -> Stats {
        let core = |number| {
            format!(r#"{{"id": {number}, "requests": 1, "in_request": {}}}"#, u8::from(number < busy))
        };
        let cores: Vec<String> = (0..4).map(core).collect();
        let text = format!(
            r#"{{"version": "2.0.31", "listen_queue": 0, "workers": [
                {{"id": 1, "pid": 7, "requests": {requests}, "status": "idle", "cores": [{}]}}]}}"#,
            cores.join(",")
        );
        serde_json::from_str(&text).unwrap()
    }

    fn worker(activity: u64) -> [Seen; 1] {
        [Seen {
            pid: 7,
            program: None,
            name: "uwsgi".to_owned(),
            state: 'S',
            born: 1,
            activity,
            on_bus: false,
        }]
    }

    fn ask(
        last: &mut Option<Last>,
        requests: u64,
        busy: u8,
        activity: u64,
        seconds: u64,
    ) -> Result<(), String> {
        let now = Duration::from_secs(seconds);
        judge(&UwsgiProbe::default(), &stats(requests, busy), &worker(activity), last, now)
    }

    #[test]
    fn requests_that_take_their_time_are_no_hang() {
        let mut last = None;
        for minute in 0..60 {
            assert_eq!(ask(&mut last, 1, 4, minute, minute * 60), Ok(()), "minute {minute}");
        }
    }

    #[test]
    fn threads_that_do_nothing_at_all_are() {
        let mut last = None;
        assert_eq!(ask(&mut last, 1, 4, 9, 0), Ok(()));
        assert_eq!(ask(&mut last, 1, 4, 9, 300), Ok(()), "a client may be silent for that long");
        assert!(ask(&mut last, 1, 4, 9, 331).unwrap_err().contains("all 4 threads"));
    }

    #[test]
    fn free_threads_must_answer_who_waits() {
        let mut last = None;
        let mut ask = |waiting, requests, seconds| {
            let stats = Stats { listen_queue: waiting, ..stats(requests, 1) };
            let now = Duration::from_secs(seconds);
            judge(&UwsgiProbe::default(), &stats, &worker(seconds), &mut last, now)
        };
        assert_eq!(ask(1, 1, 0), Ok(()));
        assert_eq!(ask(1, 2, 50), Ok(()));
        assert_eq!(ask(1, 2, 100), Ok(()));
        assert!(ask(1, 2, 110).unwrap_err().contains("threads are free"));
        // Nobody comes through, as with a certificate that has expired: no restart would help.
        assert_eq!(ask(0, 2, 500), Ok(()));
        assert_eq!(ask(1, 2, 530), Ok(()));
    }

    #[test]
    fn without_a_worker_nobody_answers() {
        let none =
            Stats { listen_queue: 0, workers: vec![Worker { pid: 0, requests: 0, cores: Vec::new() }] };
        let judged = judge(&UwsgiProbe::default(), &none, &[], &mut None, Duration::ZERO);
        assert_eq!(judged.unwrap_err(), "no worker runs");
    }
}
