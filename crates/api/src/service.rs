//! What may be said about one service of a cloud.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::config::Sections;

/// What differs from the profile for one service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// Whether the service runs. Default: what the profile says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How many instances run. Unset, the count belongs to whoever scales (`kubectl scale oscomp/<component>`);
    /// set, it is put back. Services that vote (galera, rabbitmq, etcd, ovn-nb, ovn-sb) take odd counts only, and keep
    /// theirs once they have started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 99))]
    pub replicas: Option<i32>,
    /// Options of the service's configuration: section, option, value; checked against the option catalog of the
    /// release. A value is text, a number, true or false, a list, or `{secretKeyRef: {name, key}}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: Sections,
    /// Like `config`, but not checked: for plugins and drivers that the catalog does not know.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unchecked: Sections,
    /// Further files: path below the service's configuration directory, and content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config_files: BTreeMap<String, String>,
    /// Rules of the service's policy: name of the rule, and rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policy: BTreeMap<String, String>,
    /// Memory limit of the service's main container, such as `512Mi`. Short for `resources.limits.memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Amount>,
    /// Requests and limits of the service's main container. Default: what the profile says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Size of each of the service's volumes, such as `10Gi`. It can grow, never shrink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Amount>,
    /// Image of this service alone, by digest. Default: what `images` or the release says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// Requests and limits of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// What is reserved: resource (`cpu`, `memory`) and amount.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Amount>,
    /// What is allowed at most: resource (`cpu`, `memory`) and amount.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Amount>,
}

impl Service {
    /// Limits of the main container: `resources.limits`, with `memory` for what that leaves out.
    pub fn limits(&self) -> BTreeMap<String, Amount> {
        let mut limits = self.resources.clone().unwrap_or_default().limits;
        if let Some(memory) = &self.memory {
            limits.entry("memory".into()).or_insert_with(|| memory.clone());
        }
        limits
    }
}
