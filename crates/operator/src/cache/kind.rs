//! The objects of one kind.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Resource;
use kube::ResourceExt;
use kube::core::ApiResource;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use oaas_api::names;
use oaas_render::objects::Kind;
use serde_json::Value;

/// What pruning looks at in an object.
#[derive(Debug, Clone)]
pub struct LiveMeta {
    /// Its name.
    pub name: String,
    /// Its unique id.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether a controller made it: such objects go with what they belong to.
    pub controlled: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// The objects of one kind, whatever the kind.
pub trait Watched: Send + Sync {
    /// The API of the kind.
    fn resource(&self) -> &ApiResource;
    /// The newest known state of an object.
    fn live(&self, namespace: &str, name: &str) -> Option<Value>;
    /// The version of that state: with another one, something of it is another.
    fn version(&self, namespace: &str, name: &str) -> Option<u64>;
    /// All objects that carry the label of a cloud.
    fn metas(&self, namespace: &str, cloud: &str) -> Vec<LiveMeta>;
    /// Takes the API server's answer to a write, until the watch has caught up.
    fn wrote(&self, answer: &Value);
    /// Takes the answer to a write that only reports, such as a status: its event is no news to whoever wrote it.
    fn reported(&self, answer: &Value);
    /// Takes note of a delete that the API server took.
    fn deleted(&self, namespace: &str, name: &str, uid: &str);
    /// Ends when the kind has been listed once.
    fn ready(&self) -> BoxFuture<'_, ()>;
}

/// What is known beyond the store.
enum Ahead<K> {
    Written(Arc<K>),
    Deleted(String),
}

/// Which versions of objects came of our own reports. Reconciling for them would find what the report already said.
#[derive(Debug, Default)]
pub struct Reports(Mutex<HashMap<(String, String), u64>>);

impl Reports {
    /// Takes note of what the API server answered to a report.
    pub fn note<K: Resource>(&self, answer: &K) {
        self.all().insert(key_of(answer), version(answer));
    }

    /// Whether an event brings nothing but the last report. One that comes before the answer does not count as such: then
    /// a reconciliation finds nothing to do.
    pub fn is_of<K: Resource>(&self, event: &Event<K>) -> bool {
        match event {
            Event::Apply(object) => self.all().get(&key_of(object)) == Some(&version(object)),
            Event::Delete(object) => {
                self.all().remove(&key_of(object));
                false
            }
            Event::Init | Event::InitApply(_) | Event::InitDone => false,
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<(String, String), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The objects of one kind: the store that a watch fills, and what was written since.
pub struct Cached<K: Kind> {
    resource: ApiResource,
    store: Store<K>,
    ahead: Mutex<HashMap<(String, String), Ahead<K>>>,
    reports: Reports,
}

impl<K: Kind> Cached<K> {
    /// Objects from a store.
    pub fn new(store: Store<K>) -> Self {
        Self {
            resource: ApiResource::erase::<K>(&()),
            store,
            ahead: Mutex::default(),
            reports: Reports::default(),
        }
    }

    /// Forgets what was written when the watch brings the same or something newer. Says whether the event is news, and not
    /// just what was reported.
    pub fn caught_up(&self, event: &Event<K>) -> bool {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                let key = key_of(object);
                let newer = match ahead.get(&key) {
                    Some(Ahead::Written(written)) => version(object) >= version(written.as_ref()),
                    Some(Ahead::Deleted(uid)) => object.meta().uid.as_ref() != Some(uid),
                    None => false,
                };
                if newer {
                    ahead.remove(&key);
                }
            }
            Event::Delete(object) => {
                ahead.remove(&key_of(object));
            }
            // A new list is at least as new as every write that was answered before it began.
            Event::Init => ahead.clear(),
            Event::InitDone => {}
        }
        !self.reports.is_of(event)
    }

    /// The newest known state of an object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let stored = self.store.get(&ObjectRef::new(name).within(namespace));
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        match ahead.get(&(namespace.to_owned(), name.to_owned())) {
            Some(Ahead::Written(written)) => match stored {
                Some(stored) if version(stored.as_ref()) >= version(written.as_ref()) => Some(stored),
                _ => Some(Arc::clone(written)),
            },
            Some(Ahead::Deleted(uid)) => stored.filter(|stored| stored.meta().uid.as_ref() != Some(uid)),
            None => stored,
        }
    }

    /// All objects that carry the label of a cloud, in the order of their names.
    pub fn of_cloud(&self, namespace: &str, cloud: &str) -> Vec<Arc<K>> {
        let mut names: Vec<String> = self
            .store
            .state_filter(|object| is_of(object, namespace, cloud))
            .iter()
            .map(|o| o.name_any())
            .collect();
        {
            let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
            names.extend(ahead.values().filter_map(|ahead| match ahead {
                Ahead::Written(object) if is_of(object.as_ref(), namespace, cloud) => Some(object.name_any()),
                _ => None,
            }));
        }
        names.sort();
        names.dedup();
        names.iter().filter_map(|name| self.get(namespace, name)).collect()
    }
}

impl<K: Kind> Watched for Cached<K> {
    fn resource(&self) -> &ApiResource {
        &self.resource
    }

    fn live(&self, namespace: &str, name: &str) -> Option<Value> {
        self.get(namespace, name).map(|object| {
            serde_json::to_value(object.as_ref()).expect("Kubernetes objects are plain data with text keys")
        })
    }

    fn version(&self, namespace: &str, name: &str) -> Option<u64> {
        self.get(namespace, name).map(|object| version(object.as_ref()))
    }

