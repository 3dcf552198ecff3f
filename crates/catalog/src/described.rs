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
    /// The name, what only one of the two says, and the pod.
    fn parts(self, resources: Option<Resources>) -> Result<(String, Own, Pod), String> {
        let pod = Pod {
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
            resources: self.resources.or(resources).ok_or("missing field `resources`")?,
            node_settings: self.node_settings,
            volumes: self.volumes,
            security: self.security,
            grace: self.grace,
        };
        let own = Own {
            title: self.title,
            schedule: self.schedule,
            kind: self.kind,
            replicas: self.replicas,
            single_writer: self.single_writer,
            ports: self.ports,
            health: self.health,
            certificate: self.certificate,
        };
        Ok((self.name, own, pod))
    }
}

/// What a component or a job says of itself alone.
struct Own {
    title: Option<String>,
    schedule: Option<Schedule>,
    kind: Option<WorkloadKind>,
    replicas: Option<Replicas>,
    single_writer: Option<String>,
    ports: Option<Vec<Port>>,
    health: Option<Health>,
    certificate: Option<bool>,
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

fn component(described: Described) -> Result<Component, String> {
    let (name, own, pod) = described.parts(None)?;
    none("a component", &[("title", own.title.is_some()), ("schedule", own.schedule.is_some())])?;
    Ok(Component {
        name,
        kind: own.kind.ok_or("missing field `kind`")?,
        replicas: own.replicas.unwrap_or_default(),
        single_writer: own.single_writer,
        ports: own.ports.unwrap_or_default(),
        health: own.health.unwrap_or_default(),
        certificate: own.certificate.unwrap_or(true),
        pod,
    })
}

fn job(described: Described) -> Result<Job, String> {
    let (name, own, pod) = described.parts(Some(Resources::of_job()))?;
    none(
        "a job",
        &[
            ("kind", own.kind.is_some()),
            ("replicas", own.replicas.is_some()),
            ("single_writer", own.single_writer.is_some()),
            ("ports", own.ports.is_some()),
            ("health", own.health.is_some()),
            ("certificate", own.certificate.is_some()),
        ],
    )?;
    if pod.role.wsgi().is_some() {
        return Err("a WSGI application never ends, and is no job".to_owned());
    }
    if pod.volumes.iter().any(|volume| matches!(volume.source, VolumeSource::PersistentGib(_))) {
        return Err("a job has no persistent volumes of its own".to_owned());
    }
    let title = own.title.ok_or("missing field `title`")?;
    Ok(Job { name, title, schedule: own.schedule, pod })
}
