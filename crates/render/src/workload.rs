//! Deployments, stateful sets, daemon sets and what belongs to them.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, Deployment, DeploymentSpec, DeploymentStrategy,
    RollingUpdateDeployment, StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
};
use k8s_openapi::api::core::v1::{
    Affinity, PodAffinity, PodAffinityTerm, PodTemplateSpec, Secret, TopologySpreadConstraint,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use oaas_catalog::{ReplicaRule, WorkloadKind};
use oaas_plan::{Blueprint, ComponentPlan, Document};
use sha2::{Digest, Sha256};

use crate::labels::{
    ANNOTATION_HASH, ANNOTATION_IMAGE, ANNOTATION_LIVE, ANNOTATION_PODS, ANNOTATION_REPLICAS,
    ANNOTATION_REPLICAS_APPLIED, config_secret, label_selector, live_secret, metadata, selector,
};
use crate::objects::Objects;
use crate::pod::{file_key, node_file_key, template};
use crate::volumes::{claim_templates, shared_claims};

/// Everything of one component but its Services.
pub(crate) fn workload(blueprint: &Blueprint, plan: &ComponentPlan, objects: &mut Objects) {
    let (live, kept): (Vec<Document>, Vec<Document>) =
        plan.documents.iter().cloned().partition(Document::is_live);
    let files = config_secret(&plan.name, &plan.hash);
    let mut secret = config(blueprint, &files, &plan.name, &kept, !plan.first_start);
    secret.data.get_or_insert_default().extend(plan.node_documents.iter().map(|(node, document)| {
        (node_file_key(&document.path, node), ByteString(crate::text::write(document).into_bytes()))
    }));
    objects.secrets.push(secret);
    if !live.is_empty() {
        let mut secret = config(blueprint, &live_secret(&plan.name), &plan.name, &live, false);
        let annotations = secret.metadata.annotations.get_or_insert_default();
        annotations.insert(ANNOTATION_LIVE.to_owned(), "followed".to_owned());
        objects.secrets.push(secret);
    }
    if plan.kind == WorkloadKind::Deployment {
        objects.persistent_volume_claims.extend(shared_claims(blueprint, plan));
    }
    if plan.kind != WorkloadKind::DaemonSet && plan.replicas > 1 {
        objects.pod_disruption_budgets.push(PodDisruptionBudget {
            metadata: metadata(blueprint, &plan.name, Some(&plan.name)),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(label_selector(selector(&blueprint.cloud, &plan.name))),
                ..PodDisruptionBudgetSpec::default()
            }),
            status: None,
        });
    }
    if plan.chooses_writer() {
        crate::identity::identity(blueprint, plan, objects);
    }
    match plan.kind {
        WorkloadKind::Deployment => objects.deployments.push(deployment(blueprint, plan)),
        WorkloadKind::StatefulSet => objects.stateful_sets.push(stateful_set(blueprint, plan)),
        WorkloadKind::DaemonSet => objects.daemon_sets.push(daemon_set(blueprint, plan)),
    }
}

/// The Secret with configuration files, of which nothing changes any more where they are settled.
pub(crate) fn config(
    blueprint: &Blueprint,
    name: &str,
    component: &str,
    documents: &[Document],
    settled: bool,
) -> Secret {
    let data = documents
        .iter()
        .map(|document| {
            // A directory shows its keys as they are.
            let name = document.path.rsplit('/').next().filter(|_| document.is_live());
            let key = name.map_or_else(|| file_key(&document.path), str::to_owned);
            (key, ByteString(crate::text::write(document).into_bytes()))
        })
        .collect();
    Secret {
        metadata: metadata(blueprint, name, Some(component)),
        immutable: settled.then_some(true),
        data: Some(data),
        ..Secret::default()
    }
}

fn workload_metadata(blueprint: &Blueprint, plan: &ComponentPlan) -> ObjectMeta {
    let mut annotations = BTreeMap::from([
        (ANNOTATION_HASH.to_owned(), plan.hash.clone()),
        (ANNOTATION_PODS.to_owned(), pods(blueprint, plan).0),
        (ANNOTATION_IMAGE.to_owned(), plan.image.reference.clone()),
    ]);
    if plan.kind != WorkloadKind::DaemonSet {
        annotations.insert(ANNOTATION_REPLICAS.to_owned(), "pinned".to_owned());
        annotations.insert(ANNOTATION_REPLICAS_APPLIED.to_owned(), plan.replicas.to_string());
    }
    ObjectMeta { annotations: Some(annotations), ..metadata(blueprint, &plan.name, Some(&plan.name)) }
}

