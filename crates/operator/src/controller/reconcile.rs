//! One reconciliation of one cloud: observe → decide → remember → apply → act → report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::core::ApiResource;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use oaas_api::{OpenStack, OpenStackComponent, names};
use oaas_feedback::{Explain, Kind};
use serde::Serialize;
use serde_json::json;
use snafu::{ResultExt, Snafu};

use super::{Context, WARNINGS_EVERY, deletion, settle};
use crate::apply::{Applied, Key, Owner, WriteError, write};
use crate::brain::{Brain, Doomed, Note, Report};
use crate::ledger::LedgerError;
use crate::metrics::ResultLabels;
use crate::observe::{
    Failure, Known, Observed, is_done, is_ready, observe, storage_classes, user_secrets, warnings,
};

/// A pod that is younger than this is not asked about: it is still starting.
const YOUNG: SignedDuration = SignedDuration::from_secs(3);
/// Looked at again after so long even if nothing happens, against events that got lost.
const AT_LATEST: Duration = Duration::from_mins(5);
/// The user's Secrets are not watched, since the operator watches what carries its label alone: a cloud that refers to
/// some is looked at so often.
const SECRETS_EVERY: Duration = Duration::from_secs(10);

/// A reconciliation did not come to its end; it is tried again.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum ReconcileError {
    /// Something could not be written.
    #[snafu(display("failed to reconcile cloud {cloud}"))]
    Write {
        /// The cloud.
        cloud: String,
        /// Why.
        #[snafu(source(from(WriteError, Box::new)))]
        source: Box<WriteError>,
    },
    /// The ledger could not be written.
    #[snafu(display("failed to reconcile cloud {cloud}"))]
    Ledger {
        /// The cloud.
        cloud: String,
        /// Why.
        source: LedgerError,
    },
    /// Some objects could not be applied.
    #[snafu(display("failed to apply {count} objects of cloud {cloud}, first: {first}"))]
    Objects {
        /// The cloud.
        cloud: String,
        /// How many.
        count: usize,
        /// The first one in full.
        first: String,
    },
}

impl Explain for ReconcileError {
    fn kind(&self) -> Kind {
        match self {
            Self::Write { source, .. } => source.kind(),
            Self::Ledger { source, .. } => source.kind(),
            Self::Objects { .. } => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Write { source, .. } => source.hint(),
            Self::Ledger { source, .. } => source.hint(),
            Self::Objects { .. } => None,
        }
    }
}

/// The owner of a cloud's objects.
pub(super) fn owner_of(cloud: &OpenStack) -> Owner {
    Owner {
        namespace: cloud.namespace().unwrap_or_default(),
        name: cloud.name_any(),
        uid: cloud.uid().unwrap_or_default(),
    }
}

/// One reconciliation. Says when to look again.
pub(super) async fn reconcile<B: Brain>(
    cloud: &Arc<OpenStack>,
    context: &Arc<Context<B>>,
    now: Timestamp,
) -> Result<Action, ReconcileError> {
    let owner = owner_of(cloud);
    let name = || owner.name.clone();
    let known = known(context, cloud, &owner).await;
    let mut observed = observe(&context.cache, cloud, now, known);
    if cloud.metadata.deletion_timestamp.is_some() {
        return deletion::delete(cloud, &owner, &observed, context, now).await;
    }
    context
        .registry
        .add(&context.fence, &context.metrics, &owner)
        .await
        .context(WriteSnafu { cloud: name() })?;
    if !cloud.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER) {
        set_finalizer(cloud, context, true).await.context(WriteSnafu { cloud: name() })?;
    }

    let decision = context.brain.decide(&observed);
    if let Some(entries) = &decision.ledger {
        let swapped =
            observed.ledger.swap(&context.client, &context.fence, &context.metrics, &owner, entries).await;
        if let Some(map) = swapped.context(LedgerSnafu { cloud: name() })? {
            remember_write(context, "ConfigMap", &map);
            observed.ledger = crate::ledger::Ledger::read(Some(&map));
        }
    }
    let applied = match &decision.objects {
        Some(wanted) => Some(context.applier.apply(&owner, &wanted.apply, &wanted.held).await),
        None => None,
    };
    // Whom to replace was judged by what is live, so it is right also when something could not be applied.
    delete_each(context, &owner, &decision.delete).await.context(WriteSnafu { cloud: name() })?;
    let due = ask(context, cloud, &owner, &decision.actions, now);
    // Outcomes that were there at once are not waited for; the next event brings them.
    let report = context.brain.report(&observed, &decision.plan, applied.as_ref());
    let latest = if oaas_plan::secret_keys(&cloud.spec).is_empty() { AT_LATEST } else { SECRETS_EVERY };
    let look_again = report.look_again.unwrap_or(latest).min(latest);
    let (failures, error) = failures_of(&owner, applied);
    context.remember(&owner.uid, |memory| memory.failures.clone_from(&failures));
    publish(cloud, context, &observed, report, &failures, now).await.context(WriteSnafu { cloud: name() })?;
    if let Some(error) = error {
        return Err(error);
    }
    let until_due = due.map(|due| Duration::try_from(due.duration_since(now)).unwrap_or_default());
    Ok(Action::requeue(
        until_due.map_or(look_again, |due| due.min(look_again)).max(Duration::from_millis(200)),
    ))
}

