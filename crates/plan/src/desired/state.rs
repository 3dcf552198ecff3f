//! The value itself, and how it is made from a blueprint.

use std::collections::{BTreeMap, BTreeSet};

use oaas_api::ConfigValue;
use oaas_catalog::{Service, WorkloadKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::conceal::Conceal;
use super::ended::Ended;
use super::flatten::{flatten, options, things};
use crate::assemble::blueprint;
use crate::blueprint::{Blueprint, ComponentPlan};
use crate::content::declared;
use crate::credentials::{CredentialKind, credentials};
use crate::error::PlanError;
use crate::given::given;
use crate::inputs::{Cluster, Image, Inputs, UserSecrets};
use crate::registrations::{Access, Registration};
use crate::select::cloud_catalog;

/// What is said of one thing: a name and a value, a line each.
type Lines = BTreeMap<String, String>;

/// A longer text is stored as a digest: nobody reads what changes in it in one line.
const LONGEST: usize = 400;

/// Everything that is desired of a cloud.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DesiredState {
    /// Which key the digests of secrets are made with.
    pub digests: String,
    /// The cluster that it is in.
    pub cluster: Cluster,
    /// The release.
    pub release: String,
    /// Workloads, by component.
    pub components: BTreeMap<String, DesiredComponent>,
    /// One-off work, by name.
    pub jobs: BTreeMap<String, DesiredJob>,
    /// What stands in the identity service, by service.
    pub registrations: BTreeMap<String, Lines>,
    /// What the cloud contains, by kind and name: `network ext-net`.
    pub content: BTreeMap<String, Lines>,
    /// Where the cloud is reached.
    pub publishing: Lines,
    /// Certificates, by Secret: names and addresses in each.
    pub certificates: BTreeMap<String, Lines>,
}

/// One workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DesiredComponent {
    /// Its service.
    pub service: String,
    /// The kind of Kubernetes workload.
    pub kind: String,
    /// Its image.
    pub image: Image,
    /// How many pods; none where there is one on each node of a kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Do they vote?
    pub votes: bool,
    /// File → option → value.
    pub options: BTreeMap<String, Lines>,
    /// Its ports, by name.
    pub ports: Lines,
    /// Requests and limits.
    pub resources: Lines,
    /// Its persistent volumes, by name.
    pub volumes: Lines,
    /// The Secrets that its pods mount, each with a digest of what is in it.
    pub secrets: Lines,
    /// Hash of its pods' template.
    pub pods: String,
}

/// One-off work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DesiredJob {
    /// What it does, for people.
    pub title: String,
    /// When it is done again and again; none where it is done once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Hash of what it is made from: with another it is done again.
    pub hash: String,
}

impl DesiredState {
    /// A short hash that names it. An image that differs in its thin top layer alone is the same.
    pub fn hash(&self) -> String {
        let mut same = self.clone();
        same.components.values_mut().for_each(|component| component.image.reference.clear());
        // Plain data with text keys can be written as JSON.
        hex::encode(Sha256::digest(serde_json::to_vec(&same).unwrap_or_default()))[..16].to_owned()
    }
}

/// What is desired of a cloud. `templates` gives the hash of each component's pod template.
///
/// It is what it is when all that is asked for is done ([`Ended`]): how far a rotation or the first start is changes
/// nothing that anybody wants.
pub fn desired_state(
    inputs: &Inputs<'_>,
    templates: &dyn Fn(&Blueprint) -> BTreeMap<String, String>,
) -> Result<DesiredState, PlanError> {
    let ended = Ended::of(inputs);
    let conceal = Conceal::new(inputs.credentials, &ended.inputs(inputs));
    let inputs = ended.inputs(inputs);
    Ok(state(&inputs, &blueprint(&inputs)?, &conceal, templates))
}

