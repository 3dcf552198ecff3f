//! Asks the cluster for everything that may explain why a cloud is not ready. Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Node, PersistentVolumeClaim, Pod as KubePod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, LogParams};
use kube::{Api, Client, Resource, ResourceExt};
use oaas_api::{ConditionType, OpenStack, OpenStackComponent, Reason, names};
use oaas_catalog::{Catalog, Need, Release};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use snafu::ResultExt;

use super::{Component, Container, Ended, Facts, Operator, Pod};
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
    let (components, pods, claims, events, nodes) = tokio::try_join!(
        list::<OpenStackComponent>(client, &namespace, None, "list the components"),
        list::<KubePod>(client, &namespace, Some(&of_cloud), "list the pods"),
        list::<PersistentVolumeClaim>(client, &namespace, Some(&of_cloud), "list the volume claims"),
        list::<Event>(client, &namespace, None, "list the events"),
        unready_nodes(client),
    )?;
    let warnings = Warnings::of(events);
    let services = services(catalog);
    let status = cloud.status.clone().unwrap_or_default();
    // What the operator tells of beside components: jobs, and the registration in Keystone.
    let generated: BTreeSet<&str> =
        components.iter().map(|component| component.spec.component.as_str()).collect();
    let items: BTreeSet<String> = status
        .components
        .iter()
        .filter(|item| !generated.contains(item.name.as_str()))
        .map(|item| item.name.clone())
        .collect();
    let needs = needs(catalog, &cloud.spec.release, &items);

    let api: Api<KubePod> = Api::namespaced(client.clone(), &namespace);
    let of_components = components.iter().filter(|component| component.spec.cloud == name).map(|component| {
        let told = component.status.clone().unwrap_or_default();
        let ready = told
            .conditions
            .iter()
            .any(|condition| condition.type_ == ConditionType::Ready.as_str() && condition.status == "True");
        Told {
            name: component.spec.component.clone(),
            ready,
            reason: told.reason,
            waiting_for: told.waiting_for,
        }
    });
    let of_items = status.components.iter().filter(|item| items.contains(&item.name)).map(|item| Told {
        name: item.name.clone(),
        ready: item.reason.is_none(),
        reason: item.reason,
        waiting_for: item.waiting_for.clone(),
    });
    let gathered = of_components.chain(of_items).map(|told| {
        let own = |meta: &ObjectMeta| {
            meta.labels.as_ref().and_then(|labels| labels.get(names::LABEL_COMPONENT)) == Some(&told.name)
        };
        let pods: Vec<&KubePod> = pods.iter().filter(|pod| own(&pod.metadata) && !finished(pod)).collect();
        let pending = claims
            .iter()
            .filter(|claim| own(&claim.metadata))
            .filter(|claim| claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound"))
            .map(|claim| (claim.name_any(), warnings.about("PersistentVolumeClaim", &claim.name_any()).pop()))
            .collect();
        let workload_events = ["StatefulSet", "ReplicaSet", "DaemonSet", "Deployment", "Job"]
            .iter()
            .flat_map(|kind| warnings.about_prefixed(kind, &told.name))
            .collect();
        let (needs, services, warnings, api) = (&needs, &services, &warnings, &api);
        async move {
            let pods = join_all(pods.into_iter().map(|found| pod(client, api, found, warnings))).await;
            let facts = Component {
                service: services.get(&told.name).cloned().unwrap_or_else(|| told.name.clone()),
                ready: told.ready,
                reason: told.reason,
                waiting_for: told.waiting_for,
                needs: needs.get(&told.name).cloned().unwrap_or_default(),
                pods,
                pending_volumes: pending,
                events: workload_events,
            };
            (told.name, facts)
        }
    });
    let components = join_all(gathered).await.into_iter().collect();

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
        operator: operator(client).await?,
        components,
        waits: plan.waits.into_iter().map(|wait| (wait.component, wait.message)).collect(),
        nodes,
    })
}

/// What the operator says of a component or a job.
struct Told {
    name: String,
    ready: bool,
    reason: Option<Reason>,
    waiting_for: Option<String>,
}

/// Component or job → components and jobs that have to be ready before it. `items` are the jobs that the operator tells
/// of by name; a need that one of them stands for is that one, else what it comes down to.
pub fn needs(catalog: &Catalog, release: &str, items: &BTreeSet<String>) -> BTreeMap<String, Vec<String>> {
    let Some(release) = catalog.releases().get(release) else { return BTreeMap::new() };
    let world = World { catalog, release, items };
    let mut all = BTreeMap::new();
    for service in catalog.services_of(release) {
        let schema = schema_item(&service.name);
        if items.contains(&schema) {
            all.insert(schema, world.database());
        }
        for job in service.jobs.iter().filter(|job| items.contains(&job.name)) {
            all.insert(job.name.clone(), world.all_of(&job.pod.needs));
        }
        for component in &service.components {
            all.insert(component.name.clone(), world.all_of(&component.pod.needs));
        }
    }
    all
}

/// What the operator calls the job that loads a service's databases.
fn schema_item(service: &str) -> String {
    format!("load-schema-{service}")
}

/// What the operator calls the registration of services in Keystone.
const REGISTRATION: &str = "registration";

struct World<'a> {
    catalog: &'a Catalog,
    release: &'a Release,
    items: &'a BTreeSet<String>,
}

