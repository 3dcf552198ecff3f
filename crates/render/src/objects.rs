//! Everything that a cloud is made of in Kubernetes, as typed objects.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Resource;
use oaas_api::OpenStackComponent;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A kind of object that a cloud may have: typed, namespaced, named by its metadata.
pub trait Kind:
    Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + fmt::Debug + Send + Sync + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + fmt::Debug + Send + Sync + 'static
{
}

/// The objects of one cloud, one list per kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Objects {
    /// Identities of pods.
    pub service_accounts: Vec<ServiceAccount>,
    /// What those identities may do.
    pub roles: Vec<Role>,
    /// Which identity may do it.
    pub role_bindings: Vec<RoleBinding>,
    /// Files without secrets.
    pub config_maps: Vec<ConfigMap>,
    /// Files with secrets, credentials, keys, certificates.
    pub secrets: Vec<Secret>,
    /// Volumes that no stateful set makes.
    pub persistent_volume_claims: Vec<PersistentVolumeClaim>,
    /// Who may talk to whom.
    pub network_policies: Vec<NetworkPolicy>,
    /// Stable names and addresses.
    pub services: Vec<Service>,
    /// Members of Services that have no selector.
    pub endpoint_slices: Vec<EndpointSlice>,
    /// How many pods may be missing.
    pub pod_disruption_budgets: Vec<PodDisruptionBudget>,
    /// The generated objects for status and scale.
    pub components: Vec<OpenStackComponent>,
    /// Work that is done once; named by the hash of its content, never patched.
    pub jobs: Vec<Job>,
    /// Work that is done again and again.
    pub cron_jobs: Vec<CronJob>,
    /// Pods with names and volumes of their own.
    pub stateful_sets: Vec<StatefulSet>,
    /// Pods, one on each node with a label.
    pub daemon_sets: Vec<DaemonSet>,
    /// Pods that are all alike.
    pub deployments: Vec<Deployment>,
}

/// Something that is done with the objects of every kind.
pub trait Visit {
    /// Called once for each kind, with all its objects; also when there are none.
    fn kind<K: Kind>(&mut self, objects: &[K]);
}

/// Something that changes the objects of every kind.
pub trait VisitMut {
    /// Called once for each kind, with all its objects; also when there are none.
    fn kind<K: Kind>(&mut self, objects: &mut Vec<K>);
}

/// Applies one call to every list. Destructures without `..`: a kind that is forgotten here does not compile.
macro_rules! each_kind {
    ($objects:expr, $list:ident => $call:expr) => {{
        let Objects {
            service_accounts,
            roles,
            role_bindings,
            config_maps,
            secrets,
            persistent_volume_claims,
            network_policies,
            services,
            endpoint_slices,
            pod_disruption_budgets,
            components,
            jobs,
            cron_jobs,
            stateful_sets,
            daemon_sets,
            deployments,
        } = $objects;
        each_kind!(@calls $list => $call;
            service_accounts, roles, role_bindings, config_maps, secrets, persistent_volume_claims, network_policies,
            services, endpoint_slices, pod_disruption_budgets, components, jobs, cron_jobs, stateful_sets,
            daemon_sets, deployments)
    }};
    (@calls $list:ident => $call:expr; $($field:ident),+) => {{ $({ let $list = $field; $call; })+ }};
}

impl Objects {
    /// Shows every kind to a visitor, in the order in which they are best created: what others refer to comes first.
    pub fn visit(&self, visitor: &mut impl Visit) {
        each_kind!(self, list => visitor.kind(list));
    }

    /// Shows every kind to a visitor that changes it, in the same order.
    pub fn visit_mut(&mut self, visitor: &mut impl VisitMut) {
        each_kind!(self, list => visitor.kind(list));
    }

