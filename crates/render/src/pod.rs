//! The pod of a component or job.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, KeyToPath,
    ObjectFieldSelector, PodDNSConfig, PodDNSConfigOption, PodSecurityContext, PodSpec, PodTemplateSpec,
    Probe, ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretKeySelector, SecretProjection,
    SecretVolumeSource, SecurityContext, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, HostPathVolumeSource, PersistentVolumeClaimVolumeSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use oaas_catalog::{NodeLabel, Resources, Security, VolumeSource, WorkloadKind};
use oaas_plan::{AUTHORITY, Blueprint, ComponentPlan, Document, JobPlan, LIVE, node_selector};

use crate::labels::{ANNOTATION_HASH, LABEL_WRITER, config_secret, labels, live_secret};
use crate::volumes::shared_claim;

/// The ConfigMap that tells agents what their node is.
pub(crate) const NODES: &str = "nodes";
/// What runs in every container of ours.
const AGENT: [&str; 5] = ["/usr/bin/oaas", "agent", "run", "--config", "/etc/oaas/agent/agent.json"];
/// When a container ends badly, the kubelet keeps the end of its log in the pod's status, where the operator reads why.
const LAST_WORDS: &str = "FallbackToLogsOnError";

/// The key of a file in its Secret: the path without what Secrets do not allow in keys.
pub(crate) fn file_key(path: &str) -> String {
    path.trim_start_matches('/').replace('/', "_")
}

/// The key of a file in its Secret as it is on one node.
pub(crate) fn node_file_key(path: &str, node: &str) -> String {
    format!("{}.{node}", file_key(path))
}

/// What the pods of components and of jobs are made of.
struct Parts<'a> {
    name: &'a str,
    config: String,
    documents: &'a [Document],
    /// Its main file where that is another on each node.
    node_documents: &'a BTreeMap<String, Document>,
    /// Where its service looks for its live files, if it does so elsewhere too.
    live_options: Option<&'a String>,
    /// The Secret with its certificate, if it has one.
    certificate: Option<&'a String>,
    image: &'a str,
    nodes: NodeLabel,
    env: &'a BTreeMap<String, String>,
    secret_env: &'a BTreeMap<String, (String, String)>,
    accounts: &'a BTreeMap<String, String>,
    secret_mounts: &'a BTreeMap<String, String>,
    node_settings: bool,
    volumes: &'a [oaas_catalog::Volume],
    /// Does it get its persistent volumes from claims of its own?
    claims: bool,
    resources: &'a Resources,
    security: &'a Security,
    grace: u32,
}

/// A pod with one container, in which the agent runs.
fn pod(blueprint: &Blueprint, parts: &Parts<'_>) -> (Container, PodSpec) {
    // An agent that is root runs its program as another user, which has to read the program's files.
    let mode = if parts.security.user == 0 { 0o444 } else { SECRET_MODE };
    let mut pod = Builder::new(&parts.config, parts.documents, mode);
    pod.of_nodes(parts.node_documents);
    match parts.certificate {
        Some(secret) => pod.secret("tls", secret, "/etc/oaas/tls", &[]),
        None => pod.secret("tls", AUTHORITY, "/etc/oaas/tls", &["ca.crt"]),
    }
    pod.accounts(parts.accounts);
    pod.directories(parts.secret_mounts);
    if parts.documents.iter().any(Document::is_live) {
        // As a directory: what is mounted file by file stays as it was when the pod started.
        pod.secret("live", &live_secret(parts.name), LIVE, &[]);
        pod.mounts.extend(parts.live_options.map(|directory| VolumeMount {
            name: "live".into(),
            mount_path: directory.clone(),
            read_only: Some(true),
            ..VolumeMount::default()
        }));
    }
    if parts.node_settings {
        let source = ConfigMapVolumeSource { name: NODES.into(), ..ConfigMapVolumeSource::default() };
        pod.volume(
            Volume { name: NODES.into(), config_map: Some(source), ..Volume::default() },
            "/etc/oaas/nodes",
            true,
            false,
        );
    }
    for volume in parts.volumes {
        pod.declared(parts.name, parts.claims, volume);
    }
    let container = Container {
        name: parts.name.to_owned(),
        image: Some(parts.image.to_owned()),
        termination_message_policy: Some(LAST_WORDS.to_owned()),
        command: Some(AGENT.map(str::to_owned).to_vec()),
        env: Some(environment(parts.env, parts.secret_env)),
        resources: Some(resources(parts.resources)),
        security_context: Some(container_security(parts.security)),
        volume_mounts: Some(pod.mounts),
        ..Container::default()
    };
    let host_network = parts.security.host_network;
    let spec = PodSpec {
        volumes: Some(pod.volumes),
        node_selector: Some(BTreeMap::from([node_selector(&blueprint.cloud, parts.nodes)])),
        security_context: Some(pod_security(parts.security)),
        host_network: host_network.then_some(true),
        host_pid: parts.security.host_pid.then_some(true),
        termination_grace_period_seconds: Some(i64::from(parts.grace)),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        dns_policy: Some(if host_network { "ClusterFirstWithHostNet" } else { "ClusterFirst" }.into()),
        // Names are written out in full: with the usual ndots of 5 each would be looked up under every search domain first.
        dns_config: Some(PodDNSConfig {
            options: Some(vec![PodDNSConfigOption { name: Some("ndots".into()), value: Some("2".into()) }]),
            ..PodDNSConfig::default()
        }),
        ..PodSpec::default()
    };
    (container, spec)
}

