//! A cloud that is being deleted: its objects go, what holds data stays unless the policy says otherwise, and the
//! finalizer never hangs.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use oaas_api::openstack::DeletionPolicy;
use oaas_api::{ConditionType, OpenStack, OpenStackStatus, Phase, Reason, names};
use snafu::ResultExt;

use super::context::Context;
use super::error::{ObjectsSnafu, ReconcileError, WriteSnafu};
use super::settle;
use super::steps::{ask, set_finalizer, write_status};
use crate::actions::Outcome;
use crate::apply::{Owner, WriteError};
use crate::brain::{Brain, Note};
use crate::observe::Observed;

/// How often what still exists is looked at, besides events.
const LOOK: Duration = Duration::from_secs(2);

/// How far a deletion is. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Let go of the resource at once, whatever still exists.
    LetGo { forced: bool },
    /// The farewell actions are not done yet.
    Farewell,
    /// Objects are to be deleted, or waited for.
    Objects,
}

fn stage(forced: bool, passed: SignedDuration, limit: Duration, farewell_done: bool) -> Stage {
    let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
    if forced || passed >= limit {
        Stage::LetGo { forced }
    } else if !farewell_done && passed < limit / 4 {
        // A farewell that cannot be said must not keep the cloud: most of the limit is for the objects.
        Stage::Farewell
    } else {
        Stage::Objects
    }
}

/// One step of a deletion.
pub(super) async fn delete<B: Brain>(
    cloud: &Arc<OpenStack>,
    owner: &Owner,
    observed: &Observed,
    context: &Arc<Context<B>>,
    now: Timestamp,
) -> Result<Action, ReconcileError> {
    if !cloud.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER) {
        context.actions.ask::<B::Action>(
            &owner.uid,
            &[],
            now,
            |action| context.brain.act(Arc::clone(cloud), action),
            |_| {},
        );
        context.forget(&owner.uid);
        return Ok(Action::await_change());
    }
    let since = cloud.metadata.deletion_timestamp.as_ref().map_or(now, |time| time.0);
    let forced = cloud.annotations().get(names::ANNOTATION_FORCE_DELETE).is_some_and(|value| value == "true");
    let requests = context.brain.farewell(observed);
    let said = |key: &String| matches!(observed.outcomes.get(key), Some(Outcome::Done { .. }));
    let farewell_done = requests.iter().all(|request| said(&request.key));
    match stage(forced, now.duration_since(since), context.options.deletion_limit, farewell_done) {
        Stage::Farewell => {
            ask(context, cloud, owner, &requests, now);
            let message = "what has to be done before its objects go";
            say_deleting(cloud, context, message, now)
                .await
                .context(WriteSnafu { cloud: owner.name.clone() })?;
            return Ok(Action::requeue(LOOK));
        }
        Stage::LetGo { forced } => {
            let why = if forced { "was forced" } else { "took too long" };
            let message = format!(
                "the deletion {why}; what may still exist: kubectl get all,secret,configmap,pvc -n {} -l {}={}",
                owner.namespace,
                names::LABEL_CLOUD,
                owner.name
            );
            tracing::warn!(message, "letting go of the cloud");
            context.say(cloud, vec![Note { warning: true, reason: "LeftBehind".into(), message }]).await;
        }
        Stage::Objects => {
            let data = cloud.spec.deletion_policy == DeletionPolicy::Delete;
            let (left, failed) = context.applier.delete_all(owner, data).await;
            if let Some(first) = failed.first() {
                let first = first.in_full();
                return ObjectsSnafu { cloud: owner.name.clone(), count: failed.len(), first }.fail();
            }
            let pods = observed.pods.len();
            if !left.is_empty() || pods > 0 {
                let first = left.first().map(ToString::to_string).unwrap_or_default();
                let message = format!("{} objects ({first} …) and {pods} pods to go", left.len());
                say_deleting(cloud, context, &message, now)
                    .await
                    .context(WriteSnafu { cloud: owner.name.clone() })?;
                return Ok(Action::requeue(LOOK));
            }
            say_what_stays(cloud, owner, observed, data, context).await;
        }
    }
    let name = || owner.name.clone();
    context
        .registry
        .remove(&context.fence, &context.metrics, owner)
        .await
        .context(WriteSnafu { cloud: name() })?;
    set_finalizer(cloud, context, false).await.context(WriteSnafu { cloud: name() })?;
    Ok(Action::await_change())
}

/// The line that says how to delete what stays.
async fn say_what_stays<B: Brain>(
    cloud: &OpenStack,
    owner: &Owner,
    observed: &Observed,
    data: bool,
    context: &Context<B>,
) {
    let claims: &[Arc<PersistentVolumeClaim>] = &observed.volumes;
    let secrets =
        observed.secrets.iter().filter(|secret| secret.labels().contains_key(names::LABEL_DATA)).count();
    if data || (claims.is_empty() && secrets == 0) {
        return;
    }
    let message = format!(
        "{} volumes and {secrets} Secrets stay (deletionPolicy Retain). To delete them for good: kubectl delete \
         pvc,secret,configmap -n {} -l {}={}",
        claims.len(),
        owner.namespace,
        names::LABEL_CLOUD,
        owner.name
    );
    context.say(cloud, vec![Note { warning: false, reason: "Retained".into(), message }]).await;
}

async fn say_deleting<B: Brain>(
    cloud: &Arc<OpenStack>,
    context: &Context<B>,
    message: &str,
    now: Timestamp,
) -> Result<(), WriteError> {
    let status = OpenStackStatus {
        phase: Some(Phase::Deleting),
        waiting_for: Some(message.to_owned()),
        conditions: vec![
            settle::condition(ConditionType::Progressing, true, Reason::Deleting.as_str(), message),
            settle::condition(
                ConditionType::Ready,
                false,
                Reason::Deleting.as_str(),
                "the cloud is being deleted",
            ),
        ],
        ..OpenStackStatus::default()
    };
    let status = settle::cloud(cloud.status.as_ref(), status, cloud.metadata.generation, now);
    context.count_phase(&cloud.uid().unwrap_or_default(), Phase::Deleting.to_string());
    if cloud.status.as_ref() != Some(&status) {
        write_status(context, cloud.as_ref(), &status).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_never_hangs() {
        let limit = Duration::from_mins(10);
        let after = SignedDuration::from_secs;
        assert_eq!(stage(false, after(0), limit, true), Stage::Objects);
        assert_eq!(stage(false, after(0), limit, false), Stage::Farewell);
        assert_eq!(stage(false, after(150), limit, false), Stage::Objects);
        assert_eq!(stage(false, after(600), limit, true), Stage::LetGo { forced: false });
        assert_eq!(stage(true, after(0), limit, false), Stage::LetGo { forced: true });
    }
}