    /// Adds everything of `other`.
    pub fn extend(&mut self, other: Self) {
        let Self {
            service_accounts,
            roles,
            role_bindings,
            config_maps,
            secrets,
            persistent_volume_claims,
            network_policies,
            services,
            endpoint_slices,
            pod_disruption_budgets,
            components,
            jobs,
            cron_jobs,
            stateful_sets,
            daemon_sets,
            deployments,
        } = other;
        self.service_accounts.extend(service_accounts);
        self.roles.extend(roles);
        self.role_bindings.extend(role_bindings);
        self.config_maps.extend(config_maps);
        self.secrets.extend(secrets);
        self.persistent_volume_claims.extend(persistent_volume_claims);
        self.network_policies.extend(network_policies);
        self.services.extend(services);
        self.endpoint_slices.extend(endpoint_slices);
        self.pod_disruption_budgets.extend(pod_disruption_budgets);
        self.components.extend(components);
        self.jobs.extend(jobs);
        self.cron_jobs.extend(cron_jobs);
        self.stateful_sets.extend(stateful_sets);
        self.daemon_sets.extend(daemon_sets);
        self.deployments.extend(deployments);
    }

    /// How many objects there are, of all kinds.
    pub fn len(&self) -> usize {
        struct Count(usize);
        impl Visit for Count {
            fn kind<K: Kind>(&mut self, objects: &[K]) {
                self.0 += objects.len();
            }
        }
        let mut count = Count(0);
        self.visit(&mut count);
        count.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets labels on every object (not on pod templates); labels that are there already stay.
    pub fn label(&mut self, labels: &BTreeMap<String, String>) {
        struct Label<'a>(&'a BTreeMap<String, String>);
        impl VisitMut for Label<'_> {
            fn kind<K: Kind>(&mut self, objects: &mut Vec<K>) {
                for object in objects {
                    let of = object.meta_mut().labels.get_or_insert_with(BTreeMap::new);
                    for (name, value) in self.0 {
                        of.entry(name.clone()).or_insert_with(|| value.clone());
                    }
                }
            }
        }
        self.visit_mut(&mut Label(labels));
    }

    /// Sets the namespace of every object.
    pub fn namespace(&mut self, namespace: &str) {
        struct Namespace<'a>(&'a str);
        impl VisitMut for Namespace<'_> {
            fn kind<K: Kind>(&mut self, objects: &mut Vec<K>) {
                for object in objects {
                    object.meta_mut().namespace = Some(self.0.to_owned());
                }
            }
        }
        self.visit_mut(&mut Namespace(namespace));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kinds(Vec<(String, usize)>);

    impl Visit for Kinds {
        fn kind<K: Kind>(&mut self, objects: &[K]) {
            self.0.push((K::kind(&()).into_owned(), objects.len()));
        }
    }

    #[test]
    fn every_kind_is_shown_once_and_what_is_referred_to_first() {
        let objects = Objects { services: vec![Service::default()], ..Objects::default() };
        let mut kinds = Kinds::default();
        objects.visit(&mut kinds);
        let names: Vec<_> = kinds.0.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(names.len(), 16);
        let at = |kind: &str| names.iter().position(|name| *name == kind).unwrap();
        assert!(
            at("Secret") < at("Deployment")
                && at("ServiceAccount") < at("Job")
                && at("Service") < at("StatefulSet")
        );
        assert_eq!(objects.len(), 1);
        assert!(Objects::default().is_empty());
    }

    #[test]
    fn labels_and_namespace_reach_every_object() {
        let mut objects =
            Objects { jobs: vec![Job::default()], secrets: vec![Secret::default()], ..Objects::default() };
        objects.secrets[0].metadata.labels = Some(BTreeMap::from([("a".into(), "own".into())]));
        objects.label(&BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]));
        objects.namespace("clouds");
        assert_eq!(objects.jobs[0].metadata.labels.as_ref().unwrap()["a"], "1");
        assert_eq!(objects.secrets[0].metadata.labels.as_ref().unwrap()["a"], "own");
        assert_eq!(objects.secrets[0].metadata.namespace.as_deref(), Some("clouds"));
    }
}