impl World<'_> {
    fn all_of(&self, needs: &[Need]) -> Vec<String> {
        let names: BTreeSet<String> = needs.iter().flat_map(|need| self.one(need)).collect();
        names.into_iter().collect()
    }

    /// The components and jobs that a need comes down to.
    fn one(&self, need: &Need) -> Vec<String> {
        let item = |name: String| self.items.contains(&name).then(|| vec![name]);
        match need {
            Need::Ready(component) => vec![component.clone()],
            Need::Job(name) => item(name.clone()).unwrap_or_else(|| self.of_job(name)),
            // What was loaded once is of use only while the database runs.
            Need::Schema(service) => {
                self.database().into_iter().chain(item(schema_item(service)).unwrap_or_default()).collect()
            }
            Need::Registered(_) => item(REGISTRATION.to_owned()).unwrap_or_else(|| self.identity()),
        }
    }

    fn of_job(&self, name: &str) -> Vec<String> {
        let jobs = self.catalog.services_of(self.release).flat_map(|service| &service.jobs);
        let needs = jobs.filter(|job| job.name == *name).flat_map(|job| &job.pod.needs);
        // Jobs need schemas and components, not each other's circles; one step down is enough for those.
        needs.filter(|need| !matches!(need, Need::Job(_))).flat_map(|need| self.one(need)).collect()
    }

    /// The database is the component that has a writer.
    fn database(&self) -> Vec<String> {
        let components = self.catalog.services_of(self.release).flat_map(|service| &service.components);
        components
            .filter(|component| component.single_writer.is_some())
            .map(|found| found.name.clone())
            .collect()
    }

    fn identity(&self) -> Vec<String> {
        let apis = self.catalog.services_of(self.release).flat_map(|service| &service.apis);
        apis.filter(|api| api.kind == "identity").map(|api| api.component.clone()).collect()
    }
}

/// Component or job → service, over all releases.
fn services(catalog: &Catalog) -> BTreeMap<String, String> {
    let of = |service: &oaas_catalog::Service| {
        let components = service.components.iter().map(|component| component.name.clone());
        let jobs = service.jobs.iter().map(|job| job.name.clone());
        let name = service.name.clone();
        let all = components.chain(jobs).chain([schema_item(&name)]);
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

async fn unready_nodes(client: &Client) -> Result<BTreeMap<String, String>, Error> {
    let api: Api<Node> = Api::all(client.clone());
    let nodes = api.list(&ListParams::default()).await.context(ApiSnafu { doing: "list the nodes" })?;
    let unready = nodes.into_iter().filter_map(|node| {
        let conditions = node.status.as_ref()?.conditions.clone()?;
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
        let why = ready.message.clone().unwrap_or_else(|| "it does not report".to_owned());
        (ready.status != "True").then(|| (node.name_any(), why))
    });
    Ok(unready.collect())
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

/// Pods of Jobs that ended well explain nothing.
fn finished(pod: &KubePod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded")
}

async fn pod(client: &Client, api: &Api<KubePod>, found: &KubePod, warnings: &Warnings) -> Pod {
    let name = found.name_any();
    let status = found.status.clone().unwrap_or_default();
    let condition =
        |wanted: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == wanted);
    let ready = condition("Ready").is_some_and(|condition| condition.status == "True");
    let unschedulable = condition("PodScheduled")
        .filter(|condition| condition.status == "False")
        .and_then(|condition| condition.message.clone());
    let ended = (status.phase.as_deref() == Some("Failed") && status.reason.is_some()).then(|| {
        [status.reason.clone(), status.message.clone()].into_iter().flatten().collect::<Vec<_>>().join(": ")
    });
    let statuses = status
        .init_container_statuses
        .iter()
        .flatten()
        .map(|status| (true, status))
        .chain(status.container_statuses.iter().flatten().map(|status| (false, status)));
    let mut containers = Vec::new();
    for (prepares, status) in statuses {
        let mut facts = container(found, status, prepares);
        if !facts.ready && !ready {
            facts.log = log(api, &name, status).await;
        }
        containers.push(facts);
    }
    let runs = containers.iter().any(|container| !container.ready && container.waiting.is_none());
    let failing_checks = if runs && !ready { failing_checks(client, found).await } else { Vec::new() };
    Pod {
        node: found.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        ready,
        unschedulable,
        ended,
        containers,
        events: if ready { Vec::new() } else { warnings.about("Pod", &name) },
        failing_checks,
        name,
    }
}

fn container(pod: &KubePod, status: &ContainerStatus, prepares: bool) -> Container {
    let spec = pod.spec.as_ref();
    let specs =
        spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let limit = specs.filter(|spec| spec.name == status.name).find_map(|spec| {
        spec.resources.as_ref()?.limits.as_ref()?.get("memory").map(|limit| limit.0.clone())
    });
    let state = status.state.clone().unwrap_or_default();
    let last = status.last_state.clone().unwrap_or_default();
    let done = prepares && state.terminated.as_ref().is_some_and(|ended| ended.exit_code == 0);
    let ended = state
        .terminated
        .or(last.terminated)
        .filter(|_| !done)
        .map(|ended| Ended { reason: ended.reason.unwrap_or_default(), code: ended.exit_code });
    Container {
        name: status.name.clone(),
        image: status.image.clone(),
        ready: status.ready || done,
        restarts: status.restart_count,
        waiting: state
            .waiting
            .map(|waiting| (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default())),
        ended,
        memory_limit: limit,
        log: Vec::new(),
    }
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
