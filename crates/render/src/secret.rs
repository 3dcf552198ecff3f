//! Generated secrets as Secrets.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use oaas_api::names;
use oaas_plan::{Blueprint, Sensitive};

use crate::labels::metadata;

/// A Secret that outlives its cloud: created once and never written again, unless it `follows` what is wanted.
pub fn credential(
    blueprint: &Blueprint,
    name: &str,
    values: &BTreeMap<String, Sensitive<String>>,
    follows: bool,
) -> Secret {
    let mut metadata = metadata(blueprint, name, None);
    metadata.labels.get_or_insert_default().insert(names::LABEL_DATA.into(), "true".into());
    if !follows {
        metadata.annotations.get_or_insert_default().insert(names::ANNOTATION_APPLY.into(), "create".into());
    }
    let data =
        values.iter().map(|(key, value)| (key.clone(), ByteString(value.expose().clone().into_bytes())));
    Secret { metadata, data: Some(data.collect()), ..Secret::default() }
}
