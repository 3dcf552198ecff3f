//! What is in a cloud when it is up: projects, users, flavors, networks, images, servers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use oaas_cloud::content::spec;

/// What a cloud contains, kept so: what is declared is put back when somebody removes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// Ready-made content to start from.
    #[serde(default)]
    pub preset: Preset,
    /// What is declared beyond the preset; a thing of the same name takes the place of the preset's.
    #[serde(flatten)]
    pub more: spec::Content,
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

impl Content {
    /// What is declared in all: the preset's content with [`Content::more`] over it.
    pub fn over(&self, preset: spec::Content) -> spec::Content {
        let spec::Content {
            domains,
            roles,
            projects,
            users,
            role_assignments,
            quotas,
            flavors,
            networks,
            routers,
            security_groups,
            keypairs,
            images,
            servers,
        } = self.more.clone();
        spec::Content {
            domains: put(preset.domains, domains, |a, b| a.name == b.name),
            roles: put(preset.roles, roles, |a, b| a == b),
            projects: put(preset.projects, projects, |a, b| a.name == b.name),
            users: put(preset.users, users, |a, b| a.name == b.name),
            role_assignments: put(preset.role_assignments, role_assignments, |a, b| a == b),
            quotas: put(preset.quotas, quotas, |a, b| a.project == b.project),
            flavors: put(preset.flavors, flavors, |a, b| a.name == b.name),
            networks: put(preset.networks, networks, |a, b| (&a.name, &a.project) == (&b.name, &b.project)),
            routers: put(preset.routers, routers, |a, b| (&a.name, &a.project) == (&b.name, &b.project)),
            security_groups: put(preset.security_groups, security_groups, |a, b| {
                (&a.name, &a.project) == (&b.name, &b.project)
            }),
            keypairs: put(preset.keypairs, keypairs, |a, b| (&a.name, &a.user) == (&b.name, &b.user)),
            images: put(preset.images, images, |a, b| a.name == b.name),
            servers: put(preset.servers, servers, |a, b| (&a.name, &a.project) == (&b.name, &b.project)),
        }
    }
}

/// `more` over `below`: what is the same thing takes its place, the rest is added in order.
fn put<T>(below: Vec<T>, more: Vec<T>, same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut all = below;
    for one in more {
        match all.iter().position(|other| same(other, &one)) {
            Some(place) => all[place] = one,
            None => all.push(one),
        }
    }
    all
}
