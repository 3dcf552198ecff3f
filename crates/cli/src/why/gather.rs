//! Asks the cluster for everything that may explain why a cloud is not ready. Reads only.
//!
//! On what each part waits the operator says in the cloud's status; what is added here are pods, claims, events, and logs.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Node, PersistentVolumeClaim, Pod as KubePod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, LogParams};
use kube::{Api, Client, Resource, ResourceExt};
use oaas_api::{ComponentSummary, ConditionType, OpenStack, names};
use oaas_catalog::Catalog;
use oaas_diagnosis::facts::{Component, Facts, Operator};
use oaas_diagnosis::nodes;
use oaas_diagnosis::pods::Pod;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use snafu::ResultExt;

use crate::kubernetes::{ApiSnafu, Error};

/// How many lines of a log are looked at.
const TAIL: i64 = 80;
/// How long one agent may take to say which checks fail.
const ASK: Duration = Duration::from_secs(3);
/// The port of agents that have none of their own in their container's ports.
const AGENT: i32 = 9100;

/// Everything about one cloud.
pub async fn facts(client: &Client, cloud: &OpenStack, catalog: &Catalog) -> Result<Facts, Error> {
    let namespace = cloud.namespace().unwrap_or_default();
    let name = cloud.name_any();
    let of_cloud = format!("{}={name}", names::LABEL_CLOUD);
    let (pods, claims, events, nodes) = tokio::try_join!(
        list::<KubePod>(client, &namespace, Some(&of_cloud), "list the pods"),
        list::<PersistentVolumeClaim>(client, &namespace, Some(&of_cloud), "list the volume claims"),
        list::<Event>(client, &namespace, None, "list the events"),
        all_nodes(client),
    )?;
    let around = Around { pods, claims, warnings: Warnings::of(events), services: services(catalog) };
    let status = cloud.status.clone().unwrap_or_default();
    let api: Api<KubePod> = Api::namespaced(client.clone(), &namespace);
    let parts = join_all(status.components.iter().map(|told| part(client, &api, told, &around))).await;

    let plan = status.plan.unwrap_or_default();
    let refused = status
        .conditions
        .iter()
        .any(|condition| condition.type_ == ConditionType::Accepted.as_str() && condition.status == "False");
    let unapproved = (status.phase == Some(oaas_api::Phase::WaitingForApproval)).then(|| plan.hash.clone());
    Ok(Facts {
        cloud: format!("{namespace}/{name}"),
        phase: status.phase,
        refusals: if refused { plan.refusals } else { Vec::new() },
        unapproved,
        silence: None,
        operator: operator(client).await?,
        components: parts.into_iter().collect(),
        nodes: nodes::unready(&nodes),
    })
}

/// What the cluster has of a cloud.
struct Around {
    pods: Vec<KubePod>,
    claims: Vec<PersistentVolumeClaim>,
    warnings: Warnings,
    /// Component or job → service.
    services: BTreeMap<String, String>,
}

/// What is known of one part that the operator tells of.
async fn part(
    client: &Client,
    api: &Api<KubePod>,
    told: &ComponentSummary,
    around: &Around,
) -> (String, Component) {
    let own = |meta: &ObjectMeta| {
        meta.labels.as_ref().and_then(|labels| labels.get(names::LABEL_COMPONENT)) == Some(&told.name)
    };
    let mut facts = Component::told(told);
    if let Some(service) = around.services.get(&told.name) {
        facts.service.clone_from(service);
    }
    let pods = around.pods.iter().filter(|found| own(&found.metadata));
    let pods = pods.map(|found| pod(client, api, found, &around.warnings));
    // Pods of Jobs that ended well explain nothing.
    facts.pods = join_all(pods).await.into_iter().filter(|pod| !pod.done).collect();
    facts.pending_volumes = around
        .claims
        .iter()
        .filter(|claim| own(&claim.metadata))
        .filter(|claim| claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound"))
        .map(|claim| {
            (claim.name_any(), around.warnings.about("PersistentVolumeClaim", &claim.name_any()).pop())
        })
        .collect();
    facts.events = ["StatefulSet", "ReplicaSet", "DaemonSet", "Deployment", "Job"]
        .iter()
        .flat_map(|kind| around.warnings.about_prefixed(kind, &told.name))
        .collect();
    (told.name.clone(), facts)
}

/// Component or job → service, over all releases.
fn services(catalog: &Catalog) -> BTreeMap<String, String> {
    let of = |service: &oaas_catalog::Service| {
        let components = service.components.iter().map(|component| component.name.clone());
        let jobs = service.jobs.iter().map(|job| job.name.clone());
        let name = service.name.clone();
        let all = components.chain(jobs).chain([oaas_plan::schema_job(&service.name)]);
        all.map(move |item| (item, name.clone())).collect::<Vec<_>>()
    };
    catalog.services().values().flat_map(of).collect()
}

async fn list<K>(client: &Client, namespace: &str, labels: Option<&str>, doing: &str) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let parameters = ListParams { label_selector: labels.map(str::to_owned), ..ListParams::default() };
    Ok(api.list(&parameters).await.context(ApiSnafu { doing })?.items)
}

async fn all_nodes(client: &Client) -> Result<Vec<Node>, Error> {
    let api: Api<Node> = Api::all(client.clone());
    Ok(api.list(&ListParams::default()).await.context(ApiSnafu { doing: "list the nodes" })?.items)
}

