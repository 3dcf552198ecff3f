//! The probes' server. Checks run in tasks of their own with a time-out and their answer is kept for a moment, so that a
//! hung target costs one connection and not one per probe, and every probe is answered in bounded time.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use futures::future::join_all;
use oaas_feedback::{Explain, Kind};
use serde::Serialize;
use snafu::{ResultExt as _, Snafu};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use crate::checks::Checker;
use crate::context::{Context, Phase, Status};
use oaas_agent_config::{Check, Health};

/// How long an answer is good.
const FRESH: Duration = Duration::from_millis(900);
/// What a probe waits beyond its check's own time-out: the check ends by then.
const SLACK: Duration = Duration::from_millis(250);

/// The probes' server could not start.
#[derive(Debug, Snafu)]
#[snafu(display("failed to answer probes on {address}"), context(name(ProbeSnafu)))]
pub struct Error {
    address: SocketAddr,
    source: std::io::Error,
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hint(&self) -> Option<String> {
        (self.source.kind() == std::io::ErrorKind::AddrInUse).then(|| {
            format!("port {} is taken: on the host network each component needs its own", self.address.port())
        })
    }
}

/// Listen, and answer from a task of its own.
pub(crate) async fn serve(health: &Health, context: &Context) -> Result<(), Error> {
    let address = SocketAddr::new(health.bind.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), health.port);
    let listener = match TcpListener::bind(address).await {
        // A host without IPv6.
        Err(source) if health.bind.is_none() && source.kind() != std::io::ErrorKind::AddrInUse => {
            TcpListener::bind(("0.0.0.0", health.port)).await
        }
        listener => listener,
    }
    .context(ProbeSnafu { address })?;
    let router = router(health, context);
    tokio::spawn(async move {
        if let Err(failed) = axum::serve(listener, router).await {
            error!(target: "oaas_agent", "the probes' server ended: {failed}");
        }
    });
    Ok(())
}

/// The server's routes.
pub(crate) fn router(health: &Health, context: &Context) -> Router {
    let list = |checks: &[Check]| -> Vec<Arc<Slot>> {
        checks.iter().map(|check| Arc::new(Slot::new(check.clone(), context.clone()))).collect()
    };
    let probes = Arc::new(Probes {
        context: context.clone(),
        startup: list(&health.startup),
        live: list(&health.live),
        ready: list(&health.ready),
    });
    Router::new()
        .route("/startup", get(startup))
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/status", get(status))
        .with_state(probes)
}

struct Probes {
    context: Context,
    startup: Vec<Arc<Slot>>,
    live: Vec<Arc<Slot>>,
    ready: Vec<Arc<Slot>>,
}

/// The answer of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Answer {
    ok: bool,
    phase: Phase,
    waits_for: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alarms: Vec<String>,
    failing: Vec<Failing>,
}

/// A check that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Failing {
    check: String,
    why: String,
}

/// Which probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kubelet {
    Startup,
    Live,
    Ready,
}

/// What the phase alone says to a probe: the answer, or that the checks decide.
fn by_phase(probe: Kubelet, phase: Phase) -> Option<bool> {
    match (phase, probe) {
        (Phase::Running, _) => None,
        // It knowingly prepares, waits or stops: a restart would not help.
        (Phase::Preparing | Phase::Stopping, Kubelet::Live) | (Phase::Stopping, Kubelet::Startup) => {
            Some(true)
        }
        (Phase::Preparing, Kubelet::Startup | Kubelet::Ready) | (Phase::Stopping, Kubelet::Ready) => {
            Some(false)
        }
    }
}

type Response = (StatusCode, Json<Answer>);

async fn startup(State(probes): State<Arc<Probes>>) -> Response {
    answer(&probes, Kubelet::Startup, &probes.startup).await
}

async fn live(State(probes): State<Arc<Probes>>) -> Response {
    answer(&probes, Kubelet::Live, &probes.live).await
}

async fn ready(State(probes): State<Arc<Probes>>) -> Response {
    answer(&probes, Kubelet::Ready, &probes.ready).await
}

async fn status(State(probes): State<Arc<Probes>>) -> Json<Status> {
    Json(probes.context.status())
}

async fn answer(probes: &Probes, probe: Kubelet, slots: &[Arc<Slot>]) -> Response {
    let Status { phase, waits_for, alarms, .. } = probes.context.status();
    let (ok, failing) = if let Some(ok) = by_phase(probe, phase) {
        (ok, Vec::new())
    } else {
        let answers = join_all(slots.iter().map(Slot::ask)).await;
        let failing: Vec<Failing> = slots
            .iter()
            .zip(answers)
            .filter_map(|(slot, answer)| {
                let check = slot.checker.name().to_owned();
                answer.err().map(|why| Failing { check, why })
            })
            .collect();
        (failing.is_empty(), failing)
    };
    // Not a check: what works is not restarted for a worker that was killed once.
    let memory = (!ok).then(crate::memory::killed).flatten();
    let failing: Vec<Failing> =
        failing.into_iter().chain(memory.map(|why| Failing { check: "memory".to_owned(), why })).collect();
    for Failing { check, why } in &failing {
        warn!(target: "oaas_agent", ?probe, check, "{why}");
    }
    let code = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Answer { ok, phase, waits_for, alarms, failing }))
}

type Verdict = Result<(), String>;

/// One check with its last answer.
struct Slot {
    checker: Checker,
    last: watch::Sender<Option<(Instant, Verdict)>>,
    asking: AtomicBool,
}

impl Slot {
    fn new(check: Check, context: Context) -> Self {
        Self {
            checker: Checker::new(check, context),
            last: watch::Sender::new(None),
            asking: AtomicBool::new(false),
        }
    }

    /// The fresh answer, or a new one.
    async fn ask(self: &Arc<Self>) -> Verdict {
        let mut last = self.last.subscribe();
        if let Some((at, verdict)) = &*last.borrow_and_update()
            && at.elapsed() < FRESH
        {
            return verdict.clone();
        }
        if !self.asking.swap(true, Ordering::AcqRel) {
            let slot = Arc::clone(self);
            // In a task of its own: a kubelet that hangs up early must not lose the answer for the next probe.
            tokio::spawn(async move {
                let verdict = slot.checker.ask().await;
                slot.last.send_replace(Some((Instant::now(), verdict)));
                slot.asking.store(false, Ordering::Release);
            });
        }
        let changed = timeout(self.checker.time_limit() + SLACK, last.changed()).await;
        match (changed, &*last.borrow()) {
            (Ok(Ok(())), Some((_, verdict))) => verdict.clone(),
            _ => Err(format!("no answer within {} ms", (self.checker.time_limit() + SLACK).as_millis())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_waits_or_stops_is_not_restarted_and_not_served() {
        for phase in [Phase::Preparing, Phase::Stopping] {
            assert_eq!(by_phase(Kubelet::Live, phase), Some(true));
            assert_eq!(by_phase(Kubelet::Ready, phase), Some(false));
        }
        assert_eq!(by_phase(Kubelet::Startup, Phase::Preparing), Some(false));
        assert_eq!(by_phase(Kubelet::Startup, Phase::Stopping), Some(true));
    }

    #[test]
    fn of_a_running_program_the_checks_decide() {
        for probe in [Kubelet::Startup, Kubelet::Live, Kubelet::Ready] {
            assert_eq!(by_phase(probe, Phase::Running), None);
        }
    }
}
