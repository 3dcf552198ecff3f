//! What the API server has, watched and kept: nothing is read twice, and a reconciliation that changes nothing makes
//! no request at all.
//!
//! # Flow
//! One watch per kind of [`Objects`], limited to our objects by label, and one each of `OpenStack`, pods and nodes.
//! Every event is put into a store and, unless it only brings a status that the operator wrote, names the cloud that it concerns.
//!
//! # Guarantees
//! Nothing is reconciled before every watch has listed once. What this operator wrote itself is seen at once: the API
//! server's answer stands in front of the store until the watch has caught up with it.
//!
//! # Caveats
//! Watches cover all namespaces, so the operator may list our labelled objects everywhere.

mod kind;

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use oaas_api::{OpenStack, names};
use oaas_render::Objects;
use oaas_render::objects::{Kind, Visit};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

use kind::is_of;
pub use kind::{Cached, LiveMeta, Reports, Watched};

/// Everything that is watched.
pub struct Cache {
    /// The clouds themselves.
    pub clouds: Store<OpenStack>,
    /// Which of the clouds' versions came of their own status being written.
    pub reports: Arc<Reports>,
    /// Pods of clouds.
    pub pods: Store<Pod>,
    /// Nodes of the cluster.
    pub nodes: Store<Node>,
    kinds: Vec<Arc<dyn Watched>>,
    by_type: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

/// Which cloud something concerns.
pub type CloudRef = ObjectRef<OpenStack>;

impl Cache {
    /// Starts every watch into `tasks`; each event sends the cloud that it concerns to `concerns`.
    pub fn start(client: &Client, concerns: &UnboundedSender<CloudRef>, tasks: &mut JoinSet<()>) -> Self {
        let mut builder =
            Builder { client, concerns, tasks: &mut *tasks, kinds: Vec::new(), by_type: HashMap::new() };
        Objects::default().visit(&mut builder);
        let Builder { kinds, by_type, .. } = builder;

        let to = concerns.clone();
        let (clouds, writer) = store();
        let reports = Arc::<Reports>::default();
        let of_clouds = Arc::clone(&reports);
        tasks.spawn(run(
            kube::runtime::reflector(writer, watch::<OpenStack>(client, watcher::Config::default())),
            move |event| {
                if let Some(cloud) = object(&event).filter(|_| !of_clouds.is_of(&event)) {
                    send(&to, ObjectRef::from_obj(cloud));
                }
            },
        ));

        let to = concerns.clone();
        let (pods, writer) = store();
        let ours = watcher::Config::default().labels(names::LABEL_CLOUD);
        tasks.spawn(run(kube::runtime::reflector(writer, watch::<Pod>(client, ours)), move |event| {
            if let Some(cloud) = object(&event).and_then(cloud_of) {
                send(&to, cloud);
            }
        }));

        let (nodes, writer) = store();
        let to = concerns.clone();
        let all_clouds = clouds.clone();
        let mut seen = BTreeMap::new();
        tasks.spawn(run(
            kube::runtime::reflector(
                writer,
                watch::<Node>(client, watcher::Config::default()).modify(trim_node),
            ),
            move |event| {
                let Some(node) = object(&event) else { return };
                // Nodes send a sign of life every few seconds; only what planning looks at concerns the clouds.
                let looks = looks_of(node, matches!(event, watcher::Event::Delete(_)));
                if seen.insert(node.name_any(), looks.clone()) != Some(looks) {
                    all_clouds
                        .state()
                        .iter()
                        .for_each(|cloud| send(&to, ObjectRef::from_obj(cloud.as_ref())));
                }
            },
        ));
        Self { clouds, reports, pods, nodes, kinds, by_type }
    }

    /// Waits until every watch has listed once, at most `limit`. Says which kinds did not.
    pub async fn ready(&self, limit: Duration) -> Result<(), Vec<String>> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut late = Vec::new();
        for kind in &self.kinds {
            if tokio::time::timeout_at(deadline, kind.ready()).await.is_err() {
                late.push(kind.resource().kind.clone());
            }
        }
        let others = async {
            let three =
                (self.clouds.wait_until_ready(), self.pods.wait_until_ready(), self.nodes.wait_until_ready());
            futures::join!(three.0, three.1, three.2)
        };
        if tokio::time::timeout_at(deadline, others).await.is_err() {
            late.push("OpenStack, Pod or Node".into());
        }
        if late.is_empty() { Ok(()) } else { Err(late) }
    }