fn state(
    inputs: &Inputs<'_>,
    blueprint: &Blueprint,
    conceal: &Conceal<'_>,
    templates: &dyn Fn(&Blueprint) -> BTreeMap<String, String>,
) -> DesiredState {
    let templates = templates(blueprint);
    let catalog = cloud_catalog(inputs).ok();
    let service =
        |name: &str| catalog.iter().flat_map(oaas_catalog::CloudCatalog::services).find(|s| s.name == name);
    let component = |plan: &ComponentPlan| {
        let secret =
            service(&plan.service).map(|of| secret_options(inputs, of, &plan.name)).unwrap_or_default();
        let pods = templates.get(&plan.name).cloned().unwrap_or_default();
        (plan.name.clone(), desired_component(inputs, plan, conceal, &secret, pods))
    };
    let jobs = blueprint.jobs.values().map(|job| {
        (
            job.name.clone(),
            DesiredJob {
                title: job.title.clone(),
                schedule: job.schedule.as_ref().map(ToString::to_string),
                hash: job.hash.clone(),
            },
        )
    });
    let registrations = blueprint.registrations.iter();
    let publish = &blueprint.publish;
    let ports = publish.ports.iter().map(|(key, port)| (format!("port of {key}"), port.to_string()));
    DesiredState {
        digests: conceal.key_id(),
        cluster: blueprint.cluster.clone(),
        release: blueprint.release.clone(),
        components: blueprint.components.values().map(component).collect(),
        jobs: jobs.collect(),
        registrations: registrations
            .map(|one| (one.service.clone(), registered(inputs, one, conceal)))
            .collect(),
        content: content(inputs, conceal),
        publishing: ports.chain([("address".to_owned(), publish.address.clone())]).collect(),
        certificates: certificates(inputs, conceal),
    }
}

fn desired_component(
    inputs: &Inputs<'_>,
    plan: &ComponentPlan,
    conceal: &Conceal<'_>,
    secret: &BTreeSet<String>,
    pods: String,
) -> DesiredComponent {
    let kind = match plan.kind {
        WorkloadKind::Deployment => "Deployment",
        WorkloadKind::StatefulSet => "StatefulSet",
        WorkloadKind::DaemonSet => "DaemonSet",
    };
    let told = |said: Lines| -> Lines {
        let told = said.into_iter().map(|(option, value)| {
            let value = if secret.contains(&option) { conceal.whole(&value) } else { conceal.parts(&value) };
            let value = if value.len() > LONGEST { conceal.whole(&value) } else { value };
            (option, value)
        });
        told.collect()
    };
    let files = plan.documents.iter().map(|document| (document.path.clone(), told(options(document))));
    let files_of_nodes = plan.node_documents.iter().filter_map(|(node, document)| {
        let common = options(plan.documents.iter().find(|common| common.path == document.path)?);
        let mut own = options(document);
        own.retain(|option, value| common.get(option) != Some(value));
        Some((format!("{} on {node}", document.path), told(own)))
    });
    let ports = plan.ports.iter().map(|port| {
        let published = port.node_port.map_or_else(String::new, |port| format!(", published as {port}"));
        (port.name.clone(), format!("{}{published}", port.port))
    });
    let resources = &plan.resources;
    let cpu_limit = resources.cpu_limit_millis.map(|millis| ("cpu limit".to_owned(), format!("{millis}m")));
    let amounts = [
        ("cpu".to_owned(), format!("{}m", resources.cpu_millis)),
        ("memory".to_owned(), format!("{}Mi", resources.memory_mib)),
        ("memory limit".to_owned(), format!("{}Mi", resources.memory_limit_mib)),
    ];
    let volumes = plan.claims.iter().map(|(name, claim)| {
        let class = claim.class.as_ref().map_or_else(String::new, |class| format!(" of class {class}"));
        (name.clone(), format!("{}{class}", claim.size))
    });
    let mounted = plan.accounts.values().chain(plan.secret_mounts.keys()).chain(&plan.certificate);
    let digest = |name: &String| {
        let values = inputs.credentials.get(name)?;
        let all: Vec<&str> =
            values.iter().flat_map(|(key, value)| [key.as_str(), value.expose().as_str()]).collect();
        Some((name.clone(), conceal.whole(&all.join("\n"))))
    };
    DesiredComponent {
        service: plan.service.clone(),
        kind: kind.to_owned(),
        image: plan.image.clone(),
        replicas: (plan.kind != WorkloadKind::DaemonSet).then_some(plan.replicas),
        votes: plan.rule.rule == oaas_catalog::ReplicaRule::Odd,
        options: files.chain(files_of_nodes).collect(),
        ports: ports.collect(),
        resources: amounts.into_iter().chain(cpu_limit).collect(),
        volumes: volumes.collect(),
        secrets: mounted.filter_map(digest).collect(),
        pods,
    }
}

