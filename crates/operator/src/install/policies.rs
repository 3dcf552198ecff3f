//! What the API server refuses on our behalf, each with the words that say what to do instead.

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, NamedRuleWithOperations, ParamKind, ParamRef, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec,
    Validation,
};
use kube::core::ObjectMeta;
use oaas_api::names;

use super::options::{InstallOptions, NAME};
use crate::controller::REGISTRY;

/// A policy and its binding.
pub(super) type Policy = (ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding);

/// What is matched.
struct Match {
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    operation: &'static str,
    conditions: Vec<(&'static str, String)>,
}

/// Every policy.
pub(super) fn policies(options: &InstallOptions) -> Vec<Policy> {
    vec![scale(options), replicas(options), members(options), definitions(options)]
}

fn not_the_operator(options: &InstallOptions) -> (&'static str, String) {
    let user = format!("system:serviceaccount:{}:{}", options.namespace, NAME);
    ("not-the-operator", format!("request.userInfo.username != '{user}'"))
}

/// The component knows whether its members vote, and refuses for those that do.
const THROUGH_COMPONENT: &str = "'members must join and leave in order, so scale the component instead, which says if that \
                                 can be done while it runs: kubectl scale -n ' + request.namespace + ' oscomp/' + \
                                 request.name + ' --replicas=' + string(object.spec.replicas)";

/// `kubectl scale statefulset`: members must join and leave in order, so it goes through the component.
fn scale(options: &InstallOptions) -> Policy {
    let ours = "has(object.status.selector) && object.status.selector.contains('oaas.dev/cloud=')".to_owned();
    let what = Match {
        group: "apps",
        version: "v1",
        resource: "statefulsets/scale",
        operation: "UPDATE",
        conditions: vec![not_the_operator(options), ("ours", ours)],
    };
    policy(
        "oaas-scale-through-component",
        what,
        "object.spec.replicas == oldObject.spec.replicas",
        THROUGH_COMPONENT,
        None,
    )
}

/// The same by editing the stateful set.
fn replicas(options: &InstallOptions) -> Policy {
    let ours = "has(object.metadata.labels) && 'oaas.dev/cloud' in object.metadata.labels".to_owned();
    let what = Match {
        group: "apps",
        version: "v1",
        resource: "statefulsets",
        operation: "UPDATE",
        conditions: vec![not_the_operator(options), ("ours", ours)],
    };
    policy(
        "oaas-replicas-through-component",
        what,
        "object.spec.replicas == oldObject.spec.replicas",
        THROUGH_COMPONENT,
        None,
    )
}

/// Who could change what is noted of the members of a component that votes could scale it.
fn members(options: &InstallOptions) -> Policy {
    let what = Match {
        group: names::GROUP,
        version: names::VERSION,
        resource: "openstackcomponents",
        operation: "UPDATE",
        conditions: vec![
            not_the_operator(options),
            ("votes", "has(oldObject.spec) && has(oldObject.spec.members)".to_owned()),
        ],
    };
    let hint = "object.spec.component + ' has ' + string(oldObject.spec.members) + ' members that vote; the operator \
                alone writes how many there are'";
    let rule = "has(object.spec.members) && object.spec.members == oldObject.spec.members";
    policy("oaas-members-are-noted", what, rule, hint, None)
}

/// Deleting a definition would delete every cloud with it.
fn definitions(options: &InstallOptions) -> Policy {
    let ours = "request.name in ['openstacks.oaas.dev', 'openstackcomponents.oaas.dev']".to_owned();
    let what = Match {
        group: "apiextensions.k8s.io",
        version: "v1",
        resource: "customresourcedefinitions",
        operation: "DELETE",
        conditions: vec![("ours", ours)],
    };
    let hint = "'clouds exist and would be deleted with it: ' + params.data.map(cloud, cloud).join(', ') + \
                '; delete them first: kubectl delete oscloud -n <namespace> <name>'";
    let rule = "!has(params.data) || size(params.data) == 0";
    policy("oaas-keep-definitions", what, rule, hint, Some(&options.namespace))
}

/// A policy with one rule; `registry` is the namespace of the registry of clouds when the rule looks at it.
fn policy(name: &str, what: Match, rule: &str, message: &str, registry: Option<&str>) -> Policy {
    let one = |word: &str| Some(vec![word.to_owned()]);
    let metadata = || ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let spec = ValidatingAdmissionPolicySpec {
        failure_policy: Some("Fail".into()),
        param_kind: registry
            .map(|_| ParamKind { api_version: Some("v1".into()), kind: Some("ConfigMap".into()) }),
        match_constraints: Some(MatchResources {
            resource_rules: Some(vec![NamedRuleWithOperations {
                api_groups: one(what.group),
                api_versions: one(what.version),
                resources: one(what.resource),
                operations: one(what.operation),
                ..NamedRuleWithOperations::default()
            }]),
            ..MatchResources::default()
        }),
        match_conditions: Some(
            what.conditions
                .into_iter()
                .map(|(name, expression)| MatchCondition { name: name.to_owned(), expression })
                .collect(),
        ),
        validations: Some(vec![Validation {
            expression: rule.to_owned(),
            message_expression: Some(message.to_owned()),
            reason: Some("Forbidden".into()),
            ..Validation::default()
        }]),
        ..ValidatingAdmissionPolicySpec::default()
    };
    let binding = ValidatingAdmissionPolicyBindingSpec {
        policy_name: name.to_owned(),
        validation_actions: vec!["Deny".to_owned()],
        param_ref: registry.map(|namespace| ParamRef {
            name: Some(REGISTRY.to_owned()),
            namespace: Some(namespace.to_owned()),
            // Without a registry there has never been a cloud.
            parameter_not_found_action: Some("Allow".into()),
            ..ParamRef::default()
        }),
        ..ValidatingAdmissionPolicyBindingSpec::default()
    };
    (
        ValidatingAdmissionPolicy {
            metadata: metadata(),
            spec: Some(spec),
            ..ValidatingAdmissionPolicy::default()
        },
        ValidatingAdmissionPolicyBinding { metadata: metadata(), spec: binding },
    )
}
