//! A cloud's resource: applied, and waited for with every part shown.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use oaas_api::status::Endpoints;
use oaas_api::{OpenStack, OpenStackStatus, Phase, names};
use oaas_feedback::{Explain, Kind, Task};
use oaas_image::BuiltImage;
use oaas_node::PortMap;
use oaas_plan::Image;
use serde_json::json;
use snafu::{ResultExt, Snafu};

use crate::wanted::{self, Listed};

/// The field manager of what people apply.
const MANAGER: &str = "oaas-cli";
/// How often the status is looked at: it is the operator that waits.
const LOOK: Duration = Duration::from_millis(300);

/// How long kubelets that were started may take to say what runs: they start with what they find, which is nothing.
const KUBELETS: Duration = Duration::from_mins(1);

/// How long the API server may be away meanwhile.
const AWAY: Duration = Duration::from_mins(1);

/// Why the cloud did not become ready.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The API server refused or did not answer.
    #[snafu(display("failed to {doing}"))]
    Api {
        /// What was tried.
        doing: String,
        /// What came of it.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// The resource has mistakes.
    #[snafu(display("the resource is refused: {}", Listed(lines)))]
    Refused {
        /// Each mistake.
        lines: Vec<String>,
    },
    /// It waits until somebody approves it.
    #[snafu(display("the plan {hash} of cloud {cloud} waits for approval; it changes:\n  {}", changes.join("\n  ")))]
    Unapproved {
        /// Which.
        cloud: String,
        /// The hash that approves it.
        hash: String,
        /// What it changes.
        changes: Vec<String>,
    },
    /// It took too long.
    #[snafu(display("the cloud {cloud} is not ready after {} s: {waiting}", after.as_secs()))]
    NotReady {
        /// Which.
        cloud: String,
        /// How long was waited.
        after: Duration,
        /// What it waits for.
        waiting: String,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Api { .. } => Kind::Environment,
            Self::Refused { .. } => Kind::Input,
            Self::NotReady { .. } | Self::Unapproved { .. } => Kind::NotReady,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Api { .. } => Some(
                "`oaas status --host` shows whether the API server runs; the same command goes on".into(),
            ),
            Self::Refused { .. } => {
                Some("change the file and run the same command; what runs goes on running".into())
            }
            Self::Unapproved { hash, .. } => {
                Some(format!("`oaas approve {hash}` lets it be done; until then the state before it stays"))
            }
            Self::NotReady { .. } => {
                Some("`oaas why` shows the chain of causes; the same command goes on waiting".into())
            }
        }
    }
}

/// What the operator is told of an image.
pub fn image(built: &BuiltImage) -> Image {
    Image { reference: built.reference.clone(), closure: built.closure.clone() }
}

/// What waiting came to.
#[derive(Debug)]
pub struct Waited {
    /// The status in the end.
    pub status: OpenStackStatus,
    /// Was it not ready at once?
    pub waited: bool,
}

/// What was asked for.
#[derive(Debug)]
pub struct Applied {
    /// Is the resource another one than before?
    pub changed: bool,
    /// What the operator answers in a status that is newer than this.
    pub asked: String,
}

/// Namespace and name of a cloud.
pub fn place(cloud: &OpenStack) -> (String, String) {
    let id = wanted::id(cloud);
    (id.namespace, id.name)
}

/// Apply namespace and resource, and ask how far it is: a status may be from before the machine was switched off.
pub async fn apply(client: &Client, cloud: &OpenStack) -> Result<Applied, Error> {
    let (namespace, name) = place(cloud);
    let parameters = PatchParams::apply(MANAGER).force();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let doing = format!("look for namespace {namespace}");
    if namespaces.get_opt(&namespace).await.context(ApiSnafu { doing })?.is_none() {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let doing = format!("make namespace {namespace}");
        namespaces.patch(&namespace, &parameters, &Patch::Apply(body)).await.context(ApiSnafu { doing })?;
    }
    let clouds: Api<OpenStack> = Api::namespaced(client.clone(), &namespace);
    let doing = format!("look for cloud {namespace}/{name}");
    let before = clouds.get_opt(&name).await.context(ApiSnafu { doing })?;
    let asked = question();
    let annotations = [(names::ANNOTATION_ASKED.to_owned(), asked.clone())];
    if before.as_ref().is_some_and(|before| before.spec == cloud.spec) {
        let patch = Patch::Merge(json!({"metadata": {"annotations": BTreeMap::from(annotations)}}));
        let doing = format!("ask how far cloud {namespace}/{name} is");
        let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        clouds.patch_metadata(&name, &parameters, &patch).await.context(ApiSnafu { doing })?;
        return Ok(Applied { changed: false, asked });
    }
    let mut body = cloud.clone();
    body.status = None;
    body.metadata.namespace = Some(namespace.clone());
    body.metadata.annotations.get_or_insert_default().extend(annotations);
    let doing = format!("apply cloud {namespace}/{name}");
    let after = clouds.patch(&name, &parameters, &Patch::Apply(body)).await.context(ApiSnafu { doing })?;
    let changed = before.and_then(|before| before.metadata.generation) != after.metadata.generation;
    Ok(Applied { changed, asked })
}

