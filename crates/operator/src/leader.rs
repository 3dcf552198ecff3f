//! One operator writes at a time: leader election by a Lease.
//!
//! # Flow
//! Look at the lease → a pure decision → take or renew it by a replace that fails when somebody else was faster.
//!
//! # Guarantees
//! The [`Fence`] is open only while the lease is surely ours: it closes by itself [`MARGIN`] before another operator
//! may take the lease, also when this process was stopped in between or its clock is wrong. Whether another's lease
//! has ended is judged by how long *we* have seen it unchanged, never by comparing clocks of two machines.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt, Snafu};

use crate::fence::Fence;

/// How long a lease lasts without being renewed.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often the leader renews it.
pub const RENEW: Duration = Duration::from_secs(4);
/// How often others look at it.
pub const LOOK: Duration = Duration::from_secs(2);
/// How long before the lease ends the fence closes: longer than a write may take to be answered.
pub const MARGIN: Duration = Duration::from_secs(6);

/// Looking at the lease or writing it failed.
#[derive(Debug, Snafu)]
pub enum LeaderError {
    /// The API server refused or did not answer.
    #[snafu(display("failed to {verb} lease {name}"))]
    Lease {
        /// What was tried.
        verb: &'static str,
        /// The lease.
        name: String,
        /// What the API server or the connection says.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
}

impl Explain for LeaderError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }
}

/// What to do about the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// It does not exist: create it.
    Create,
    /// It is ours: renew it.
    Renew,
    /// It was released, or has not been renewed for its whole duration: take it.
    Take,
    /// Somebody else has it.
    Wait,
}

/// A lease as it was seen, and since when it has looked like that.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    spec: LeaseSpec,
    since: Instant,
}

/// What to do about a lease, by when it was first seen as it is.
pub fn decide(me: &str, lease: Option<&LeaseSpec>, seen: Option<&Seen>, now: Instant) -> Move {
    let Some(spec) = lease else { return Move::Create };
    match spec.holder_identity.as_deref() {
        None | Some("") => Move::Take,
        Some(holder) if holder == me => Move::Renew,
        Some(_) => {
            let lasts =
                spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(DURATION.as_secs());
            let unchanged_for =
                seen.filter(|seen| seen.spec == *spec).map(|seen| now.duration_since(seen.since));
            if unchanged_for.is_some_and(|passed| passed >= Duration::from_secs(lasts)) {
                Move::Take
            } else {
                Move::Wait
            }
        }
    }
}

/// One candidate for leadership.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    me: String,
    fence: Fence,
    seen: Option<Seen>,
}

impl Candidate {
    /// A candidate named `me` for the lease `name` in `namespace`; opens and closes `fence`.
    pub fn new(client: Client, namespace: &str, name: &str, me: &str, fence: Fence) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.into(), me: me.into(), fence, seen: None }
    }

    /// Waits until this candidate is the leader.
    pub async fn acquire(&mut self) {
        loop {
            match self.step().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(error = %crate::in_full(&error), "not leader yet"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Renews until the lease is lost; then the fence is closed.
    pub async fn keep(&mut self) {
        loop {
            tokio::time::sleep(RENEW).await;
            match tokio::time::timeout(RENEW, self.step()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => break,
                Ok(Err(error)) => tracing::warn!(error = %crate::in_full(&error), "lease not renewed"),
                Err(_) => tracing::warn!("lease not renewed: no answer"),
            }
            if self.fence.check().is_err() {
                break;
            }
        }
        self.fence.close();
    }

    /// Gives the lease up, so that the next operator need not wait for its end.
    pub async fn release(&mut self) {
        self.fence.close();
        let Ok(Some(mut lease)) = self.api.get_opt(&self.name).await else { return };
        let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(&self.me))
        else {
            return;
        };
        spec.holder_identity = None;
        if let Err(error) = self.api.replace(&self.name, &PostParams::default(), &lease).await {
            tracing::warn!(%error, "lease not released; it ends by itself");
        }
    }

    /// Looks and acts once. True: the lease is ours, and the fence open.
    async fn step(&mut self) -> Result<bool, LeaderError> {
        let name = self.name.clone();
        let before = Instant::now();
        let lease = self.api.get_opt(&name).await.context(LeaseSnafu { verb: "read", name: name.clone() })?;
        let spec = lease.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let action = decide(&self.me, lease.as_ref().map(|_| &spec), self.seen.as_ref(), before);
        if self.seen.as_ref().is_none_or(|seen| seen.spec != spec) {
            self.seen = Some(Seen { spec: spec.clone(), since: before });
        }
        let written = match (action, lease) {
            (Move::Wait, _) => {
                self.fence.close();
                return Ok(false);
            }
            (Move::Create, _) | (_, None) => {
                let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
                let lease = Lease { metadata, spec: Some(self.held(&LeaseSpec::default(), true)) };
                self.api.create(&PostParams::default(), &lease).await
            }
            (Move::Renew | Move::Take, Some(mut lease)) => {
                // The resource version of what we read goes along: if somebody was faster, this fails.
                lease.spec = Some(self.held(&spec, action == Move::Take));
                self.api.replace(&name, &PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(_) => {
                self.fence.open_for(before, DURATION.saturating_sub(MARGIN));
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(self.fence.check().is_ok()),
            Err(source) => Err(source).context(LeaseSnafu { verb: "write", name }),
        }
    }

    fn held(&self, before: &LeaseSpec, taken: bool) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if taken { Some(now.clone()) } else { before.acquire_time.clone() },
            renew_time: Some(now),
            lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(taken)),
            ..LeaseSpec::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(holder: Option<&str>, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: holder.map(Into::into),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn what_to_do_about_a_lease() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let theirs = spec(Some("b"), 1);
        let seen = Seen { spec: theirs.clone(), since: now };
        assert_eq!(decide("a", None, None, now), Move::Create);
        assert_eq!(decide("a", Some(&spec(None, 0)), None, now), Move::Take);
        assert_eq!(decide("a", Some(&spec(Some("a"), 0)), None, now), Move::Renew);
        assert_eq!(decide("a", Some(&theirs), None, at(100)), Move::Wait, "seen for the first time");
        assert_eq!(decide("a", Some(&theirs), Some(&seen), at(14)), Move::Wait);
        assert_eq!(decide("a", Some(&theirs), Some(&seen), at(15)), Move::Take);
        assert_eq!(
            decide("a", Some(&spec(Some("b"), 2)), Some(&seen), at(100)),
            Move::Wait,
            "it was renewed"
        );
    }

    #[test]
    fn the_fence_closes_before_others_may_take_the_lease() {
        assert!(MARGIN > Duration::ZERO && DURATION.checked_sub(MARGIN).unwrap() > 2 * RENEW);
    }
}
