//! The loop: every event about a cloud leads to one reconciliation of it.
//!
//! # Flow
//! events → debounced by cloud → [`reconcile`] → requeued with a growing pause when it failed.
//!
//! # Guarantees
//! One cloud is never reconciled twice at once; clouds do not wait for each other. Nothing is done before every watch
//! has listed, nor without the lease. The process ends when it loses the lease: what it had begun cannot write any
//! more, and a fresh process has no stale memory.

mod context;
mod deletion;
mod error;
mod reconcile;
mod registry;
pub mod settle;
mod steps;

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use kube::runtime::controller::{self, Action, applier};
use kube::runtime::events::{Recorder, Reporter};
use kube::{Client, ResourceExt};
use oaas_api::OpenStack;
use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt, Snafu};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::actions::Actions;
use crate::apply::Applier;
use crate::brain::Brain;
use crate::cache::{Cache, CloudRef};
use crate::fence::Fence;
use crate::leader::Candidate;
use crate::metrics::{Metrics, ResultLabels};
use crate::web;
use context::Context;
pub use context::Options;
pub use error::ReconcileError;
pub use registry::{NAME as REGISTRY, Registry};

/// Events of one moment lead to one reconciliation: those that come so soon after the first. The window does not move
/// with each event, so that a stream of events cannot put a reconciliation off.
const WINDOW: Duration = Duration::from_millis(50);
/// Clouds at once.
const CONCURRENCY: u16 = 8;
/// Longest wait for the first lists of all watches.
const FIRST_LISTS: Duration = Duration::from_mins(1);
/// Longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The operator ended.
#[derive(Debug, Snafu)]
pub enum RunError {
    /// Another operator is the leader now.
    #[snafu(display("failed to keep the lease: another operator may be the leader now"))]
    LostLease,
    /// Some watches could not list.
    #[snafu(display("failed to list {} within {} s", kinds.join(", "), FIRST_LISTS.as_secs()))]
    NoLists {
        /// The kinds.
        kinds: Vec<String>,
    },
    /// The port for probes and metrics is not to be had.
    #[snafu(display("failed to listen on {address} for probes and metrics"))]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The loop has ended by itself.
    #[snafu(display("failed to go on: the loop has ended"))]
    Ended,
}

impl Explain for RunError {
    fn kind(&self) -> Kind {
        match self {
            Self::LostLease => Kind::Busy,
            Self::NoLists { .. } | Self::Listen { .. } => Kind::Environment,
            Self::Ended => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::LostLease => Some("the pod is started again and takes part in the next election".into()),
            Self::NoLists { .. } => Some(
                "are the custom resource definitions installed, and may the operator list these kinds? `oaas up` \
                 sets both"
                    .into(),
            ),
            Self::Listen { .. } => Some("choose another address with --listen".into()),
            Self::Ended => None,
        }
    }
}

/// Runs the operator until `stop` is done, the lease is lost, or something it needs is missing.
pub async fn run<B: Brain>(
    client: Client,
    brain: B,
    options: Options,
    stop: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let metrics = Arc::new(Metrics::default());
    run_with(client, Arc::new(brain), options, metrics, stop).await
}