/// Wait until no pod's status is from before its node was started: until its kubelet reports, the API server shows what was
/// true when the node was switched off. At most as long as kubelets take.
pub async fn awake(
    client: &Client,
    nodes: &BTreeMap<String, Timestamp>,
    patience: Duration,
    task: &Task,
) -> Result<(), Error> {
    let api: Api<Pod> = Api::all(client.clone());
    let until = Instant::now() + KUBELETS.min(patience);
    loop {
        let pods = api.list(&ListParams::default()).await.context(ApiSnafu { doing: "list the pods" })?;
        let asleep = asleep(&pods.items, nodes);
        let Some(first) = asleep.first().filter(|_| Instant::now() < until) else { return Ok(()) };
        task.status(format!("waits for word of {} pods, such as {first}", asleep.len()));
        tokio::time::sleep(LOOK).await;
    }
}

/// Pods that are said to run since before their node does.
fn asleep(pods: &[Pod], nodes: &BTreeMap<String, Timestamp>) -> Vec<String> {
    let old = |pod: &&Pod| {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        let Some(began) = node.and_then(|node| nodes.get(node)) else { return false };
        let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        // Kubernetes keeps whole seconds.
        let early = |time: &Time| time.0.as_second() + 1 < began.as_second();
        statuses.filter_map(|status| status.state.as_ref()?.running.as_ref()?.started_at.as_ref()).any(early)
    };
    pods.iter().filter(old).map(ResourceExt::name_any).collect()
}

/// A word that was not asked before.
fn question() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", now.as_nanos(), std::process::id())
}

/// The clouds that the cluster has besides this one.
pub async fn others(client: &Client, cloud: &OpenStack) -> Result<Vec<OpenStack>, Error> {
    let clouds: Api<OpenStack> = Api::all(client.clone());
    let found = match clouds.list(&ListParams::default()).await {
        Ok(found) => found.items,
        // Nobody has installed the operator here yet.
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(source) => return Err(source).context(ApiSnafu { doing: "list the clouds" }),
    };
    Ok(found.into_iter().filter(|other| place(other) != place(cloud)).collect())
}

/// Is it a word of the operator of that revision, about that generation, and newer than what was asked?
fn is_news(status: &OpenStackStatus, generation: Option<i64>, revision: &str, asked: &str) -> bool {
    // What the operator before this one said of the cloud may be out of date, and what this one said before it was asked:
    // for as long as it is silent, nobody corrects it.
    status.observed_generation.is_some()
        && status.observed_generation >= generation
        && status.revision.as_deref() == Some(revision)
        && status.answered.as_deref() == Some(asked)
}

