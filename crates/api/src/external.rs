//! Back-ends that exist already and are used by reference.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A back-end: our own (nothing set) or one that exists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// Use this one; without it, the cloud runs its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalRef>,
}

/// Where a back-end that exists is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalRef {
    /// Host name or address, or for an identity its URL.
    pub host: String,
    /// Port. Default: the protocol's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Secret of this namespace with `username`, `password` and, for TLS, `ca.crt`.
    pub secret_name: String,
}
