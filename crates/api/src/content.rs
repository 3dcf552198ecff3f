//! What is in a cloud when it is up: projects, users, flavors, networks, images, servers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a cloud contains, kept so: what is declared is put back when somebody removes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Content {
    /// Ready-made content to start from.
    #[serde(default)]
    pub preset: Preset,
}

/// Ready-made content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Preset {
    /// Project and user `demo`, `demo-net`, `demo-router`, flavors, an image and a virtual machine.
    #[default]
    Demo,
    /// Nothing.
    None,
}