/// What the operator itself knows of a cloud; asks for warnings when a pod is not ready.
async fn known<B: Brain>(context: &Context<B>, cloud: &OpenStack, owner: &Owner) -> Known {
    let now = Timestamp::now();
    let pods = context.cache.pods_of(&owner.namespace, &owner.name);
    let old = |pod: &Pod| pod.creation_timestamp().is_none_or(|made| now.duration_since(made.0) > YOUNG);
    let troubled = pods.iter().any(|pod| !is_ready(pod) && !is_done(pod) && old(pod));
    let due = context.remember(&owner.uid, |memory| {
        if !troubled {
            memory.warnings.clear();
        }
        troubled && memory.warnings_at.is_none_or(|at| at.elapsed() > WARNINGS_EVERY)
    });
    if due {
        match warnings(&context.client, &owner.namespace).await {
            Ok(found) => context.remember(&owner.uid, |memory| {
                memory.warnings = found;
                memory.warnings_at = Some(Instant::now());
            }),
            Err(error) => tracing::debug!(%error, "warnings about pods not read"),
        }
    }
    let wanted = oaas_plan::secret_keys(&cloud.spec);
    let before = context.remember(&owner.uid, |memory| memory.user_secrets.clone());
    let user_secrets = user_secrets(&context.client, &owner.namespace, &wanted, &before).await;
    let storage_classes = storage_classes(&context.client, &cloud.spec).await;
    let (warnings, failures) = context.remember(&owner.uid, |memory| {
        memory.user_secrets.clone_from(&user_secrets);
        (memory.warnings.clone(), memory.failures.clone())
    });
    let outcomes = context.actions.outcomes(&owner.uid);
    Known { warnings, outcomes, failures, user_secrets, storage_classes }
}

/// Starts the actions that are due.
pub(super) fn ask<B: Brain>(
    context: &Arc<Context<B>>,
    cloud: &Arc<OpenStack>,
    owner: &Owner,
    wanted: &[crate::actions::ActionRequest<B::Action>],
    now: Timestamp,
) -> Option<Timestamp> {
    let act = |action| context.brain.act(Arc::clone(cloud), action);
    let (to, metrics) = (context.concerns.clone(), Arc::clone(&context.metrics));
    let about = ObjectRef::from_obj(cloud.as_ref());
    let ended = move |ok: bool| {
        metrics.actions.get_or_create(&ResultLabels { result: if ok { "ok" } else { "failed" } }).inc();
        if to.send(about.clone()).is_err() {
            tracing::debug!("action ended after the loop");
        }
    };
    // Actions write to the cloud's services, so they need the lease as well.
    if context.fence.check().is_err() {
        return None;
    }
    context.actions.ask(&owner.uid, wanted, now, act, ended)
}

async fn delete_each<B: Brain>(
    context: &Context<B>,
    owner: &Owner,
    doomed: &[Doomed],
) -> Result<(), WriteError> {
    for one in doomed {
        let pod = ApiResource::erase::<Pod>(&());
        let kind = context.cache.kind(&one.kind);
        let resource = match kind {
            Some(kind) => kind.resource(),
            None if one.kind == pod.kind => &pod,
            None => {
                tracing::error!(kind = %one.kind, name = %one.name, "asked to delete a kind that clouds do not have");
                continue;
            }
        };
        context.applier.delete(&owner.namespace, resource, &one.name, &one.uid).await?;
        if let Some(kind) = kind {
            kind.deleted(&owner.namespace, &one.name, &one.uid);
        }
    }
    Ok(())
}

