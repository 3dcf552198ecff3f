//! The seam between the engine and the judgement: what the engine asks, and what it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use oaas_api::{OpenStack, OpenStackComponentStatus, OpenStackStatus};
use oaas_render::Objects;
use serde_json::Value;

use crate::actions::{ActionError, ActionRequest};
use crate::apply::Applied;
use crate::observe::Observed;

/// The judgement about clouds. [`Brain::decide`] and [`Brain::report`] are pure functions of what they are given;
/// [`Brain::act`] talks to the cloud's own services.
pub trait Brain: Send + Sync + 'static {
    /// One ensure, such as "endpoint X has URL Y".
    type Action: Clone + Send + Sync + 'static;
    /// What was decided, for the report.
    type Plan: Send + Sync + 'static;

    /// What shall be done now about a cloud.
    fn decide(&self, observed: &Observed) -> Decision<Self::Action, Self::Plan>;

    /// What is said about it. `applied` is none when the decision was to leave the objects alone.
    fn report(&self, observed: &Observed, plan: &Self::Plan, applied: Option<&Applied>) -> Report;

    /// Does one action. Must be safe to be cut off at any point and to be done again.
    fn act(
        &self,
        cloud: Arc<OpenStack>,
        action: Self::Action,
    ) -> BoxFuture<'static, Result<Value, ActionError>>;

    /// What has to be done before the objects of a cloud that is being deleted go.
    fn farewell(&self, observed: &Observed) -> Vec<ActionRequest<Self::Action>> {
        let _ = observed;
        Vec::new()
    }
}

/// What shall be done now about a cloud.
#[derive(Debug)]
pub struct Decision<A, P> {
    /// What to remember, written before anything else is done; none leaves the ledger as it is.
    pub ledger: Option<BTreeMap<String, String>>,
    /// The objects; none leaves all of them as they are (refused, paused, waiting for approval).
    pub objects: Option<Wanted>,
    /// Single objects to delete, after the objects have been applied: pods to be made anew, failed Jobs.
    pub delete: Vec<Doomed>,
    /// Actions that shall have been done.
    pub actions: Vec<ActionRequest<A>>,
    /// What was decided, for the report.
    pub plan: P,
}

/// The objects of a cloud.
#[derive(Debug, Default)]
pub struct Wanted {
    /// To be applied now.
    pub apply: Objects,
    /// Not to be touched now, and not to be pruned either: what waits for something else.
    pub held: Objects,
}

/// One object to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// Its kind: `Pod` or one of the kinds of [`Objects`].
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its unique id, so that its successor is not deleted.
    pub uid: String,
}

/// What is said about a cloud.
#[derive(Debug, Default)]
pub struct Report {
    /// Status of the resource. Times of conditions and the observed generation are filled in by the engine.
    pub status: OpenStackStatus,
    /// Status of the generated objects, by the objects' names; likewise.
    pub components: BTreeMap<String, OpenStackComponentStatus>,
    /// Things worth an Event, when they were not said before.
    pub notes: Vec<Note>,
    /// When to look again even if nothing happens.
    pub look_again: Option<Duration>,
}

/// Something worth an Event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Note {
    /// Whether it is a warning.
    pub warning: bool,
    /// In one word.
    pub reason: String,
    /// In full.
    pub message: String,
}