/// Like [`run`], with metrics that the caller sees.
pub async fn run_with<B: Brain>(
    client: Client,
    brain: Arc<B>,
    options: Options,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let fence = Fence::closed();
    let mut tasks = JoinSet::new();
    let (concerns, events) = unbounded_channel::<CloudRef>();
    let cache = Arc::new(Cache::start(&client, &concerns, &mut tasks));

    let address = options.listen;
    let listener = tokio::net::TcpListener::bind(address).await.context(ListenSnafu { address })?;
    let state = web::State::new(Arc::clone(&metrics));
    tasks.spawn(web::serve(listener, state.clone()));
    tasks.spawn(web::heartbeat(Arc::clone(&metrics)));

    let mut candidate =
        Candidate::new(client.clone(), &options.namespace, "oaas-operator", &options.identity, fence.clone());
    let mut stop = std::pin::pin!(stop);
    tokio::select! {
        ready = cache.ready(FIRST_LISTS) => ready.map_err(|kinds| RunError::NoLists { kinds })?,
        () = &mut stop => return Ok(()),
    }
    state.ready();
    tokio::select! {
        () = candidate.acquire() => {}
        () = &mut stop => return Ok(()),
    }
    tracing::info!(identity = %options.identity, "leader");
    metrics.leader.set(1);

    let reporter = Reporter { controller: "oaas-operator".into(), instance: Some(options.identity.clone()) };
    let context = Arc::new(Context {
        brain,
        client: client.clone(),
        applier: Applier::new(client.clone(), Arc::clone(&cache), fence.clone(), Arc::clone(&metrics)),
        actions: Actions::default(),
        registry: Registry::new(client.clone(), &options.namespace),
        fence,
        metrics: Arc::clone(&metrics),
        recorder: Recorder::new(client, reporter),
        concerns,
        cache: Arc::clone(&cache),
        options,
        memory: Mutex::new(HashMap::new()),
    });
    let queue = gathered(events).map(Ok::<_, std::convert::Infallible>);
    let config = controller::Config::default().concurrency(CONCURRENCY);
    let all = applier(
        |cloud, context| Box::pin(one(cloud, context)),
        |cloud, _, context: Arc<Context<B>>| {
            let uid = cloud.uid().unwrap_or_default();
            let tries = context.remember(&uid, |memory| memory.failed_in_a_row);
            Action::requeue(pause(tries))
        },
        Arc::clone(&context),
        cache.clouds.clone(),
        queue.boxed(),
        config,
    );
    // Failures are logged and counted where they happen; an event about a cloud that is gone is nothing to do.
    let mut all = std::pin::pin!(all.into_stream().for_each(|_| async {}));
    let ended = tokio::select! {
        () = &mut all => EndedSnafu.fail(),
        () = candidate.keep() => LostLeaseSnafu.fail(),
        () = &mut stop => Ok(()),
    };
    metrics.leader.set(0);
    candidate.release().await;
    if let Some(path) = &context.options.metrics_file
        && let Err(error) = tokio::fs::write(path, metrics.text()).await
    {
        tracing::warn!(%error, path = %path.display(), "metrics not written");
    }
    ended
}

/// The events of each [`WINDOW`], each once.
fn gathered<T: Eq + Hash + Send + 'static>(events: UnboundedReceiver<T>) -> impl Stream<Item = T> + Send {
    let batches = futures::stream::unfold(events, |mut events| async move {
        let mut batch = HashSet::from([events.recv().await?]);
        tokio::time::sleep(WINDOW).await;
        while let Ok(next) = events.try_recv() {
            batch.insert(next);
        }
        Some((futures::stream::iter(batch), events))
    });
    batches.flatten()
}

/// The pause after so many failures in a row: 1 s, doubled.
fn pause(tries: u32) -> Duration {
    Duration::from_secs(2_u64.saturating_pow(tries.saturating_sub(1).min(6))).min(LONGEST_PAUSE)
}

/// One reconciliation: traced, timed, counted.
async fn one<B: Brain>(cloud: Arc<OpenStack>, context: Arc<Context<B>>) -> Result<Action, ReconcileError> {
    let span = tracing::info_span!(
        "cloud",
        namespace = cloud.namespace().unwrap_or_default(),
        name = cloud.name_any(),
        generation = cloud.metadata.generation.unwrap_or_default()
    );
    let uid = cloud.uid().unwrap_or_default();
    async {
        let start = Instant::now();
        let result = reconcile::reconcile(&cloud, &context, Timestamp::now()).await;
        context.metrics.seconds.observe(start.elapsed().as_secs_f64());
        let label = if result.is_ok() { "ok" } else { "failed" };
        context.metrics.reconciles.get_or_create(&ResultLabels { result: label }).inc();
        match &result {
            Ok(_) => context.remember(&uid, |memory| memory.failed_in_a_row = 0),
            Err(error) => {
                context.remember(&uid, |memory| {
                    memory.failed_in_a_row = memory.failed_in_a_row.saturating_add(1);
                });
                tracing::warn!(error = %crate::in_full(error), "failed to reconcile");
            }
        }
        result
    }
    .instrument(span)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute() {
        let pauses: Vec<u64> = (1..9).map(|tries| pause(tries).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[tokio::test]
    async fn events_of_one_moment_are_one_and_a_stream_of_them_puts_nothing_off() {
        let (to, events) = unbounded_channel();
        let sender = tokio::spawn(async move {
            for number in 0..40 {
                to.send(number % 2).unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let mut gathered = std::pin::pin!(gathered(events));
        let start = Instant::now();
        gathered.next().await.unwrap();
        assert!(start.elapsed() < WINDOW * 3, "the first came after {:?}", start.elapsed());
        let rest = gathered.count().await;
        assert!(rest < 30, "{rest} of 40 events were passed on");
        sender.await.unwrap();
    }
}
