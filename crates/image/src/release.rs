//! Releases as their images are made: `images/releases`, compiled in.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One OpenStack release: what its image is made of, and where its services differ from `recipes/services.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// As OpenStack writes it: `2026.1`. Stands for `{release}` in recipes.
    pub name: String,
    /// The Debian suite that its image stands on.
    pub suite: String,
    /// The version of the suite's Python that its services run under: `3.13`. Stands for `{python}` in recipes.
    pub python: String,
    /// The day, `YYYY-MM-DD`, at whose beginning the package index is read for its lock.
    pub date: String,
    /// What is installed, as requirements of pip. One with a version of its own is not bound by the upper constraints.
    pub requirements: Vec<String>,
    /// Versions that are taken instead of those of the upper constraints.
    #[serde(default)]
    pub pins: Vec<String>,
    /// By service: where it differs from `recipes/services.toml`.
    #[serde(default)]
    pub services: BTreeMap<String, Differences>,
}

/// Where a service of a release differs from what all releases have in common. What is given here replaces what is
/// said there, but for the namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Differences {
    /// Option namespaces that only this release has.
    pub namespaces: Vec<String>,
    /// Option namespaces that this release has not.
    pub absent: Vec<String>,
    /// Databases, each with the directory of its migrations.
    pub databases: BTreeMap<String, String>,
    /// The command that brings the databases up.
    pub sync: Vec<String>,
    /// The section that says where the database is.
    pub connection: Option<String>,
}

impl Release {
    /// The file name of its lock below `images/locks`.
    pub fn lock(&self) -> String {
        format!("openstack-{}.txt", self.name)
    }

    /// A recipe's text as it is for this release.
    pub fn fill(&self, template: &str) -> String {
        template.replace("{release}", &self.name).replace("{python}", &self.python)
    }
}
