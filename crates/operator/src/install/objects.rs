//! The objects of the operator itself.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding, RoleRef, Subject};
use kube::core::ObjectMeta;
use serde_json::json;

use super::options::{InstallOptions, NAME};
use super::rbac;
use crate::apply::hash;

/// Port of probes and metrics.
const PORT: i32 = 8080;
/// Where the operator finds which image is which.
const IMAGES: &str = "/etc/oaas/images/images.json";

/// Metadata of an object of the operator.
pub(super) fn metadata(name: &str) -> ObjectMeta {
    let labels = [("app.kubernetes.io/name", NAME), ("app.kubernetes.io/part-of", "oaas")];
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()),
        ..ObjectMeta::default()
    }
}

/// The namespace, with the strictest pod security.
pub(super) fn namespace(options: &InstallOptions) -> Namespace {
    let mut metadata = metadata(&options.namespace);
    let labels = metadata.labels.get_or_insert_with(BTreeMap::new);
    labels.insert("pod-security.kubernetes.io/enforce".into(), "restricted".into());
    Namespace { metadata, ..Namespace::default() }
}

/// The operator's identity.
pub(super) fn service_account() -> ServiceAccount {
    ServiceAccount { metadata: metadata(NAME), ..ServiceAccount::default() }
}

/// What it may do in every namespace, and that it may.
pub(super) fn cluster_role(options: &InstallOptions) -> (ClusterRole, ClusterRoleBinding) {
    let role =
        ClusterRole { metadata: metadata(NAME), rules: Some(rbac::everywhere()), ..ClusterRole::default() };
    let binding = ClusterRoleBinding {
        metadata: metadata(NAME),
        role_ref: reference("ClusterRole"),
        subjects: Some(vec![subject(options)]),
    };
    (role, binding)
}

/// What it may do in its own namespace, and that it may.
pub(super) fn role(options: &InstallOptions) -> (Role, RoleBinding) {
    let role = Role { metadata: metadata(NAME), rules: Some(rbac::at_home()) };
    let binding = RoleBinding {
        metadata: metadata(NAME),
        role_ref: reference("Role"),
        subjects: Some(vec![subject(options)]),
    };
    (role, binding)
}

fn reference(kind: &str) -> RoleRef {
    RoleRef { api_group: Some("rbac.authorization.k8s.io".into()), kind: kind.into(), name: NAME.into() }
}

fn subject(options: &InstallOptions) -> Subject {
    Subject {
        kind: "ServiceAccount".into(),
        name: NAME.into(),
        namespace: Some(options.namespace.clone()),
        ..Subject::default()
    }
}

/// Which image is which.
pub(super) fn images(options: &InstallOptions) -> ConfigMap {
    let text = serde_json::to_string(&options.images).expect("a map of plain data serialises");
    ConfigMap {
        metadata: metadata("oaas-images"),
        data: Some(BTreeMap::from([("images.json".to_owned(), text)])),
        ..ConfigMap::default()
    }
}

/// Where metrics are scraped.
pub(super) fn service() -> Service {
    let mut service: Service = from(json!({
        "spec": {
            "selector": { "app.kubernetes.io/name": NAME },
            "ports": [{ "name": "metrics", "port": PORT, "targetPort": "web" }],
        },
    }));
    service.metadata = metadata(NAME);
    service
}

/// The operator.
pub(super) fn deployment(options: &InstallOptions) -> Deployment {
    let images = serde_json::to_value(&options.images).expect("a map of plain data serialises");
    let probe = |path: &str, period: u32, failures: u32| {
        json!({ "httpGet": { "path": path, "port": "web" }, "periodSeconds": period, "failureThreshold": failures,
                "timeoutSeconds": 5 })
    };
    let mut deployment: Deployment = from(json!({
        "spec": {
            "replicas": options.replicas,
            "selector": { "matchLabels": { "app.kubernetes.io/name": NAME } },
            // The new one is ready as a stand-by before the old one gives the lease up.
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
            "template": {
                "metadata": {
                    "labels": { "app.kubernetes.io/name": NAME },
                    // The operator reads its images when it starts.
                    "annotations": { "oaas.dev/images-hash": hash(&images) },
                },
                "spec": {
                    "serviceAccountName": NAME,
                    "terminationGracePeriodSeconds": 15,
                    "priorityClassName": "system-cluster-critical",
                    "tolerations": [
                        { "key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule" },
                    ],
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 42424, "runAsGroup": 42424, "fsGroup": 42424,
                        "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "containers": [{
                        "name": "operator",
                        "image": options.image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["/usr/bin/oaas"],
                        "args": [
                            "operator",
                            "--namespace", "$(POD_NAMESPACE)",
                            "--identity", "$(POD_NAME)",
                            "--listen", format!("0.0.0.0:{PORT}"),
                            "--images", IMAGES,
                        ],
                        "env": [
                            { "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                            { "name": "POD_NAMESPACE",
                              "valueFrom": { "fieldRef": { "fieldPath": "metadata.namespace" } } },
                        ],
                        "ports": [{ "name": "web", "containerPort": PORT }],
                        "startupProbe": probe("/healthz", 1, 30),
                        "livenessProbe": probe("/healthz", 10, 3),
                        "readinessProbe": probe("/readyz", 2, 2),
                        "resources": {
                            "requests": { "cpu": "50m", "memory": "40Mi" },
                            "limits": { "memory": options.memory_limit },
                        },
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": { "drop": ["ALL"] },
                        },
                        "volumeMounts": [{ "name": "images", "mountPath": "/etc/oaas/images", "readOnly": true }],
                    }],
                    "volumes": [{ "name": "images", "configMap": { "name": "oaas-images" } }],
                },
            },
        },
    }));
    deployment.metadata = metadata(NAME);
    deployment
}

fn from<K: serde::de::DeserializeOwned>(value: serde_json::Value) -> K {
    serde_json::from_value(value).expect("the literal above has the kind's shape, as the test of each shows")
}

#[cfg(test)]
mod tests {
    use oaas_plan::Image;

    use super::*;

    fn options() -> InstallOptions {
        InstallOptions::new(
            "oaas.local/oaas@sha256:00",
            BTreeMap::from([("mariadb".into(), Image::opaque("x"))]),
        )
    }

    #[test]
    fn the_deployment_is_confined_and_probed() {
        let pod = deployment(&options()).spec.template.spec.unwrap();
        let container = &pod.containers[0];
        let security = container.security_context.as_ref().unwrap();
        assert_eq!(security.allow_privilege_escalation, Some(false));
        assert_eq!(security.read_only_root_filesystem, Some(true));
        assert_eq!(pod.security_context.unwrap().run_as_non_root, Some(true));
        assert!(container.liveness_probe.is_some() && container.readiness_probe.is_some());
        assert!(container.resources.as_ref().unwrap().limits.is_some());
    }

    #[test]
    fn other_images_start_it_again() {
        let annotation = |options: &InstallOptions| {
            deployment(options).spec.template.metadata.unwrap().annotations.unwrap()["oaas.dev/images-hash"]
                .clone()
        };
        let mut other = options();
        other.images.insert("openstack".into(), Image { reference: "y".into(), closure: "c".into() });
        assert_ne!(annotation(&options()), annotation(&other));
        assert_eq!(
            images(&other).data.unwrap()["images.json"],
            r#"{"mariadb":{"reference":"x","closure":"x"},"openstack":{"reference":"y","closure":"c"}}"#
        );
    }

    #[test]
    fn the_service_has_its_port() {
        assert_eq!(service().spec.unwrap().ports.unwrap()[0].port, PORT);
    }
}
