//! The little that the operator must remember of a cloud: the last primary view of its databases, epochs, cluster ids.
//!
//! Everything else is observed anew each time. The ledger is a ConfigMap of its own, because tools that back up and
//! restore strip the status of resources; it is changed by compare-and-swap *before* what it records is done.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use oaas_api::names;
use oaas_feedback::{Explain, Kind};
use snafu::{IntoError, Snafu};

use crate::apply::{Key, Owner, WriteError};
use crate::fence::Fence;
use crate::metrics::Metrics;

/// What is remembered of one cloud.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Entries by name.
    pub entries: BTreeMap<String, String>,
    /// Version of the object that they were read from; none when it does not exist.
    version: Option<String>,
}

/// Writing the ledger failed.
#[derive(Debug, Snafu)]
pub enum LedgerError {
    /// Somebody changed it since it was read; nothing that depends on it may be done.
    #[snafu(display("failed to write ledger {name}: it was changed since it was read"))]
    Changed {
        /// The ledger.
        name: String,
    },
    /// The API server refused or did not answer.
    #[snafu(display("failed to write ledger {name}"))]
    Write {
        /// The ledger.
        name: String,
        /// Why.
        #[snafu(source(from(WriteError, Box::new)))]
        source: Box<WriteError>,
    },
}

impl Explain for LedgerError {
    fn kind(&self) -> Kind {
        match self {
            Self::Changed { .. } => Kind::Busy,
            Self::Write { source, .. } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Changed { .. } => Some("the next reconciliation reads it again".to_owned()),
            Self::Write { source, .. } => source.hint(),
        }
    }
}

/// Name of a cloud's ledger.
pub fn name_of(cloud: &str) -> String {
    format!("{cloud}-ledger")
}

impl Ledger {
    /// Reads the ledger from what is observed; empty when it does not exist.
    pub fn read(observed: Option<&ConfigMap>) -> Self {
        let Some(map) = observed else { return Self::default() };
        Self { entries: map.data.clone().unwrap_or_default(), version: map.resource_version() }
    }

    /// Replaces the entries if nobody else did since they were read. What is equal already is not written.
    pub async fn swap(
        &self,
        client: &Client,
        fence: &Fence,
        metrics: &Metrics,
        owner: &Owner,
        entries: &BTreeMap<String, String>,
    ) -> Result<Option<ConfigMap>, LedgerError> {
        if self.entries == *entries {
            return Ok(None);
        }
        let name = name_of(&owner.name);
        let labels = owner.labels().into_iter().chain([(names::LABEL_DATA, "ledger")]);
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(owner.namespace.clone()),
                labels: Some(labels.map(|(label, value)| (label.to_owned(), value.to_owned())).collect()),
                resource_version: self.version.clone(),
                ..ObjectMeta::default()
            },
            data: Some(entries.clone()),
            ..ConfigMap::default()
        };
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), &owner.namespace);
        let parameters = PostParams { field_manager: Some(names::MANAGER.into()), ..PostParams::default() };
        let key = Key { kind: "ConfigMap".into(), name: name.clone() };
        let result = if self.version.is_some() {
            crate::apply::write(fence, metrics, "ledger", &key, api.replace(&name, &parameters, &map)).await
        } else {
            crate::apply::write(fence, metrics, "ledger", &key, api.create(&parameters, &map)).await
        };
        match result {
            Ok(map) => Ok(Some(map)),
            Err(error) if error.code() == Some(409) => ChangedSnafu { name }.fail(),
            Err(source) => Err(WriteSnafu { name }.into_error(source)),
        }
    }
}
