//! The judgement about clouds, as the engine asks for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use oaas_api::openstack::DeletionPolicy;
use oaas_api::{OpenStack, names};
use oaas_catalog::Catalog;
use oaas_plan::{Cluster, CredentialSpec, Images};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::acting::{AGAIN, Access, Declared, Inside, LIMIT, Registrations, SOON};
use super::decide::{Make, Plan, World, decide};
use super::generate::{Values, generate};
use super::known::DATABASE_LIVED;
use super::memo::Memo;
use super::status::{component_statuses, not_applied, status};
use crate::actions::{ActionError, ActionRequest};
use crate::apply::Applied;
use crate::brain::{Brain, Decision, Report, Wanted};
use crate::observe::Observed;

/// One ensure.
#[derive(Debug, Clone)]
pub enum Action {
    /// Services, users and endpoints stand in the identity service.
    Register(Arc<(Access, Registrations)>),
    /// The declared content is there.
    Furnish(Arc<(Access, Declared)>),
    /// No server is left.
    Farewell(Arc<Access>),
    /// Nodes carry our labels.
    Label(BTreeMap<String, BTreeMap<String, String>>),
}

/// The judgement about clouds: catalog and images, and what is kept of each cloud's inside.
pub struct CloudBrain {
    catalog: Catalog,
    images: Images,
    cluster: Cluster,
    revision: String,
    client: Client,
    inside: Mutex<HashMap<String, Arc<Inside>>>,
    memo: Memo,
}

impl CloudBrain {
    /// With what is known of services and releases, the images there are, and the cluster that it runs in.
    pub fn new(catalog: Catalog, images: Images, cluster: Cluster, client: Client) -> Self {
        let revision = oaas_plan::revision(&images);
        Self { catalog, images, cluster, revision, client, inside: Mutex::default(), memo: Memo::default() }
    }

    fn inside(&self, cloud: &OpenStack) -> Arc<Inside> {
        let mut all = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(cloud.uid().unwrap_or_default()).or_default())
    }

    fn plan(&self, observed: &Observed) -> Plan {
        let seen = self.inside(&observed.cloud).seen();
        let now = SystemTime::now();
        let generate = |spec: &CredentialSpec, authority: Option<&Values>| generate(spec, authority, now);
        let world = World {
            catalog: &self.catalog,
            images: &self.images,
            cluster: &self.cluster,
            generate: &generate,
            memo: Some(&self.memo),
        };
        decide(&world, observed, &seen)
    }
}

impl Brain for CloudBrain {
    type Action = Action;
    type Plan = Plan;

    fn decide(&self, observed: &Observed) -> Decision<Action, Plan> {
        decision(self.plan(observed), observed)
    }

    fn report(&self, observed: &Observed, plan: &Plan, applied: Option<&Applied>) -> Report {
        let seen = self.inside(&observed.cloud).seen();
        let mut report = Report {
            status: status(plan, &seen, observed.cloud.status.as_ref(), observed.cloud.spec.paused),
            ..Report::default()
        };
        report.status.revision = Some(self.revision.clone());
        report.status.answered = observed.cloud.annotations().get(names::ANNOTATION_ASKED).cloned();
        if let Some(first) = applied.and_then(|applied| applied.failed.first()) {
            let count = applied.map_or(0, |applied| applied.failed.len());
            not_applied(&mut report.status, count, &first.in_full());
        }
        if let Some(make) = &plan.make {
            report.components = component_statuses(make);
            report.look_again = make
                .due
                .and_then(|due| Duration::try_from(due.duration_since(observed.now)).ok())
                .map(|wait| wait.max(SOON));
        }
        report
    }

    /// A cloud that takes its data with it deletes its servers first. One that leaves it finds them again.
    fn farewell(&self, observed: &Observed) -> Vec<ActionRequest<Action>> {
        // Nobody could have made a server where no database ever ran.
        let lived = observed.ledger.entries.contains_key(DATABASE_LIVED);
        if observed.cloud.spec.deletion_policy != DeletionPolicy::Delete || !lived {
            return Vec::new();
        }
        let Some(access) = self.plan(observed).make.and_then(|make| make.access) else { return Vec::new() };
        vec![ActionRequest {
            key: "farewell".to_owned(),
            refresh: None,
            limit: LIMIT,
            action: Action::Farewell(Arc::new(access)),
        }]
    }

    fn act(&self, cloud: Arc<OpenStack>, action: Action) -> BoxFuture<'static, Result<Value, ActionError>> {
        let inside = self.inside(&cloud);
        let client = self.client.clone();
        async move {
            let result = match action {
                Action::Register(wanted) => inside.register(&wanted.0, &wanted.1).await,
                Action::Furnish(wanted) => inside.furnish(&wanted.0, &wanted.1).await,
                Action::Farewell(access) => inside.farewell(&access).await,
                Action::Label(nodes) => label(client, nodes).await,
            };
            match result {
                Ok(()) => Ok(Value::Null),
                Err(message) => Err(ActionError { message, retry_after: Some(SOON) }),
            }
        }
        .boxed()
    }
}

