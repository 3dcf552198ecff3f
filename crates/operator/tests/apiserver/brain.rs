//! The simplest judgement there is: a handful of objects straight from the resource.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::ResourceExt;
use oaas_api::{ConditionType, OpenStack, OpenStackComponentStatus, OpenStackStatus, Phase};
use oaas_operator::apply::Applied;
use oaas_operator::cloud::{facts, rolls};
use oaas_operator::controller::settle::condition;
use oaas_operator::{ActionError, ActionRequest, Brain, Decision, Observed, Report, Wanted};
use oaas_render::{ANNOTATION_PODS, Objects};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Counts what it is asked.
#[derive(Default)]
pub struct Simple {
    pub decisions: AtomicUsize,
    pub acts: AtomicUsize,
}

pub fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn pods(app: &str, cloud: &str) -> (Value, Value) {
    let labels = json!({ "app": app, "oaas.dev/cloud": cloud });
    let template = json!({
        "metadata": { "labels": labels },
        "spec": { "containers": [{
            "name": "main", "image": "x", "env": [{ "name": "EMPTY", "value": "" }],
            "resources": { "limits": { "cpu": "0.5", "memory": "1024Mi" } },
            "ports": [{ "containerPort": 80 }],
        }]},
    });
    (json!({ "matchLabels": labels }), template)
}

/// What a cloud is made of.
pub fn objects(cloud: &OpenStack, members: i64) -> Objects {
    let name = cloud.name_any();
    let service = |service: &str| cloud.spec.services.get(service).cloned().unwrap_or_default();
    let mut objects = Objects::default();
    objects.config_maps.push(object(json!({
        "metadata": { "name": "settings" }, "data": { "release": cloud.spec.release },
    })));
    if service("extra").enabled != Some(false) {
        objects.config_maps.push(object(json!({ "metadata": { "name": "extra" }, "data": {} })));
    }
    if service("broken").enabled == Some(true) {
        // The API server refuses such a key; the deployment's pods would mount it.
        objects
            .config_maps
            .push(object(json!({ "metadata": { "name": "broken" }, "data": { "not/a/key": "" } })));
        let (selector, mut template) = pods("reader", &name);
        template["spec"]["volumes"] = json!([{ "name": "broken", "configMap": { "name": "broken" } }]);
        objects.deployments.push(object(json!({
            "metadata": { "name": "reader" },
            "spec": { "replicas": 1, "selector": selector, "template": template },
        })));
    }
    objects.secrets.push(object(json!({
        "metadata": { "name": "db-g1", "labels": { "oaas.dev/holds-data": "credentials" },
                      "annotations": { "oaas.dev/apply": "create" } },
        "stringData": { "password": "made once" },
    })));
    objects.persistent_volume_claims.push(object(json!({
        "metadata": { "name": "images" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1024Mi" } } },
    })));
    let (selector, template) = pods("web", &name);
    let (replicas, pinned) = match service("web").replicas {
        Some(replicas) => (replicas, json!({ "oaas.dev/replicas": "pinned" })),
        None => (2, json!({})),
    };
    objects.deployments.push(object(json!({
        "metadata": { "name": "web", "annotations": pinned },
        "spec": { "replicas": replicas, "selector": selector, "template": template },
    })));
    let (selector, template) = pods("db", &name);
    objects.stateful_sets.push(object(json!({
        "metadata": { "name": "db", "annotations": { "oaas.dev/replicas": "pinned" } },
        "spec": { "replicas": members, "serviceName": "db", "selector": selector, "template": template },
    })));
    let (switch_selector, mut switch_template) = pods("switch", &name);
    let made_from = json!({ ANNOTATION_PODS: format!("for-{}", cloud.spec.release) });
    switch_template["metadata"]["annotations"] = made_from.clone();
    objects.daemon_sets.push(object(json!({
        "metadata": { "name": "switch", "annotations": made_from },
        "spec": { "selector": switch_selector, "updateStrategy": { "type": "OnDelete" }, "template": switch_template },
    })));
    let mut template = template;
    template["spec"]["restartPolicy"] = json!("Never");
    objects
        .jobs
        .push(object(json!({ "metadata": { "name": "load-1234" }, "spec": { "template": template } })));
    objects.components.push(object(json!({
        "metadata": { "name": "db" },
        "spec": { "cloud": name, "component": "db", "quorum": true, "replicas": 1 },
    })));
    objects.services.push(object(json!({
        "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
    })));
    objects.network_policies.push(object(json!({
        "metadata": { "name": "web" },
        "spec": { "podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{ "ports": [{ "port": 80 }] }] },
    })));
    objects.roles.push(object(json!({
        "metadata": { "name": "agent" },
        "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "patch"] }],
    })));
    objects
}

impl Brain for Simple {
    type Action = String;
    type Plan = ();

    fn decide(&self, observed: &Observed) -> Decision<String, ()> {
        self.decisions.fetch_add(1, Ordering::SeqCst);
        let members = observed.components.first().and_then(|component| component.spec.replicas).unwrap_or(1);
        let wanted = Wanted { apply: objects(&observed.cloud, members.into()), held: Objects::default() };
        let nodes = facts::nodes(observed.nodes.iter().map(AsRef::as_ref));
        let delete = rolls::rolls(observed, &wanted.apply.daemon_sets, &BTreeMap::new(), &nodes);
        Decision {
            ledger: Some(BTreeMap::from([("seen".into(), observed.cloud.spec.release.clone())])),
            objects: (!observed.cloud.spec.paused).then_some(wanted),
            delete,
            actions: vec![ActionRequest {
                key: format!("ensure-{}", observed.cloud.spec.release),
                refresh: None,
                limit: Duration::from_secs(5),
                action: observed.cloud.spec.release.clone(),
            }],
            plan: (),
        }
    }

    fn report(&self, observed: &Observed, (): &(), applied: Option<&Applied>) -> Report {
        let failed = applied.is_some_and(|applied| !applied.failed.is_empty());
        // After a restart nothing is known of actions; what was said before is not taken back for that.
        let before = observed.cloud.status.as_ref().and_then(|status| status.ready.as_deref());
        let done = observed.outcomes.len().max(usize::from(before == Some("1/1")));
        Report {
            status: OpenStackStatus {
                phase: Some(if failed { Phase::Degraded } else { Phase::Ready }),
                ready: Some(format!("{done}/1")),
                conditions: vec![condition(ConditionType::Ready, !failed, "AllReady", "as a test wants it")],
                ..OpenStackStatus::default()
            },
            components: BTreeMap::from([(
                "db".into(),
                OpenStackComponentStatus {
                    replicas: 1,
                    selector: Some("app=db".into()),
                    ..OpenStackComponentStatus::default()
                },
            )]),
            notes: Vec::new(),
            look_again: None,
        }
    }

    fn act(&self, _: Arc<OpenStack>, action: String) -> BoxFuture<'static, Result<Value, ActionError>> {
        self.acts.fetch_add(1, Ordering::SeqCst);
        async move { Ok(json!(action)) }.boxed()
    }
}