/// The template of a component's pods, and its hash.
pub(crate) fn pods(blueprint: &Blueprint, plan: &ComponentPlan) -> (String, PodTemplateSpec) {
    let mut template = template(blueprint, plan);
    if let (Some(spec), false) = (&mut template.spec, plan.kind == WorkloadKind::DaemonSet) {
        if plan.kind == WorkloadKind::Deployment && !plan.claims.is_empty() {
            spec.affinity = Some(together(blueprint, plan));
        } else {
            spec.topology_spread_constraints = Some(vec![spread(blueprint, plan)]);
        }
    }
    let mut of_closure = template.clone();
    for container in of_closure.spec.iter_mut().flat_map(|spec| &mut spec.containers) {
        container.image = Some(plan.image.closure.clone());
    }
    // What is sent to the API server as JSON can be written as JSON.
    let text = serde_json::to_vec(&of_closure).unwrap_or_default();
    let hash = hex::encode(Sha256::digest(text))[..16].to_owned();
    let annotations = template.metadata.get_or_insert_default().annotations.get_or_insert_default();
    annotations.insert(ANNOTATION_PODS.to_owned(), hash.clone());
    (hash, template)
}

/// The hash of the template of each component's pods.
pub fn templates(blueprint: &Blueprint) -> BTreeMap<String, String> {
    blueprint.components.values().map(|plan| (plan.name.clone(), pods(blueprint, plan).0)).collect()
}

fn replicas(plan: &ComponentPlan) -> Option<i32> {
    i32::try_from(plan.replicas).ok()
}

fn deployment(blueprint: &Blueprint, plan: &ComponentPlan) -> Deployment {
    let strategy = if plan.rule.rule == ReplicaRule::One {
        DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None }
    } else {
        DeploymentStrategy {
            type_: Some("RollingUpdate".into()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::Int(1)),
                max_unavailable: Some(IntOrString::Int(0)),
            }),
        }
    };
    Deployment {
        metadata: workload_metadata(blueprint, plan),
        spec: DeploymentSpec {
            replicas: replicas(plan),
            selector: label_selector(selector(&blueprint.cloud, &plan.name)),
            strategy: Some(strategy),
            revision_history_limit: Some(2),
            progress_deadline_seconds: Some(3600),
            template: pods(blueprint, plan).1,
            ..DeploymentSpec::default()
        },
        status: None,
    }
}

fn stateful_set(blueprint: &Blueprint, plan: &ComponentPlan) -> StatefulSet {
    let claims = claim_templates(blueprint, plan);
    StatefulSet {
        metadata: workload_metadata(blueprint, plan),
        spec: StatefulSetSpec {
            replicas: replicas(plan),
            service_name: Some(plan.name.clone()),
            pod_management_policy: Some("Parallel".into()),
            selector: label_selector(selector(&blueprint.cloud, &plan.name)),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Retain".into()),
                when_scaled: Some("Retain".into()),
            }),
            volume_claim_templates: (!claims.is_empty()).then_some(claims),
            template: pods(blueprint, plan).1,
            ..StatefulSetSpec::default()
        },
        status: None,
    }
}

fn daemon_set(blueprint: &Blueprint, plan: &ComponentPlan) -> DaemonSet {
    DaemonSet {
        metadata: workload_metadata(blueprint, plan),
        spec: DaemonSetSpec {
            selector: label_selector(selector(&blueprint.cloud, &plan.name)),
            // The operator rolls them: what runs on one node hangs on each other (`oaas_plan::roll`).
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("OnDelete".into()),
                rolling_update: None,
            }),
            template: pods(blueprint, plan).1,
            ..DaemonSetSpec::default()
        },
        status: None,
    }
}

/// All pods on one node: a volume that they share is mounted by one node at a time, and by any number of pods there. So a new
/// pod stands beside the old one before that goes.
fn together(blueprint: &Blueprint, plan: &ComponentPlan) -> Affinity {
    let term = PodAffinityTerm {
        label_selector: Some(label_selector(selector(&blueprint.cloud, &plan.name))),
        topology_key: "kubernetes.io/hostname".into(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_affinity: Some(PodAffinity {
            required_during_scheduling_ignored_during_execution: Some(vec![term]),
            ..PodAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn spread(blueprint: &Blueprint, plan: &ComponentPlan) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(label_selector(selector(&blueprint.cloud, &plan.name))),
        ..TopologySpreadConstraint::default()
    }
}
