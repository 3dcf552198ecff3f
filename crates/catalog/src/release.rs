//! What OaaS knows about a release, and about the sizes of clouds.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One OpenStack release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The name, as OpenStack writes it: `2026.1`.
    pub name: String,
    /// Its place among all releases; a later one has a greater number.
    pub order: u32,
    /// The name of the image that holds its services.
    pub image: String,
    /// The version of Python in that image.
    pub python: String,
}

/// A size of cloud: which services, how many replicas, how much of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The services that it enables, with their replicas where these differ from the component's default.
    pub services: BTreeMap<String, ProfileService>,
}

/// What a profile says of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileService {
    /// Replicas by component.
    pub replicas: BTreeMap<String, u32>,
}