    fn metas(&self, namespace: &str, cloud: &str) -> Vec<LiveMeta> {
        let all = self.of_cloud(namespace, cloud);
        all.iter()
            .map(|object| LiveMeta {
                name: object.name_any(),
                uid: object.uid().unwrap_or_default(),
                labels: object.labels().clone(),
                controlled: object.owner_references().iter().any(|owner| owner.controller == Some(true))
                    || object.labels().contains_key("endpointslice.kubernetes.io/managed-by"),
                deleting: object.meta().deletion_timestamp.is_some(),
            })
            .collect()
    }

    fn wrote(&self, answer: &Value) {
        match serde_json::from_value::<K>(answer.clone()) {
            Ok(mut object) => {
                object.meta_mut().managed_fields = None;
                let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
                ahead.insert(key_of(&object), Ahead::Written(Arc::new(object)));
            }
            // The watch brings it too; all that is lost is one comparison against the newest state.
            Err(error) => tracing::debug!(kind = %self.resource.kind, %error, "answer not understood"),
        }
    }

    fn reported(&self, answer: &Value) {
        self.wrote(answer);
        if let Ok(object) = serde_json::from_value::<K>(answer.clone()) {
            self.reports.note(&object);
        }
    }

    fn deleted(&self, namespace: &str, name: &str, uid: &str) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.insert((namespace.to_owned(), name.to_owned()), Ahead::Deleted(uid.to_owned()));
    }

    fn ready(&self) -> BoxFuture<'_, ()> {
        async {
            if self.store.wait_until_ready().await.is_err() {
                // The watch has ended: the operator is stopping, and nothing waits for this any more.
                std::future::pending::<()>().await;
            }
        }
        .boxed()
    }
}

/// Does an object carry the label of a cloud?
pub(super) fn is_of<K: Resource>(object: &K, namespace: &str, cloud: &str) -> bool {
    object.meta().namespace.as_deref() == Some(namespace)
        && object
            .meta()
            .labels
            .as_ref()
            .and_then(|labels| labels.get(names::LABEL_CLOUD))
            .is_some_and(|is| is == cloud)
}

fn key_of<K: Resource>(object: &K) -> (String, String) {
    (object.meta().namespace.clone().unwrap_or_default(), object.meta().name.clone().unwrap_or_default())
}

/// Resource versions of one kind grow; since Kubernetes 1.35 comparing them is part of the API's promise.
fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::reflector::store;
    use serde_json::json;

    use super::*;

    fn map(version: &str, value: &str) -> ConfigMap {
        serde_json::from_value(json!({
            "metadata": { "name": "a", "namespace": "ns", "uid": "u", "resourceVersion": version,
                          "labels": { names::LABEL_CLOUD: "demo" } },
            "data": { "k": value },
        }))
        .unwrap()
    }

    fn value(cached: &Cached<ConfigMap>) -> Option<String> {
        cached.get("ns", "a").map(|found| found.data.as_ref().unwrap()["k"].clone())
    }

    #[test]
    fn an_answer_stands_in_front_of_the_store_until_the_watch_has_caught_up() {
        let (reader, mut writer) = store::<ConfigMap>();
        let cached = Cached::new(reader);
        let mut event = |event: Event<ConfigMap>| {
            writer.apply_watcher_event(&event);
            cached.caught_up(&event);
        };
        event(Event::Apply(map("9", "old")));
        cached.wrote(&serde_json::to_value(map("10", "new")).unwrap());
        assert_eq!(value(&cached).as_deref(), Some("new"));
        assert_eq!(cached.of_cloud("ns", "demo").len(), 1);
        event(Event::Apply(map("9", "late")));
        assert_eq!(value(&cached).as_deref(), Some("new"));
        event(Event::Apply(map("11", "newer")));
        assert_eq!(value(&cached).as_deref(), Some("newer"));
    }

    #[test]
    fn what_was_only_reported_is_no_news_and_all_else_is() {
        let (reader, mut writer) = store::<ConfigMap>();
        let cached = Cached::new(reader);
        let mut event = |event: Event<ConfigMap>| {
            writer.apply_watcher_event(&event);
            cached.caught_up(&event)
        };
        assert!(event(Event::Apply(map("9", "old"))));
        cached.reported(&serde_json::to_value(map("10", "new")).unwrap());
        assert_eq!(value(&cached).as_deref(), Some("new"));
        assert!(!event(Event::Apply(map("10", "new"))));
        assert!(event(Event::Apply(map("11", "newer"))));
        cached.reported(&serde_json::to_value(map("12", "new")).unwrap());
        assert!(event(Event::InitApply(map("12", "new"))), "what is listed anew is looked at");
        assert!(event(Event::Delete(map("12", "new"))));
        assert!(event(Event::Apply(map("12", "new"))), "gone, and there again");
    }

    #[test]
    fn what_was_created_or_deleted_is_seen_at_once() {
        let (reader, mut writer) = store::<ConfigMap>();
        let cached = Cached::new(reader);
        cached.wrote(&serde_json::to_value(map("5", "made")).unwrap());
        assert_eq!(cached.metas("ns", "demo").len(), 1);
        let made = Event::Apply(map("5", "made"));
        writer.apply_watcher_event(&made);
        cached.caught_up(&made);
        cached.deleted("ns", "a", "u");
        assert_eq!(value(&cached), None);
        assert!(cached.metas("ns", "demo").is_empty());
        let gone = Event::Delete(map("6", "made"));
        writer.apply_watcher_event(&gone);
        cached.caught_up(&gone);
        assert_eq!(value(&cached), None);
    }
}
