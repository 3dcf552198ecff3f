//! What a reconciliation and a deletion both do: start actions, write a status, set the finalizer.

use std::sync::Arc;

use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use oaas_api::{OpenStack, names};
use serde::Serialize;
use serde_json::json;

use super::context::Context;
use crate::actions::ActionRequest;
use crate::apply::{Key, Owner, WriteError, write};
use crate::brain::Brain;
use crate::metrics::ResultLabels;

/// Starts the actions that are due.
pub(super) fn ask<B: Brain>(
    context: &Arc<Context<B>>,
    cloud: &Arc<OpenStack>,
    owner: &Owner,
    wanted: &[ActionRequest<B::Action>],
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