/// The template of a component's pods.
pub(crate) fn template(blueprint: &Blueprint, plan: &ComponentPlan) -> PodTemplateSpec {
    let (container, spec) = pod(
        blueprint,
        &Parts {
            name: &plan.name,
            config: config_secret(&plan.name, &plan.hash),
            documents: &plan.documents,
            node_documents: &plan.node_documents,
            live_options: plan.live_options.as_ref(),
            certificate: plan.certificate.as_ref(),
            image: &plan.image.reference,
            nodes: plan.nodes,
            env: &plan.env,
            secret_env: &plan.secret_env,
            accounts: &plan.accounts,
            secret_mounts: &plan.secret_mounts,
            node_settings: plan.node_settings,
            volumes: &plan.volumes,
            claims: plan.kind == WorkloadKind::StatefulSet,
            resources: &plan.resources,
            security: &plan.security,
            grace: plan.grace,
        },
    );
    let container = Container {
        ports: Some(
            plan.ports
                .iter()
                .map(|port| ContainerPort {
                    name: Some(port.name.clone()),
                    container_port: i32::from(port.port),
                    ..ContainerPort::default()
                })
                .collect(),
        ),
        startup_probe: plan.probes.then(|| probe(plan, "/startup", 1, plan.startup_seconds, 20)),
        liveness_probe: plan.probes.then(|| probe(plan, "/live", 10, 3, 20)),
        readiness_probe: plan.probes.then(|| probe(plan, "/ready", 5, 2, 10)),
        ..container
    };
    let mut pod_labels = labels(&blueprint.cloud, Some(&plan.name));
    if plan.single_writer.is_some() && plan.replicas == 1 {
        // The one member there is needs nobody to choose it.
        pod_labels.insert(LABEL_WRITER.into(), "true".into());
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: Some(BTreeMap::from([(ANNOTATION_HASH.to_owned(), plan.hash.clone())])),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container],
            priority_class_name: (plan.kind == WorkloadKind::DaemonSet)
                .then(|| "system-node-critical".to_owned()),
            service_account_name: plan.chooses_writer().then(|| plan.name.clone()),
            automount_service_account_token: Some(plan.chooses_writer()),
            ..spec
        }),
    }
}

/// The template of a job's pod.
pub(crate) fn job_template(blueprint: &Blueprint, job: &JobPlan) -> PodTemplateSpec {
    let (container, spec) = pod(
        blueprint,
        &Parts {
            name: &job.name,
            config: config_secret(&job.name, &job.hash),
            documents: &job.documents,
            node_documents: &BTreeMap::new(),
            live_options: None,
            certificate: None,
            image: &job.image.reference,
            nodes: job.nodes,
            env: &job.env,
            secret_env: &job.secret_env,
            accounts: &job.accounts,
            secret_mounts: &job.secret_mounts,
            node_settings: job.node_settings,
            volumes: &job.volumes,
            claims: false,
            resources: &job.resources,
            security: &job.security,
            grace: job.grace,
        },
    );
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels(&blueprint.cloud, Some(&job.name))),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec { containers: vec![container], restart_policy: Some("OnFailure".into()), ..spec }),
    }
}