fn failures_of(owner: &Owner, applied: Option<Applied>) -> (Vec<Failure>, Option<ReconcileError>) {
    let failed = applied.map(|applied| applied.failed).unwrap_or_default();
    let failures: Vec<Failure> =
        failed.iter().map(|error| Failure { key: error.key().clone(), message: error.in_full() }).collect();
    let error = failures.first().map(|first| {
        ObjectsSnafu { cloud: owner.name.clone(), count: failures.len(), first: first.message.clone() }
            .build()
    });
    (failures, error)
}

/// Writes the statuses that differ and publishes the notes that are new.
async fn publish<B: Brain>(
    cloud: &Arc<OpenStack>,
    context: &Context<B>,
    observed: &Observed,
    report: Report,
    failures: &[Failure],
    now: Timestamp,
) -> Result<(), WriteError> {
    let status = settle::cloud(cloud.status.as_ref(), report.status, cloud.metadata.generation, now);
    if let Some(phase) = status.phase {
        context.count_phase(&cloud.uid().unwrap_or_default(), phase.to_string());
    }
    let mut notes = report.notes;
    notes.extend(failures.iter().map(|failure| Note {
        warning: true,
        reason: "ApplyFailed".into(),
        message: failure.message.clone(),
    }));
    context.say(cloud, notes).await;
    if cloud.status.as_ref() != Some(&status) {
        write_status(context, cloud.as_ref(), &status).await?;
    }
    for (name, status) in report.components {
        // Those that were made just now come with the watch; their status is written then.
        let Some(component) = observed.components.iter().find(|component| component.name_any() == name)
        else {
            continue;
        };
        let status = settle::component(component.status.as_ref(), status, component.metadata.generation, now);
        if component.status.as_ref() != Some(&status) {
            let answer: OpenStackComponent = write_status(context, component.as_ref(), &status).await?;
            remember_write(context, "OpenStackComponent", &answer);
        }
    }
    Ok(())
}

/// Applies the status of one object.
pub(super) async fn write_status<B: Brain, K>(
    context: &Context<B>,
    object: &K,
    status: &impl Serialize,
) -> Result<K, WriteError>
where
    K: oaas_render::objects::Kind + Resource<Scope = k8s_openapi::NamespaceResourceScope>,
{
    let (kind, name) = (K::kind(&()).into_owned(), object.name_any());
    let body = json!({
        "apiVersion": K::api_version(&()), "kind": kind, "metadata": { "name": name }, "status": status,
    });
    let api: Api<K> = Api::namespaced(context.client.clone(), &object.namespace().unwrap_or_default());
    let parameters = PatchParams::apply(names::MANAGER).force();
    let key = Key { kind, name: name.clone() };
    let patch = Patch::Apply(&body);
    let request = api.patch_status(&name, &parameters, &patch);
    write(&context.fence, &context.metrics, "status", &key, request).await
}

fn remember_write<B: Brain>(context: &Context<B>, kind: &str, answer: &impl Serialize) {
    if let (Some(kind), Ok(answer)) = (context.cache.kind(kind), serde_json::to_value(answer)) {
        kind.wrote(&answer);
    }
}

/// Puts our finalizer on a cloud, or takes it off. Fails when the resource changed since it was read.
pub(super) async fn set_finalizer<B: Brain>(
    cloud: &OpenStack,
    context: &Context<B>,
    wanted: bool,
) -> Result<(), WriteError> {
    let mut finalizers = cloud.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != names::FINALIZER);
    if wanted {
        finalizers.push(names::FINALIZER.into());
    }
    let body = json!({
        "metadata": { "resourceVersion": cloud.resource_version(), "finalizers": finalizers },
    });
    let api: Api<OpenStack> = Api::namespaced(context.client.clone(), &cloud.namespace().unwrap_or_default());
    let parameters = PatchParams { field_manager: Some(names::MANAGER.into()), ..PatchParams::default() };
    let name = cloud.name_any();
    let key = Key { kind: "OpenStack".into(), name: name.clone() };
    let patch = Patch::Merge(&body);
    let request = api.patch(&name, &parameters, &patch);
    match write(&context.fence, &context.metrics, "finalizer", &key, request).await {
        Ok(_) => Ok(()),
        // Gone already.
        Err(error) if error.code() == Some(404) && !wanted => Ok(()),
        Err(error) => Err(error),
    }
}