/// The options of the user's whose values are secret: they come from a Secret, or the service says so of the option.
fn secret_options(inputs: &Inputs<'_>, service: &Service, component: &str) -> BTreeSet<String> {
    let index = inputs.catalog.options(&inputs.spec.release, service);
    let said =
        [service.name.as_str(), component].into_iter().filter_map(|name| inputs.spec.services.get(name));
    let groups = inputs.spec.nodes.iter().flat_map(|group| &group.config);
    let of_groups = groups.filter(|(name, _)| **name == service.name || *name == component);
    let of_groups = of_groups.map(|(_, sections)| sections);
    let mut found = BTreeSet::new();
    for sections in said.flat_map(|wanted| [&wanted.config, &wanted.unchecked]).chain(of_groups) {
        for (section, options) in sections {
            for (option, value) in options {
                let present = index.and_then(|index| index.present(section, option));
                let (section, option) = present.unwrap_or((section.as_str(), option.as_str()));
                let known =
                    index.and_then(|index| index.get(section, option)).is_some_and(|info| info.secret);
                if known || refers(value) {
                    found.insert(format!("[{section}] {option}"));
                }
            }
        }
    }
    found
}

/// Does any of it stand in a Secret?
fn refers(value: &ConfigValue) -> bool {
    match value {
        ConfigValue::Secret(_) => true,
        ConfigValue::List(values) => values.iter().any(refers),
        ConfigValue::Bool(_) | ConfigValue::Integer(_) | ConfigValue::Number(_) | ConfigValue::Text(_) => {
            false
        }
    }
}

fn registered(inputs: &Inputs<'_>, wanted: &Registration, conceal: &Conceal<'_>) -> Lines {
    let mut lines = Lines::new();
    for api in &wanted.apis {
        lines.insert(format!("endpoint {} ({}) internal", api.name, api.kind), api.internal.clone());
        lines.insert(format!("endpoint {} ({}) public", api.name, api.kind), api.public.clone());
    }
    for user in &wanted.users {
        let access = match &user.access {
            Access::Project { project, roles, system_roles } => {
                let system = if system_roles.is_empty() {
                    String::new()
                } else {
                    format!("; {} on the system", system_roles.join(", "))
                };
                format!("{} on {project}{system}", roles.join(", "))
            }
            Access::DomainAdmin { domain } => format!("admin of the domain {domain}"),
        };
        lines.insert(format!("user {}", user.name), access);
        let password = inputs.credentials.get(&user.secret).and_then(|keys| keys.get("password"));
        let digest = password.map(|password| conceal.whole(password.expose()));
        lines.insert(format!("user {} password", user.name), digest.unwrap_or_default());
    }
    lines.extend(wanted.roles.iter().map(|role| (format!("role {role}"), "exists".to_owned())));
    lines.extend(wanted.domains.iter().map(|domain| (format!("domain {domain}"), "exists".to_owned())));
    lines
}

fn content(inputs: &Inputs<'_>, conceal: &Conceal<'_>) -> BTreeMap<String, Lines> {
    let content = declared(inputs.spec);
    // A resource that was read as one can be written as one.
    let mut things = things(&serde_json::to_value(&content).unwrap_or_default());
    let none = UserSecrets::new();
    let given = given(&content, inputs.credentials, inputs.user_secrets.unwrap_or(&none));
    for (user, password) in &given.passwords {
        let user = things.entry(format!("user {user}")).or_default();
        user.insert("password".to_owned(), conceal.whole(password.expose()));
    }
    for ((_, pair), key) in &given.public_keys {
        things.entry(format!("keypair {pair}")).or_default().insert("public key".to_owned(), key.clone());
    }
    for lines in things.values_mut() {
        for value in lines.values_mut().filter(|value| value.len() > LONGEST) {
            *value = conceal.whole(value);
        }
    }
    things
}

fn certificates(inputs: &Inputs<'_>, conceal: &Conceal<'_>) -> BTreeMap<String, Lines> {
    let of = |spec: crate::credentials::CredentialSpec| match spec.kind {
        CredentialKind::Certificate { names, addresses, own, .. } => {
            let mut lines = Lines::new();
            flatten("names", &names.into(), &mut lines);
            flatten("addresses", &addresses.into(), &mut lines);
            if let Some((secret, _)) = own {
                let given = inputs.user_secrets.into_iter().flatten().filter(|(key, _)| key.name == secret);
                let given: Vec<&str> = given.map(|(_, value)| value.expose().as_str()).collect();
                lines.insert("your own".to_owned(), format!("{secret} {}", conceal.whole(&given.join("\n"))));
            }
            Some((spec.name, lines))
        }
        _ => None,
    };
    credentials(inputs).into_iter().filter_map(of).collect()
}