fn environment(own: &BTreeMap<String, String>, secrets: &BTreeMap<String, (String, String)>) -> Vec<EnvVar> {
    let field = |name: &str, path: &str| EnvVar {
        name: name.into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.into(), api_version: None }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let mut env = vec![
        field("NODE_NAME", "spec.nodeName"),
        field("NODE_ADDRESS", "status.hostIP"),
        field("POD_NAME", "metadata.name"),
    ];
    env.extend(own.iter().map(|(name, value)| EnvVar {
        name: name.clone(),
        value: Some(value.clone()),
        value_from: None,
    }));
    env.extend(secrets.iter().map(|(name, (secret, key))| {
        let selector = SecretKeySelector { name: secret.clone(), key: key.clone(), optional: None };
        EnvVar {
            name: name.clone(),
            value_from: Some(EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() }),
            ..EnvVar::default()
        }
    }));
    env
}

fn probe(plan: &ComponentPlan, path: &str, period: i32, failures: u32, timeout: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(i32::from(plan.health_port)),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(i32::try_from(failures).unwrap_or(i32::MAX)),
        timeout_seconds: Some(timeout),
        ..Probe::default()
    }
}

fn resources(resources: &Resources) -> ResourceRequirements {
    let amounts = |cpu_millis: Option<u32>, memory_mib: u32| {
        let cpu = cpu_millis.map(|millis| ("cpu".to_owned(), Quantity(format!("{millis}m"))));
        Some(cpu.into_iter().chain([("memory".to_owned(), Quantity(format!("{memory_mib}Mi")))]).collect())
    };
    ResourceRequirements {
        requests: amounts(Some(resources.cpu_millis), resources.memory_mib),
        limits: amounts(resources.cpu_limit_millis, resources.memory_limit_mib),
        ..ResourceRequirements::default()
    }
}

fn container_security(security: &Security) -> SecurityContext {
    if security.privileged {
        return SecurityContext {
            privileged: Some(true),
            run_as_user: Some(security.user),
            run_as_group: Some(security.group),
            ..SecurityContext::default()
        };
    }
    SecurityContext {
        allow_privilege_escalation: Some(false),
        run_as_user: Some(security.user),
        run_as_group: Some(security.group),
        run_as_non_root: (security.user != 0).then_some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".into()]),
            add: (!security.capabilities.is_empty()).then(|| security.capabilities.clone()),
        }),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}

fn pod_security(security: &Security) -> PodSecurityContext {
    PodSecurityContext {
        fs_group: (security.group != 0).then_some(security.group),
        fs_group_change_policy: (security.group != 0).then(|| "OnRootMismatch".to_owned()),
        ..PodSecurityContext::default()
    }
}

/// The volume with configuration files.
const CONFIG: &str = "config";

/// The Secret with the configuration files of a pod.
pub fn files_of(pod: &PodSpec) -> Option<String> {
    let config = pod.volumes.iter().flatten().find(|volume| volume.name == CONFIG)?;
    config.secret.as_ref()?.secret_name.clone()
}

/// Collects volumes and where they are mounted.
struct Builder {
    volumes: Vec<Volume>,
    mounts: Vec<VolumeMount>,
}

/// Readable by the pod's user through its group, and by nobody else.
const SECRET_MODE: i32 = 0o440;

impl Builder {
    fn new(config: &str, documents: &[Document], mode: i32) -> Self {
        let source = SecretVolumeSource {
            secret_name: Some(config.to_owned()),
            default_mode: Some(mode),
            ..SecretVolumeSource::default()
        };
        let volume = Volume { name: CONFIG.into(), secret: Some(source), ..Volume::default() };
        let mounts = documents
            .iter()
            .filter(|document| !document.is_live())
            .map(|document| VolumeMount {
                name: CONFIG.into(),
                mount_path: document.path.clone(),
                sub_path: Some(file_key(&document.path)),
                read_only: Some(true),
                ..VolumeMount::default()
            })
            .collect();
        Self { volumes: vec![volume], mounts }
    }