/// What a plan comes to. Of a cloud that is paused nothing is touched.
fn decision(plan: Plan, observed: &Observed) -> Decision<Action, Plan> {
    let mut decision =
        Decision { ledger: None, objects: None, delete: Vec::new(), actions: Vec::new(), plan };
    let Some(make) = &mut decision.plan.make else { return decision };
    if observed.cloud.spec.paused {
        return decision;
    }
    let mut entries = observed.ledger.entries.clone();
    entries.append(&mut make.remember);
    if make.database_lives {
        entries.insert(DATABASE_LIVED.into(), "true".into());
    }
    if entries != observed.ledger.entries {
        decision.ledger = Some(entries);
    }
    let rendered = std::mem::take(&mut make.rendered);
    decision.objects = Some(Wanted { apply: rendered.apply, held: rendered.held });
    decision.delete = std::mem::take(&mut make.rolls);
    decision.delete.append(&mut make.former);
    decision.actions = actions(make);
    decision
}

/// The actions that a plan asks for; the key of each changes with what it ensures.
fn actions(make: &Make) -> Vec<ActionRequest<Action>> {
    let mut actions = Vec::new();
    if !make.node_labels.is_empty() {
        actions.push(ActionRequest {
            key: format!("label-{}", short(&format!("{:?}", make.node_labels))),
            refresh: Some(Duration::from_secs(5)),
            limit: Duration::from_secs(30),
            action: Action::Label(make.node_labels.clone()),
        });
    }
    let Some(access) = &make.access else { return actions };
    if let Some(registrations) = &make.registrations {
        actions.push(ActionRequest {
            key: format!("register-{}", short(&format!("{:?}", registrations.hashes))),
            refresh: Some(AGAIN),
            limit: LIMIT,
            action: Action::Register(Arc::new((access.clone(), registrations.clone()))),
        });
    }
    if let Some(declared) = &make.declared {
        let content = serde_json::to_string(&declared.content).unwrap_or_default();
        let passwords: Vec<&str> =
            declared.given.passwords.values().map(oaas_cloud::Secret::expose).collect();
        let text = format!("{content}{passwords:?}{:?}", declared.given.public_keys);
        actions.push(ActionRequest {
            key: format!("furnish-{}", short(&text)),
            refresh: Some(AGAIN),
            limit: LIMIT,
            action: Action::Furnish(Arc::new((access.clone(), declared.clone()))),
        });
    }
    actions
}

fn short(text: &str) -> String {
    hex::encode(Sha256::digest(text))[..12].to_owned()
}

async fn label(client: Client, nodes: BTreeMap<String, BTreeMap<String, String>>) -> Result<(), String> {
    let api: Api<Node> = Api::all(client);
    for (node, labels) in nodes {
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        let parameters = PatchParams { field_manager: Some(names::MANAGER.into()), ..PatchParams::default() };
        api.patch(&node, &parameters, &patch)
            .await
            .map_err(|error| format!("failed to label node {node}: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use oaas_plan::Image;

    use super::super::acting::Seen;
    use super::*;

    fn decided(paused: bool) -> Decision<Action, Plan> {
        let catalog = Catalog::built_in().unwrap();
        let names = ["mariadb", "rabbitmq", "memcached", "haproxy", "ovn", "libvirt", "oaas"]
            .map(str::to_owned)
            .into_iter();
        let names = names.chain(catalog.releases().values().map(|release| release.image.clone()));
        let images = names.map(|name| (name.clone(), Image::opaque(name))).collect();
        let resource = json!({
            "apiVersion": "oaas.dev/v1alpha1", "kind": "OpenStack", "metadata": { "name": "demo", "namespace": "demo" },
            "spec": { "release": "2026.1", "paused": paused },
        });
        let observed = Observed::of(Arc::new(serde_json::from_value(resource).unwrap()));
        let world = World {
            catalog: &catalog,
            images: &images,
            cluster: &Cluster::default(),
            generate: &|_, _| Ok(Values::new()),
            memo: None,
        };
        let plan = decide(&world, &observed, &Seen::default());
        decision(plan, &observed)
    }

    #[test]
    fn a_paused_cloud_is_left_alone() {
        assert!(decided(false).objects.is_some_and(|wanted| !wanted.apply.is_empty()));
        let paused = decided(true);
        assert!(paused.plan.make.is_some(), "it is planned, for its status");
        assert!(paused.objects.is_none() && paused.ledger.is_none());
        assert!(paused.delete.is_empty() && paused.actions.is_empty());
    }
}
