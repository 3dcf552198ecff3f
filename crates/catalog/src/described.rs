//! A component or a job as a file describes it: both have one shape of pods, and few words of their own.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::component::{Component, Port, Replicas, WorkloadKind};
use crate::health::Health;
use crate::job::{Job, Schedule};
use crate::pod::{Need, NodeLabel, Pod, Resources, Security, Volume, VolumeSource};
use crate::role::Role;
use crate::value::{Scalar, SecretKey};

/// All that may be said of either.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Described {
    name: String,
    title: Option<String>,
    schedule: Option<Schedule>,
    kind: Option<WorkloadKind>,
    replicas: Option<Replicas>,
    single_writer: Option<String>,
    ports: Option<Vec<Port>>,
    health: Option<Health>,
    certificate: Option<bool>,
    follows_certificate: Option<bool>,
    image: String,
    #[serde(default)]
    nodes: NodeLabel,
    #[serde(default)]
    needs: Vec<Need>,
    #[serde(default)]
    config: Vec<String>,
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    accounts: Vec<String>,
    #[serde(default)]
    secret_mounts: BTreeMap<String, String>,
    #[serde(default)]
    secret_env: BTreeMap<String, SecretKey>,
    #[serde(default)]
    env: BTreeMap<String, Scalar>,
    role: Role,
    resources: Option<Resources>,
    #[serde(default)]
    node_settings: bool,
    #[serde(default)]
    volumes: Vec<Volume>,
    #[serde(default)]
    security: Security,
    #[serde(default = "thirty")]
    grace: u32,
}

fn thirty() -> u32 {
    30
}

impl Described {
    /// What it takes, or what is taken where it says nothing.
    fn resources(&self, otherwise: Option<Resources>) -> Result<Resources, String> {
        Ok(self.resources.clone().or(otherwise).ok_or("missing field `resources`")?)
    }

    /// The pod.
    fn pod(self, resources: Resources) -> Pod {
        Pod {
            image: self.image,
            nodes: self.nodes,
            needs: self.needs,
            config: self.config,
            files: self.files,
            accounts: self.accounts,
            secret_mounts: self.secret_mounts,
            secret_env: self.secret_env,
            env: self.env,
            role: self.role,
            resources,
            node_settings: self.node_settings,
            volumes: self.volumes,
            security: self.security,
            grace: self.grace,
        }
    }
}

/// Refuse what only the other one may say.
fn none(what: &str, said: &[(&str, bool)]) -> Result<(), String> {
    match said.iter().find(|(_, said)| *said) {
        Some((field, _)) => Err(format!("unknown field `{field}`: {what} has none")),
        None => Ok(()),
    }
}

impl<'de> Deserialize<'de> for Component {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        component(Described::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Job {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        job(Described::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn component(mut described: Described) -> Result<Component, String> {
    let resources = described.resources(None)?;
    none("a component", &[("title", described.title.is_some()), ("schedule", described.schedule.is_some())])?;
    Ok(Component {
        name: std::mem::take(&mut described.name),
        kind: described.kind.take().ok_or("missing field `kind`")?,
        replicas: described.replicas.take().unwrap_or_default(),
        single_writer: described.single_writer.take(),
        ports: described.ports.take().unwrap_or_default(),
        health: described.health.take().unwrap_or_default(),
        certificate: described.certificate.unwrap_or(true),
        follows_certificate: described.follows_certificate.unwrap_or(false),
        pod: described.pod(resources),
    })
}

fn job(mut described: Described) -> Result<Job, String> {
    let resources = described.resources(Some(Resources::of_job()))?;
    none(
        "a job",
        &[
            ("kind", described.kind.is_some()),
            ("replicas", described.replicas.is_some()),
            ("single_writer", described.single_writer.is_some()),
            ("ports", described.ports.is_some()),
            ("health", described.health.is_some()),
            ("certificate", described.certificate.is_some()),
            ("follows_certificate", described.follows_certificate.is_some()),
        ],
    )?;
    let (name, title) = (std::mem::take(&mut described.name), described.title.take());
    let schedule = described.schedule.take();
    let pod = described.pod(resources);
    if pod.role.wsgi().is_some() {
        return Err("a WSGI application never ends, and is no job".to_owned());
    }
    if pod.volumes.iter().any(|volume| matches!(volume.source, VolumeSource::PersistentGib(_))) {
        return Err("a job has no persistent volumes of its own".to_owned());
    }
    let title = title.ok_or("missing field `title`")?;
    Ok(Job { name, title, schedule, pod })
}
