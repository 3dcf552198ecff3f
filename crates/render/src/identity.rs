//! Identities of pods that tell Kubernetes something of themselves.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use oaas_plan::{Blueprint, ComponentPlan};

use crate::labels::metadata;
use crate::objects::Objects;

/// What the members of a component need to label the one that they choose: to patch each other's pods, and no more.
pub(crate) fn identity(blueprint: &Blueprint, plan: &ComponentPlan, objects: &mut Objects) {
    let metadata = || metadata(blueprint, &plan.name, Some(&plan.name));
    objects.service_accounts.push(ServiceAccount {
        metadata: metadata(),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    });
    objects.roles.push(Role {
        metadata: metadata(),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["pods".into()]),
            resource_names: Some(
                (0..plan.replicas).map(|ordinal| format!("{}-{ordinal}", plan.name)).collect(),
            ),
            verbs: vec!["patch".into()],
            ..PolicyRule::default()
        }]),
    });
    objects.role_bindings.push(RoleBinding {
        metadata: metadata(),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".into()),
            kind: "Role".into(),
            name: plan.name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: plan.name.clone(),
            namespace: Some(blueprint.cloud.namespace.clone()),
            ..Subject::default()
        }]),
    });
}
