//! One reconciliation of one cloud: observe → decide → remember → apply → act → report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::core::ApiResource;
use kube::runtime::controller::Action;
use oaas_api::{OpenStack, OpenStackComponent, names};
use serde::Serialize;
use snafu::ResultExt;

use super::context::Context;
use super::error::{LedgerSnafu, ObjectsSnafu, ReconcileError, WriteSnafu};
use super::steps::{ask, set_finalizer, write_status};
use super::{deletion, settle};
use crate::apply::{Applied, Owner, WriteError};
use crate::brain::{Brain, Doomed, Note, Report};
use crate::observe::{
    Failure, Known, Observed, is_done, is_ready, observe, storage_classes, user_secrets, warnings,
};

/// How often warnings about pods are asked for at most.
const WARNINGS_EVERY: Duration = Duration::from_secs(5);
/// A pod that is younger than this is not asked about: it is still starting.
const YOUNG: SignedDuration = SignedDuration::from_secs(3);
/// Looked at again after so long even if nothing happens, against events that got lost.
const AT_LATEST: Duration = Duration::from_mins(5);
/// The user's Secrets are not watched, since the operator watches what carries its label alone: a cloud that refers to
/// some is looked at so often.
const SECRETS_EVERY: Duration = Duration::from_secs(10);

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
        let answer: OpenStack = write_status(context, cloud.as_ref(), &status).await?;
        context.cache.reports.note(&answer);
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
            remember_report(context, &answer);
        }
    }
    Ok(())
}

fn remember_report<B: Brain>(context: &Context<B>, answer: &OpenStackComponent) {
    if let (Some(kind), Ok(answer)) = (context.cache.kind("OpenStackComponent"), serde_json::to_value(answer))
    {
        kind.reported(&answer);
    }
}

fn remember_write<B: Brain>(context: &Context<B>, kind: &str, answer: &impl Serialize) {
    if let (Some(kind), Ok(answer)) = (context.cache.kind(kind), serde_json::to_value(answer)) {
        kind.wrote(&answer);
    }
}