    /// Files that are another on each node: the pod takes that of the node that it is on.
    fn of_nodes(&mut self, documents: &BTreeMap<String, Document>) {
        for document in documents.values() {
            let mount = self.mounts.iter_mut().find(|mount| mount.mount_path == document.path);
            if let Some(mount) = mount {
                mount.sub_path = None;
                mount.sub_path_expr = Some(node_file_key(&document.path, "$(NODE_NAME)"));
            }
        }
    }

    fn volume(&mut self, volume: Volume, path: &str, read_only: bool, shared: bool) {
        self.mounts.push(VolumeMount {
            name: volume.name.clone(),
            mount_path: path.to_owned(),
            read_only: read_only.then_some(true),
            mount_propagation: shared.then(|| "Bidirectional".to_owned()),
            ..VolumeMount::default()
        });
        self.volumes.push(volume);
    }

    fn secret(&mut self, name: &str, secret: &str, path: &str, keys: &[&str]) {
        let items: Vec<KeyToPath> = keys
            .iter()
            .map(|key| KeyToPath { key: (*key).to_owned(), path: (*key).to_owned(), mode: None, user: None })
            .collect();
        let source = SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            default_mode: Some(SECRET_MODE),
            items: (!items.is_empty()).then_some(items),
            ..SecretVolumeSource::default()
        };
        self.volume(
            Volume { name: name.to_owned(), secret: Some(source), ..Volume::default() },
            path,
            true,
            false,
        );
    }

    fn directories(&mut self, mounts: &BTreeMap<String, String>) {
        for (number, (secret, path)) in mounts.iter().enumerate() {
            self.secret(&format!("secret-{number}"), secret, path, &[]);
        }
    }

    fn accounts(&mut self, accounts: &BTreeMap<String, String>) {
        if accounts.is_empty() {
            return;
        }
        let sources = accounts
            .iter()
            .map(|(file, secret)| VolumeProjection {
                secret: Some(SecretProjection {
                    name: secret.clone(),
                    items: Some(vec![KeyToPath {
                        key: "password".into(),
                        path: file.clone(),
                        mode: None,
                        user: None,
                    }]),
                    optional: None,
                }),
                ..VolumeProjection::default()
            })
            .collect();
        let source = ProjectedVolumeSource {
            sources: Some(sources),
            default_mode: Some(SECRET_MODE),
            default_user: None,
        };
        let volume = Volume { name: "accounts".into(), projected: Some(source), ..Volume::default() };
        self.volume(volume, "/etc/oaas/accounts", true, false);
    }

    fn declared(&mut self, owner: &str, claims: bool, volume: &oaas_catalog::Volume) {
        let mut source = Volume { name: volume.name.clone(), ..Volume::default() };
        let mut shared = false;
        match &volume.source {
            VolumeSource::PersistentGib(_) if claims => {
                // The claim is the stateful set's own; only the mount is said here.
                self.mounts.push(VolumeMount {
                    name: volume.name.clone(),
                    mount_path: volume.mount.clone(),
                    read_only: volume.read_only.then_some(true),
                    ..VolumeMount::default()
                });
                return;
            }
            VolumeSource::PersistentGib(_) => {
                source.persistent_volume_claim = Some(PersistentVolumeClaimVolumeSource {
                    claim_name: shared_claim(owner, &volume.name),
                    read_only: None,
                });
            }
            VolumeSource::Host { path, must_exist, file, shared: both_ways } => {
                shared = *both_ways;
                let kind = match (must_exist, file) {
                    (true, _) => None,
                    (false, true) => Some("FileOrCreate"),
                    (false, false) => Some("DirectoryOrCreate"),
                };
                source.host_path =
                    Some(HostPathVolumeSource { path: path.clone(), type_: kind.map(str::to_owned) });
            }
            VolumeSource::Scratch { memory } => {
                source.empty_dir = Some(EmptyDirVolumeSource {
                    medium: memory.then(|| "Memory".to_owned()),
                    ..EmptyDirVolumeSource::default()
                });
            }
        }
        self.volume(source, &volume.mount, volume.read_only, shared);
    }
}