    /// The kinds that a cloud may have, in the order in which they are best created.
    pub fn kinds(&self) -> &[Arc<dyn Watched>] {
        &self.kinds
    }

    /// One kind by its name.
    pub fn kind(&self, name: &str) -> Option<&Arc<dyn Watched>> {
        self.kinds.iter().find(|kind| kind.resource().kind == name)
    }

    /// All objects of one kind that carry the label of a cloud, also those of an earlier cloud of the same name.
    pub fn of_cloud<K: Kind>(&self, namespace: &str, cloud: &str) -> Vec<Arc<K>> {
        let cached = self.by_type.get(&TypeId::of::<K>()).and_then(|any| any.downcast_ref::<Cached<K>>());
        cached.map(|cached| cached.of_cloud(namespace, cloud)).unwrap_or_default()
    }

    /// Pods of one cloud.
    pub fn pods_of(&self, namespace: &str, cloud: &str) -> Vec<Arc<Pod>> {
        self.pods.state_filter(|pod| is_of(pod, namespace, cloud))
    }
}

struct Builder<'a> {
    client: &'a Client,
    concerns: &'a UnboundedSender<CloudRef>,
    tasks: &'a mut JoinSet<()>,
    kinds: Vec<Arc<dyn Watched>>,
    by_type: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl Visit for Builder<'_> {
    fn kind<K: Kind>(&mut self, _: &[K]) {
        let (reader, writer) = store::<K>();
        let cached = Arc::new(Cached::new(reader));
        let selector = format!("{}={}", names::LABEL_MANAGED_BY, names::MANAGED_BY);
        let stream = watch::<K>(self.client, watcher::Config::default().labels(&selector));
        let to = self.concerns.clone();
        let written = Arc::clone(&cached);
        self.tasks.spawn(run(kube::runtime::reflector(writer, stream), move |event| {
            let news = written.caught_up(&event);
            if let Some(cloud) = object(&event).filter(|_| news).and_then(cloud_of) {
                send(&to, cloud);
            }
        }));
        self.by_type
            .insert(TypeId::of::<K>(), Arc::<Cached<K>>::clone(&cached) as Arc<dyn Any + Send + Sync>);
        self.kinds.push(cached);
    }
}

/// A watch that starts again with growing pauses when it fails, without the bookkeeping of field managers.
fn watch<K: Kind>(
    client: &Client,
    config: watcher::Config,
) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + 'static {
    let api: Api<K> = Api::all(client.clone());
    watcher(api, config).default_backoff().modify(|object| object.meta_mut().managed_fields = None)
}

async fn run<K, S>(stream: S, mut on_event: impl FnMut(watcher::Event<K>) + Send)
where
    K: Kind,
    S: Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send,
{
    let mut stream = std::pin::pin!(stream);
    while let Some(next) = stream.next().await {
        match next {
            Ok(event) => on_event(event),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "watch interrupted, starting it again");
            }
        }
    }
}

fn object<K>(event: &watcher::Event<K>) -> Option<&K> {
    match event {
        watcher::Event::Apply(object)
        | watcher::Event::Delete(object)
        | watcher::Event::InitApply(object) => Some(object),
        watcher::Event::Init | watcher::Event::InitDone => None,
    }
}

/// The cloud that an object's label names.
fn cloud_of<K: Resource>(object: &K) -> Option<CloudRef> {
    let name = object.meta().labels.as_ref()?.get(names::LABEL_CLOUD)?;
    Some(ObjectRef::new(name).within(object.meta().namespace.as_deref()?))
}

fn send(to: &UnboundedSender<CloudRef>, cloud: CloudRef) {
    // The receiver goes only when the operator stops; then nothing is lost.
    if to.send(cloud).is_err() {
        tracing::debug!("event after the loop has ended");
    }
}

/// Image lists of nodes are long, and nothing looks at them.
fn trim_node(node: &mut Node) {
    if let Some(status) = &mut node.status {
        status.images = None;
        status.volumes_in_use = None;
        status.volumes_attached = None;
    }
}

/// What planning looks at in a node, as text.
fn looks_of(node: &Node, deleted: bool) -> String {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|c| c.type_ == "Ready").map(|c| c.status.as_str());
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_ref());
    let spec = node.spec.as_ref();
    format!(
        "{deleted} {ready:?} {allocatable:?} {addresses:?} {:?} {:?} {:?} {:?}",
        node.metadata.labels,
        node.annotations().get(names::ANNOTATION_INTERFACES),
        spec.and_then(|spec| spec.unschedulable),
        spec.and_then(|spec| spec.taints.as_ref()),
    )
}
