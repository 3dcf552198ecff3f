//! Actions in the background: asked for again at every reconciliation, done once, tried again when they fail.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

/// Actions at once, of all clouds together: each may hold connections and a few MB.
const AT_ONCE: usize = 16;

/// An action that shall have been done.
#[derive(Debug, Clone)]
pub struct ActionRequest<A> {
    /// What identifies it: changes when what it ensures changes, so that it is done again.
    pub key: String,
    /// How old its success may become before it is done again; none is for ever.
    pub refresh: Option<Duration>,
    /// How long it may take.
    pub limit: Duration,
    /// What to do.
    pub action: A,
}

/// An action did not succeed (yet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionError {
    /// Why, in full.
    pub message: String,
    /// When to try again; none leaves it to the engine (2 s, doubled up to 60 s).
    pub retry_after: Option<Duration>,
}

/// How an action goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is being done.
    Running {
        /// Since when.
        since: Timestamp,
        /// What it failed with the last time.
        last: Option<String>,
    },
    /// It was done.
    Done {
        /// When.
        at: Timestamp,
        /// What it found.
        result: Value,
    },
    /// It failed, and is tried again.
    Failed {
        /// When.
        at: Timestamp,
        /// Why, in full.
        message: String,
        /// How often in a row.
        tries: u32,
        /// When it is tried again.
        retry: Timestamp,
    },
}

/// What to do about an action that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Start,
    WaitUntil(Timestamp),
    Leave,
}

/// Pure: what to do about an action, by how it went so far.
fn next(outcome: Option<&Outcome>, refresh: Option<Duration>, now: Timestamp) -> Next {
    let due = match outcome {
        None => return Next::Start,
        Some(Outcome::Running { .. }) => return Next::Leave,
        Some(Outcome::Done { at, .. }) => match refresh {
            None => return Next::Leave,
            Some(refresh) => later(*at, refresh),
        },
        Some(Outcome::Failed { retry, .. }) => *retry,
    };
    if now >= due { Next::Start } else { Next::WaitUntil(due) }
}

