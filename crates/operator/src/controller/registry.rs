//! Which clouds exist, where an admission policy can see it: `ConfigMap oaas-clouds` in the operator's namespace.
//!
//! The policy that refuses to delete our custom resource definitions while clouds exist gets this object as its
//! parameter; a policy cannot list resources itself.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use oaas_api::names;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::apply::{Key, Owner, WriteError, write};
use crate::fence::Fence;
use crate::metrics::Metrics;

/// Name of the registry.
pub const NAME: &str = "oaas-clouds";

/// The registry of clouds.
pub struct Registry {
    api: Api<ConfigMap>,
    known: Mutex<Option<BTreeMap<String, String>>>,
}

impl Registry {
    /// The registry in the operator's namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), known: Mutex::new(None) }
    }

    /// Records a cloud. Done before anything else, so that there is no cloud that the policy does not know of.
    pub async fn add(&self, fence: &Fence, metrics: &Metrics, owner: &Owner) -> Result<(), WriteError> {
        self.set(fence, metrics, owner, Some(&owner.uid)).await
    }

    /// Forgets a cloud that is gone.
    pub async fn remove(&self, fence: &Fence, metrics: &Metrics, owner: &Owner) -> Result<(), WriteError> {
        self.set(fence, metrics, owner, None).await
    }

    async fn set(
        &self,
        fence: &Fence,
        metrics: &Metrics,
        owner: &Owner,
        uid: Option<&String>,
    ) -> Result<(), WriteError> {
        let entry = format!("{}.{}", owner.namespace, owner.name);
        let key = Key { kind: "ConfigMap".into(), name: NAME.into() };
        // Held across the requests: two clouds must not create the object at once.
        let mut known = self.known.lock().await;
        let entries = match known.as_mut() {
            Some(entries) => entries,
            None => known.insert(self.load(fence, metrics, &key).await?),
        };
        if entries.get(&entry) == uid {
            return Ok(());
        }
        let value = uid.map_or(Value::Null, |uid| json!(uid));
        let patch = json!({ "data": { entry.clone(): value } });
        let parameters = PatchParams { field_manager: Some(names::MANAGER.into()), ..PatchParams::default() };
        write(fence, metrics, "register", &key, self.api.patch(NAME, &parameters, &Patch::Merge(&patch)))
            .await?;
        match uid {
            Some(uid) => entries.insert(entry, uid.clone()),
            None => entries.remove(&entry),
        };
        Ok(())
    }

    async fn load(
        &self,
        fence: &Fence,
        metrics: &Metrics,
        key: &Key,
    ) -> Result<BTreeMap<String, String>, WriteError> {
        let found = write_free(key, self.api.get_opt(NAME)).await?;
        if let Some(found) = found {
            return Ok(found.data.unwrap_or_default());
        }
        let map = ConfigMap {
            metadata: ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() },
            ..ConfigMap::default()
        };
        let parameters = PostParams { field_manager: Some(names::MANAGER.into()), ..PostParams::default() };
        write(fence, metrics, "create", key, self.api.create(&parameters, &map)).await?;
        Ok(BTreeMap::new())
    }
}

/// A read with the errors of a write, so that callers have one error to deal with.
async fn write_free<T>(key: &Key, request: impl Future<Output = kube::Result<T>>) -> Result<T, WriteError> {
    use snafu::ResultExt;
    request.await.context(crate::apply::RequestSnafu { verb: "read", key: key.clone() })
}
