//! What an operator has accepted of a cloud, as an object of the cluster.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use oaas_api::{OpenStackSpec, names};
use oaas_plan::{Blueprint, Change, DesiredState};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::labels::metadata;

/// The state that was accepted last, what led to it, and the words that it was made from.
///
/// It is a Secret, since a resource may hold passwords that somebody wrote into it; those that are generated or stand in
/// Secrets are not in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The state.
    pub state: DesiredState,
    /// What lay between the one before and it.
    pub changes: Vec<Change>,
    /// The resource that it was made from.
    pub spec: OpenStackSpec,
}

const STATE: &str = "state.json";
const CHANGES: &str = "changes.json";
const SPEC: &str = "spec.json";

impl Stored {
    /// As an object that is created once, named by the state's hash and never written again.
    pub fn object(&self, blueprint: &Blueprint) -> Secret {
        let hash = self.state.hash();
        let mut metadata = metadata(blueprint, &format!("{}-state-{hash}", blueprint.cloud.name), None);
        metadata.labels.get_or_insert_default().insert(names::LABEL_STATE.into(), hash);
        metadata.annotations.get_or_insert_default().insert(names::ANNOTATION_APPLY.into(), "create".into());
        let data = [
            (STATE.to_owned(), json(&self.state)),
            (CHANGES.to_owned(), json(&self.changes)),
            (SPEC.to_owned(), json(&self.spec)),
        ];
        Secret { metadata, immutable: Some(true), data: Some(data.into()), ..Secret::default() }
    }

    /// Out of such an object. Nothing where it is another's, or was written by a version whose states are others.
    pub fn read(secret: &Secret) -> Option<Self> {
        secret.metadata.labels.as_ref()?.get(names::LABEL_STATE)?;
        let data = secret.data.as_ref()?;
        Some(Self {
            state: part(data.get(STATE))?,
            changes: part(data.get(CHANGES))?,
            spec: part(data.get(SPEC))?,
        })
    }
}

fn part<T: DeserializeOwned>(bytes: Option<&ByteString>) -> Option<T> {
    serde_json::from_slice(&bytes?.0).ok()
}

fn json(value: &impl Serialize) -> ByteString {
    // Plain data with text keys can be written as JSON.
    ByteString(serde_json::to_vec(value).unwrap_or_default())
}
