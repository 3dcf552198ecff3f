//! Free configuration: section → option → value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Configuration of one service: section → option → value. Sections may be any, such as `DEFAULT` or `ceph-ssd`.
pub type Sections = BTreeMap<String, BTreeMap<String, ConfigValue>>;

/// One value of a configuration option, as written in YAML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ConfigValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// Text.
    Text(String),
    /// A list; written as oslo.config wants it for the option: repeated, or joined by commas.
    List(Vec<ConfigValue>),
    /// The value stands in a Secret.
    Secret(FromSecret),
}

/// A value that stands in a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FromSecret {
    /// Which Secret and which of its keys.
    pub secret_key_ref: SecretKeyRef,
}

/// One key of a Secret in the cloud's namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    pub name: String,
    /// Key within the Secret.
    pub key: String,
}

impl JsonSchema for ConfigValue {
    fn schema_name() -> Cow<'static, str> {
        "ConfigValue".into()
    }

    fn inline_schema() -> bool {
        true
    }

    // Of several types, and structural schemas have no union: the API server takes any value, and
    // `crate::input` and the option catalog judge it.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
    }
}