/// The operator's pods, wherever they are.
async fn operator(client: &Client) -> Result<Option<Operator>, Error> {
    let api: Api<KubePod> = Api::all(client.clone());
    let labels = format!("app.kubernetes.io/name={}", oaas_operator::install::NAME);
    let parameters = ListParams::default().labels(&labels);
    let found = match api.list(&parameters).await {
        Ok(found) => found.items,
        // Whoever may only look at the cloud's namespace still gets an answer about the cloud.
        Err(kube::Error::Api(status)) if status.code == 403 => return Ok(None),
        Err(source) => return Err(Error::Api { doing: "list the operator's pods".to_owned(), source }),
    };
    let mut pods = Vec::new();
    for found in &found {
        let api: Api<KubePod> = Api::namespaced(client.clone(), &found.namespace().unwrap_or_default());
        pods.push(pod(client, &api, found, &Warnings::default()).await);
    }
    Ok(Some(Operator { ready: pods.iter().filter(|pod| pod.ready).count(), pods }))
}

/// Warnings by the object they are about, oldest first.
#[derive(Debug, Default)]
struct Warnings(Vec<(String, String, String)>);

impl Warnings {
    fn of(mut events: Vec<Event>) -> Self {
        events.retain(|event| event.type_.as_deref() == Some("Warning"));
        events.sort_by_key(|event| {
            let time = event.last_timestamp.as_ref().map(|time| time.0);
            time.or_else(|| event.event_time.as_ref().map(|time| time.0))
                .or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0))
        });
        Self(
            events
                .into_iter()
                .map(|event| {
                    let about = event.involved_object;
                    let text =
                        [event.reason, event.message].into_iter().flatten().collect::<Vec<_>>().join(": ");
                    (about.kind.unwrap_or_default(), about.name.unwrap_or_default(), text)
                })
                .collect(),
        )
    }

    fn about(&self, kind: &str, name: &str) -> Vec<String> {
        self.0.iter().filter(|(k, n, _)| k == kind && n == name).map(|(.., text)| text.clone()).collect()
    }

    /// Of `name` and of what is named after it (`keystone-5c9d…`).
    fn about_prefixed(&self, kind: &str, name: &str) -> Vec<String> {
        let named_after =
            |other: &str| other == name || other.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
        self.0.iter().filter(|(k, n, _)| k == kind && named_after(n)).map(|(.., text)| text.clone()).collect()
    }
}

/// What a pod says, with its warnings, logs and failing checks where it is not ready.
async fn pod(client: &Client, api: &Api<KubePod>, found: &KubePod, warnings: &Warnings) -> Pod {
    let mut pod = Pod::read(found);
    if pod.ready || pod.done {
        return pod;
    }
    let status = found.status.as_ref();
    let statuses = status.iter().flat_map(|status| {
        let prepare = status.init_container_statuses.iter().flatten();
        prepare.chain(status.container_statuses.iter().flatten())
    });
    for (container, status) in pod.containers.iter_mut().zip(statuses) {
        if !container.ready {
            let read = log(api, &pod.name, status).await;
            if !read.is_empty() {
                container.log = read;
            }
        }
    }
    pod.events = warnings.about("Pod", &pod.name);
    if pod.containers.iter().any(|container| !container.ready && container.waiting.is_none()) {
        pod.failing_checks = failing_checks(client, found).await;
    }
    pod
}

/// The end of the log, of the run before when the container is not running now.
async fn log(api: &Api<KubePod>, pod: &str, status: &ContainerStatus) -> Vec<String> {
    let state = status.state.clone().unwrap_or_default();
    let previous = state.running.is_none() && state.terminated.is_none() && status.restart_count > 0;
    let parameters = LogParams {
        container: Some(status.name.clone()),
        previous,
        tail_lines: Some(TAIL),
        ..LogParams::default()
    };
    // A log that is not there (the container never ran) explains nothing, and that is told otherwise.
    let text = api.logs(pod, &parameters).await.unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// What an agent answers on `/ready`.
#[derive(Debug, Deserialize)]
struct Answer {
    waits_for: Option<String>,
    #[serde(default)]
    failing: Vec<Failing>,
}

/// One of its checks that fails.
#[derive(Debug, Deserialize)]
struct Failing {
    check: String,
    why: String,
}

/// Which checks of the agent fail, through the API server's proxy. Best effort: an agent that does not answer is told
/// by Kubernetes' own probes.
async fn failing_checks(client: &Client, pod: &KubePod) -> Vec<String> {
    let port = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .find_map(|container| {
            let probe = container.readiness_probe.as_ref()?.http_get.as_ref()?;
            match &probe.port {
                k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(port) => Some(*port),
                k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::String(_) => None,
            }
        })
        .unwrap_or(AGENT);
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/ready");
    let Ok(request) = http::Request::get(path).body(kube::client::Body::empty()) else { return Vec::new() };
    let asked = async {
        let response = client.send(request).await.ok()?;
        let body = response.into_body().collect_bytes().await.ok()?;
        serde_json::from_slice::<Answer>(&body).ok()
    };
    let Some(answer) = tokio::time::timeout(ASK, asked).await.ok().flatten() else { return Vec::new() };
    let waits = answer.waits_for.map(|what| format!("waits for {what}"));
    let fails =
        answer.failing.into_iter().map(|Failing { check, why }| format!("check `{check}` fails: {why}"));
    waits.into_iter().chain(fails).collect()
}