fn later(from: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    from.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The pause after so many failures in a row.
fn pause(tries: u32) -> Duration {
    Duration::from_secs(2_u64.saturating_pow(tries.min(6)).min(60))
}

#[derive(Default)]
struct Slot {
    outcome: Option<Outcome>,
    tries: u32,
    running: Option<AbortHandle>,
}

type Slots = Arc<Mutex<HashMap<String, BTreeMap<String, Slot>>>>;

/// The actions of all clouds.
#[derive(Clone)]
pub struct Actions {
    slots: Slots,
    room: Arc<Semaphore>,
}

impl Default for Actions {
    fn default() -> Self {
        Self { slots: Slots::default(), room: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Actions {
    /// How the actions of a cloud go, by key.
    pub fn outcomes(&self, cloud: &str) -> BTreeMap<String, Outcome> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let of_cloud = slots.get(cloud).into_iter().flatten();
        of_cloud.filter_map(|(key, slot)| Some((key.clone(), slot.outcome.clone()?))).collect()
    }

    /// Starts what has to be started of everything asked for now, and drops what is not asked for any more. `ended`
    /// is called whenever one ends. Returns when the next one is due.
    pub fn ask<A: Clone>(
        &self,
        cloud: &str,
        wanted: &[ActionRequest<A>],
        now: Timestamp,
        act: impl Fn(A) -> BoxFuture<'static, Result<Value, ActionError>>,
        ended: impl Fn(bool) + Clone + Send + Sync + 'static,
    ) -> Option<Timestamp> {
        let keys: BTreeSet<&str> = wanted.iter().map(|request| request.key.as_str()).collect();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let of_cloud = slots.entry(cloud.to_owned()).or_default();
        of_cloud.retain(|key, slot| {
            let keep = keys.contains(key.as_str());
            if let Some(running) = slot.running.take_if(|_| !keep) {
                running.abort();
            }
            keep
        });
        let mut soonest: Option<Timestamp> = None;
        for request in wanted {
            let slot = of_cloud.entry(request.key.clone()).or_default();
            match next(slot.outcome.as_ref(), request.refresh, now) {
                Next::Leave => {}
                Next::WaitUntil(due) => soonest = Some(soonest.map_or(due, |soonest| soonest.min(due))),
                Next::Start => {
                    let last = match &slot.outcome {
                        Some(Outcome::Failed { message, .. }) => Some(message.clone()),
                        _ => None,
                    };
                    slot.outcome = Some(Outcome::Running { since: now, last });
                    let work = act(request.action.clone());
                    slot.running = Some(self.spawn(cloud, request, work, ended.clone()));
                }
            }
        }
        if of_cloud.is_empty() {
            slots.remove(cloud);
        }
        soonest
    }

    fn spawn<A>(
        &self,
        cloud: &str,
        request: &ActionRequest<A>,
        work: BoxFuture<'static, Result<Value, ActionError>>,
        ended: impl Fn(bool) + Send + Sync + 'static,
    ) -> AbortHandle {
        let (slots, room) = (Arc::clone(&self.slots), Arc::clone(&self.room));
        let (cloud, key, limit) = (cloud.to_owned(), request.key.clone(), request.limit);
        let run = async move {
            let _place = room.acquire().await;
            let result = tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                Err(ActionError {
                    message: format!("not done within {} s", limit.as_secs()),
                    retry_after: None,
                })
            });
            let ok = result.is_ok();
            {
                let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(slot) = slots.get_mut(&cloud).and_then(|of_cloud| of_cloud.get_mut(&key)) else {
                    return;
                };
                slot.finish(result, Timestamp::now());
            }
            ended(ok);
        };
        tokio::spawn(run).abort_handle()
    }
}

impl Slot {
    fn finish(&mut self, result: Result<Value, ActionError>, at: Timestamp) {
        self.running = None;
        self.outcome = Some(match result {
            Ok(result) => {
                self.tries = 0;
                Outcome::Done { at, result }
            }
            Err(error) => {
                self.tries += 1;
                let retry = later(at, error.retry_after.unwrap_or_else(|| pause(self.tries)));
                Outcome::Failed { at, message: error.message, tries: self.tries, retry }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn request(key: &str) -> ActionRequest<&'static str> {
        ActionRequest { key: key.into(), refresh: None, limit: Duration::from_millis(50), action: "x" }
    }

    #[test]
    fn what_to_do_next() {
        let done = Outcome::Done { at: at(100), result: Value::Null };
        let failed = Outcome::Failed { at: at(100), message: String::new(), tries: 1, retry: at(102) };
        let minute = Some(Duration::from_mins(1));
        assert_eq!(next(None, None, at(0)), Next::Start);
        assert_eq!(next(Some(&done), None, at(9999)), Next::Leave);
        assert_eq!(next(Some(&done), minute, at(159)), Next::WaitUntil(at(160)));
        assert_eq!(next(Some(&done), minute, at(160)), Next::Start);
        assert_eq!(next(Some(&failed), None, at(101)), Next::WaitUntil(at(102)));
        assert_eq!(next(Some(&failed), None, at(102)), Next::Start);
        assert_eq!(next(Some(&Outcome::Running { since: at(1), last: None }), None, at(9999)), Next::Leave);
    }

    #[test]
    fn pauses_grow_to_a_minute() {
        let pauses: Vec<u64> = (1..8).map(|tries| pause(tries).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
    }

    #[tokio::test]
    async fn each_is_done_once_and_its_end_is_told() {
        let actions = Actions::default();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let act = |_: &'static str| {
            let count = Arc::clone(&count);
            async move { Ok(json!(count.fetch_add(1, std::sync::atomic::Ordering::SeqCst))) }.boxed()
        };
        let ended = move |ok| tell.send(ok).unwrap();
        for _ in 0..3 {
            actions.ask("cloud", &[request("a")], Timestamp::now(), act, ended.clone());
        }
        assert_eq!(told.recv().await, Some(true));
        actions.ask("cloud", &[request("a")], Timestamp::now(), act, ended);
        assert!(
            matches!(&actions.outcomes("cloud")["a"], Outcome::Done { result, .. } if *result == json!(0))
        );
        assert!(told.try_recv().is_err());
    }

    #[tokio::test]
    async fn what_takes_too_long_fails_and_what_is_not_asked_for_is_dropped() {
        let actions = Actions::default();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let act = |_: &'static str| futures::future::pending().boxed();
        let ended = move |ok| tell.send(ok).unwrap();
        actions.ask("cloud", &[request("a"), request("b")], Timestamp::now(), act, ended.clone());
        actions.ask("cloud", &[request("a")], Timestamp::now(), act, ended);
        assert_eq!(told.recv().await, Some(false));
        let outcomes = actions.outcomes("cloud");
        assert_eq!(outcomes.len(), 1);
        assert!(
            matches!(&outcomes["a"], Outcome::Failed { message, tries: 1, .. } if message.contains("not done"))
        );
    }
}
