//! The traffic itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use crate::cloud::Cloud;
use crate::tally::Tally;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An API's versions, without a token.
    Get,
    /// Networks.
    List,
    /// A new image record.
    Write,
    /// A line of a server's console.
    Compute,
    /// A new token.
    Token,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Get, Self::List, Self::Write, Self::Compute, Self::Token];

    /// How often it is asked.
    pub fn each(self) -> Duration {
        Duration::from_millis(match self {
            Self::Get => 50,
            Self::List | Self::Write | Self::Compute => 250,
            Self::Token => 1000,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Write => "write",
            Self::Compute => "compute",
            Self::Token => "token",
        })
    }
}

/// Acknowledged writes that are looked for at once.
const AT_ONCE: usize = 8;

/// What users would have noticed.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How long the traffic was, in seconds.
    pub seconds: f64,
    /// By kind; `get` by service, such as `get identity`.
    pub kinds: BTreeMap<String, Tally>,
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Those of them that were not there in the end.
    pub lost: Vec<String>,
}

impl Report {
    /// Failures of all kinds.
    pub fn failed(&self) -> u64 {
        self.kinds.values().map(|tally| tally.failed).sum()
    }

    /// The longest gap of any kind, in seconds.
    pub fn longest_gap(&self) -> f64 {
        self.kinds.values().map(|tally| tally.longest_gap).fold(0.0, f64::max)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{:<22} {:>7} {:>7} {:>12} {:>10}", "", "sent", "failed", "longest gap", "slowest")?;
        for (kind, tally) in &self.kinds {
            writeln!(
                out,
                "{kind:<22} {:>7} {:>7} {:>10.2} s {:>8.2} s",
                tally.sent, tally.failed, tally.longest_gap, tally.slowest
            )?;
            for (why, count) in &tally.failures {
                writeln!(out, "  {count} × {why}")?;
            }
        }
        writeln!(out, "{} writes acknowledged, {} lost", self.acknowledged, self.lost.len())?;
        for lost in &self.lost {
            writeln!(out, "  lost: {lost}")?;
        }
        Ok(())
    }
}

/// When the traffic ends.
#[derive(Clone)]
pub struct Until(Arc<tokio::sync::Notify>);

impl Default for Until {
    fn default() -> Self {
        Self(Arc::new(tokio::sync::Notify::new()))
    }
}

impl Until {
    /// Ends it.
    pub fn now(&self) {
        self.0.notify_one();
    }
}

#[derive(Default)]
struct Shared {
    tallies: BTreeMap<String, Tally>,
    written: Vec<String>,
}

/// Asks until told to stop. Each kind has been answered once before `began` is called.
pub async fn run(cloud: Cloud, until: Until, began: impl FnOnce()) -> Result<Report, String> {
    let cloud = Arc::new(cloud);
    let services: Arc<[String]> = cloud.services().into();
    for kind in Kind::ALL {
        let name = "oaas-traffic-first";
        let written = ask(&cloud, kind, &services[0], name).await.map_err(|why| format!("{kind}: {why}"))?;
        if let Some(image) = written {
            cloud.delete(&image).await?;
        }
    }
    let start = Instant::now();
    let shared = Arc::new(Mutex::new(Shared::default()));
    began();
    let mut loops = JoinSet::new();
    for kind in Kind::ALL {
        loops.spawn(ask_steadily(
            Arc::clone(&cloud),
            kind,
            Arc::clone(&services),
            start,
            Arc::clone(&shared),
        ));
    }
    until.0.notified().await;
    let ended = start.elapsed();
    // What is under way may still be answered, but nothing new is sent.
    loops.abort_all();
    while loops.join_next().await.is_some() {}
    let Shared { mut tallies, written } =
        std::mem::take(&mut *shared.lock().unwrap_or_else(PoisonError::into_inner));
    for tally in tallies.values_mut() {
        tally.end(ended);
    }
    let acknowledged = written.len();
    let lost = verify(&cloud, written).await;
    Ok(Report { seconds: ended.as_secs_f64(), kinds: tallies, acknowledged, lost })
}

/// One request each [`Kind::each`], however long the former ones take.
async fn ask_steadily(
    cloud: Arc<Cloud>,
    kind: Kind,
    services: Arc<[String]>,
    start: Instant,
    shared: Arc<Mutex<Shared>>,
) {
    let mut ticks = tokio::time::interval(kind.each());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Ends with this loop, and with it what is under way: the traffic is over then.
    let mut requests = JoinSet::new();
    let mut number = 0_usize;
    loop {
        ticks.tick().await;
        while requests.try_join_next().is_some() {}
        let service = services[number % services.len()].clone();
        number += 1;
        let (cloud, shared) = (Arc::clone(&cloud), Arc::clone(&shared));
        requests.spawn(async move {
            let sent = start.elapsed();
            let answer = ask(&cloud, kind, &service, &format!("oaas-traffic-{number}")).await;
            let name = if kind == Kind::Get { format!("get {service}") } else { kind.to_string() };
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let tally = shared.tallies.entry(name).or_default();
            match answer {
                Ok(written) => {
                    tally.success(sent, start.elapsed());
                    shared.written.extend(written);
                }
                Err(why) => tally.failure(&why),
            }
        });
    }
}

/// One request; the id of what it wrote.
async fn ask(cloud: &Cloud, kind: Kind, service: &str, name: &str) -> Result<Option<String>, String> {
    match kind {
        Kind::Get => cloud.greet(service).await.map(|()| None),
        Kind::List => cloud.list().await.map(|()| None),
        Kind::Write => cloud.write(name).await.map(Some),
        Kind::Compute => cloud.compute().await.map(|()| None),
        Kind::Token => cloud.new_token().await.map(|()| None),
    }
}

/// Looks for every acknowledged write, and deletes it. Those that are not there.
async fn verify(cloud: &Arc<Cloud>, written: Vec<String>) -> Vec<String> {
    let mut lost = Vec::new();
    let mut looks = JoinSet::new();
    let mut left = written.into_iter();
    loop {
        while looks.len() < AT_ONCE
            && let Some(image) = left.next()
        {
            let cloud = Arc::clone(cloud);
            looks.spawn(async move {
                let why = cloud.is_there(&image).await.err();
                // It is there, which is what counts; a leftover record does nobody harm.
                drop(cloud.delete(&image).await);
                why.map(|why| format!("{image} ({why})"))
            });
        }
        match looks.join_next().await {
            Some(found) => lost.extend(found.ok().flatten()),
            None => return lost,
        }
    }
}