/// Wait until the operator of that revision answers that the cloud is ready, with a line for each of its parts.
pub async fn wait(
    client: &Client,
    cloud: &OpenStack,
    (revision, asked): (&str, &str),
    patience: Duration,
    task: &Task,
) -> Result<Waited, Error> {
    let (namespace, name) = place(cloud);
    let clouds: Api<OpenStack> = Api::namespaced(client.clone(), &namespace);
    let began = Instant::now();
    let mut shown = Shown::default();
    let mut waited = false;
    let mut away: Option<Instant> = None;
    loop {
        let doing = format!("read cloud {namespace}/{name}");
        let now = match clouds.get_opt(&name).await {
            Ok(now) => now,
            // An API server that restarts comes back within seconds; its refusals do not go away by waiting.
            Err(source)
                if !matches!(source, kube::Error::Api(_))
                    && away.get_or_insert_with(Instant::now).elapsed() < AWAY =>
            {
                task.status("waits for the API server to answer");
                tokio::time::sleep(LOOK).await;
                continue;
            }
            Err(source) => return Err(source).context(ApiSnafu { doing }),
        };
        away = None;
        let generation = now.as_ref().and_then(|now| now.metadata.generation);
        let status = now.and_then(|now| now.status).unwrap_or_default();
        let current = is_news(&status, generation, revision, asked);
        if current {
            let refusals = status.plan.as_ref().map(|plan| plan.refusals.clone()).unwrap_or_default();
            if !refusals.is_empty() {
                return RefusedSnafu { lines: refusals }.fail();
            }
            if status.phase == Some(Phase::WaitingForApproval) {
                let plan = status.plan.unwrap_or_default();
                let cloud = format!("{namespace}/{name}");
                return UnapprovedSnafu { cloud, hash: plan.hash, changes: plan.changes }.fail();
            }
            if status.phase == Some(Phase::Ready) {
                shown.end();
                return Ok(Waited { status, waited });
            }
            shown.show(&status, task);
            // That it takes a moment to answer changes nothing.
            waited = true;
        } else {
            task.status("waits for the operator to answer");
        }
        if began.elapsed() >= patience {
            let waiting = status
                .waiting_for
                .filter(|_| current)
                .unwrap_or_else(|| "the operator does not answer".into());
            return NotReadySnafu { cloud: format!("{namespace}/{name}"), after: patience, waiting }.fail();
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The lines that are on the screen.
#[derive(Default)]
struct Shown {
    open: BTreeMap<String, (Task, String)>,
    ended: std::collections::BTreeSet<String>,
}

impl Shown {
    fn show(&mut self, status: &OpenStackStatus, task: &Task) {
        for part in &status.components {
            if let Some(waiting) = &part.waiting_for {
                // A part that is only waited for by others gets its line when its turn comes.
                let fresh = || (task.child(part.name.clone()), String::new());
                let (line, said) = self.open.entry(part.name.clone()).or_insert_with(fresh);
                if said != waiting {
                    line.status(waiting.clone());
                    said.clone_from(waiting);
                }
                self.ended.remove(&part.name);
                continue;
            }
            let fresh = self.ended.insert(part.name.clone());
            match self.open.remove(&part.name) {
                Some((line, _)) => line.done(),
                None if fresh => task.child(part.name.clone()).unchanged(),
                None => {}
            }
        }
        if status.components.iter().all(|part| part.waiting_for.is_none())
            && let Some(waiting) = &status.waiting_for
        {
            task.status(waiting.clone());
        }
    }

    fn end(&mut self) {
        for (_, (line, _)) in std::mem::take(&mut self.open) {
            line.done();
        }
    }
}

/// `NodePorts`, each published under its own number.
pub fn same_ports(ports: impl IntoIterator<Item = u16>, listen: Ipv4Addr) -> Vec<PortMap> {
    let same = |port| PortMap { listen: SocketAddrV4::new(listen, port), node_port: port };
    ports.into_iter().map(same).collect()
}

/// The `NodePorts` that the endpoints name, each published under its own number.
pub fn port_maps(endpoints: &Endpoints, listen: Ipv4Addr) -> Vec<PortMap> {
    let urls = [&endpoints.horizon, &endpoints.identity, &endpoints.console, &endpoints.statistics];
    same_ports(urls.into_iter().flatten().filter_map(|url| port(url)), listen)
}

/// A URL with the host's own address in the place of the node's.
pub fn on_host(url: &str, listen: Ipv4Addr) -> String {
    match port(url) {
        Some(port) => format!("https://{listen}:{port}/"),
        None => url.to_owned(),
    }
}

fn port(url: &str) -> Option<u16> {
    let authority = url.split("//").nth(1)?.split('/').next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_from_before_the_question_is_no_news() {
        let status = |generation, revision: &str, answered: Option<&str>| OpenStackStatus {
            observed_generation: Some(generation),
            revision: Some(revision.into()),
            answered: answered.map(str::to_owned),
            phase: Some(Phase::Ready),
            ..OpenStackStatus::default()
        };
        let is_news = |status| is_news(&status, Some(2), "r1", "now");
        assert!(is_news(status(2, "r1", Some("now"))));
        assert!(!is_news(status(2, "r1", Some("before"))), "the operator has not been heard since");
        assert!(!is_news(status(2, "r1", None)));
        assert!(!is_news(status(1, "r1", Some("now"))), "of the resource as it was");
        assert!(!is_news(status(2, "r0", Some("now"))), "of another operator");
        assert_ne!(question(), question());
    }

    #[test]
    fn pods_that_run_since_before_their_node_are_not_believed() {
        let pod = |name: &str, node: &str, started: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": name}, "spec": {"nodeName": node, "containers": []},
                "status": {"containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true,
                    "restartCount": 0, "state": {"running": {"startedAt": started}}}]}
            }))
            .unwrap()
        };
        let pods = [
            pod("old", "node1", "2026-11-29T10:00:00Z"),
            pod("new", "node1", "2026-11-29T11:00:05Z"),
            pod("elsewhere", "node2", "2026-11-29T10:00:00Z"),
        ];
        let nodes = BTreeMap::from([("node1".to_owned(), "2026-11-29T11:00:00Z".parse().unwrap())]);
        assert_eq!(asleep(&pods, &nodes), ["old"]);
    }

    #[test]
    fn published_ports_are_those_of_the_urls() {
        let endpoints = Endpoints {
            horizon: Some("https://10.87.0.11:30080/".into()),
            identity: Some("https://10.87.0.11:30443/identity/v3".into()),
            ..Endpoints::default()
        };
        let ports: Vec<u16> =
            port_maps(&endpoints, Ipv4Addr::LOCALHOST).iter().map(|map| map.node_port).collect();
        assert_eq!(ports, [30080, 30443]);
        assert_eq!(on_host("https://10.87.0.11:30080/", Ipv4Addr::LOCALHOST), "https://127.0.0.1:30080/");
    }
}
