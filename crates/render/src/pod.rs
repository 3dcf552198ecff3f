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
use oaas_catalog::{NodeLabel, Security, VolumeSource, WorkloadKind};
use oaas_plan::{AUTHORITY, Blueprint, ComponentPlan, Document, JobPlan, node_selector};

use crate::labels::{ANNOTATION_HASH, LABEL_WRITER, config_secret, labels};
use crate::volumes::shared_claim;

/// The ConfigMap that tells agents what their node is.
pub(crate) const NODES: &str = "nodes";
/// What runs in every container of ours.
const AGENT: [&str; 5] = ["/usr/bin/oaas", "agent", "run", "--config", "/etc/oaas/agent/agent.json"];

/// The key of a file in its Secret: the path without what Secrets do not allow in keys.
pub(crate) fn file_key(path: &str) -> String {
    path.trim_start_matches('/').replace('/', "_")
}

/// The template of a component's pods.
pub(crate) fn template(blueprint: &Blueprint, plan: &ComponentPlan) -> PodTemplateSpec {
    // An agent that is root runs its program as another user, which has to read the program's files.
    let mode = if plan.security.user == 0 { 0o444 } else { SECRET_MODE };
    let mut pod = Builder::new(&config_secret(&plan.name), &plan.documents, mode);
    match &plan.certificate {
        Some(secret) => pod.secret("tls", secret, "/etc/oaas/tls", &[]),
        None => pod.secret("tls", AUTHORITY, "/etc/oaas/tls", &["ca.crt"]),
    }
    pod.accounts(&plan.accounts);
    pod.directories(&plan.secret_mounts);
    if plan.node_settings {
        let source = ConfigMapVolumeSource { name: NODES.into(), ..ConfigMapVolumeSource::default() };
        pod.volume(
            Volume { name: NODES.into(), config_map: Some(source), ..Volume::default() },
            "/etc/oaas/nodes",
            true,
            false,
        );
    }
    for volume in &plan.volumes {
        pod.declared(plan, volume);
    }
    let container = Container {
        name: plan.name.clone(),
        image: Some(plan.image.reference.clone()),
        command: Some(AGENT.map(str::to_owned).to_vec()),
        env: Some(environment(&plan.env)),
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
        resources: Some(resources(plan)),
        security_context: Some(container_security(&plan.security)),
        volume_mounts: Some(pod.mounts),
        ..Container::default()
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
            volumes: Some(pod.volumes),
            node_selector: Some(BTreeMap::from([node_selector(&blueprint.cloud, plan.nodes)])),
            security_context: Some(pod_security(&plan.security)),
            host_network: plan.security.host_network.then_some(true),
            host_pid: plan.security.host_pid.then_some(true),
            priority_class_name: (plan.kind == WorkloadKind::DaemonSet)
                .then(|| "system-node-critical".to_owned()),
            termination_grace_period_seconds: Some(i64::from(plan.grace)),
            service_account_name: plan.chooses_writer().then(|| plan.name.clone()),
            automount_service_account_token: Some(plan.chooses_writer()),
            ..pod_defaults(plan.security.host_network)
        }),
    }
}

/// The processor share of a job. Without a request a pod gets next to nothing beside others, and everything waits for
/// the jobs of a new cloud while its services start.
const JOB_CPU: &str = "50m";

/// The template of a job's pod.
pub(crate) fn job_template(blueprint: &Blueprint, job: &JobPlan) -> PodTemplateSpec {
    let mut pod = Builder::new(&config_secret(&job.object_name()), &job.documents, SECRET_MODE);
    pod.secret("tls", AUTHORITY, "/etc/oaas/tls", &["ca.crt"]);
    pod.accounts(&job.accounts);
    pod.directories(&job.secret_mounts);
    let mut env = environment(&BTreeMap::new());
    for (variable, (secret, key)) in &job.secret_env {
        let selector = SecretKeySelector { name: secret.clone(), key: key.clone(), optional: None };
        env.push(EnvVar {
            name: variable.clone(),
            value_from: Some(EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() }),
            ..EnvVar::default()
        });
    }
    let security = Security::default();
    let container = Container {
        name: job.name.clone(),
        image: Some(job.image.reference.clone()),
        command: Some(AGENT.map(str::to_owned).to_vec()),
        env: Some(env),
        resources: Some(ResourceRequirements {
            requests: Some(BTreeMap::from([("cpu".to_owned(), Quantity(JOB_CPU.to_owned()))])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(container_security(&security)),
        volume_mounts: Some(pod.mounts),
        ..Container::default()
    };
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels(&blueprint.cloud, Some(&job.name))),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container],
            volumes: Some(pod.volumes),
            node_selector: Some(BTreeMap::from([node_selector(&blueprint.cloud, NodeLabel::Controller)])),
            security_context: Some(pod_security(&security)),
            restart_policy: Some("OnFailure".into()),
            ..pod_defaults(false)
        }),
    }
}

fn pod_defaults(host_network: bool) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        dns_policy: Some(if host_network { "ClusterFirstWithHostNet" } else { "ClusterFirst" }.into()),
        // Names are written out in full: with the usual ndots of 5 each would be looked up under every search domain first.
        dns_config: Some(PodDNSConfig {
            options: Some(vec![PodDNSConfigOption { name: Some("ndots".into()), value: Some("2".into()) }]),
            ..PodDNSConfig::default()
        }),
        ..PodSpec::default()
    }
}

fn environment(own: &BTreeMap<String, String>) -> Vec<EnvVar> {
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

fn resources(plan: &ComponentPlan) -> ResourceRequirements {
    let resources = &plan.resources;
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
        let volume = Volume { name: "config".into(), secret: Some(source), ..Volume::default() };
        let mounts = documents
            .iter()
            .map(|document| VolumeMount {
                name: "config".into(),
                mount_path: document.path.clone(),
                sub_path: Some(file_key(&document.path)),
                read_only: Some(true),
                ..VolumeMount::default()
            })
            .collect();
        Self { volumes: vec![volume], mounts }
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

    fn declared(&mut self, plan: &ComponentPlan, volume: &oaas_catalog::Volume) {
        let mut source = Volume { name: volume.name.clone(), ..Volume::default() };
        let mut shared = false;
        match &volume.source {
            VolumeSource::PersistentGib(_) if plan.kind == WorkloadKind::StatefulSet => {
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
                    claim_name: shared_claim(plan, &volume.name),
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
