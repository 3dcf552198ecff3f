//! The blueprint: every workload of one cloud, with everything about it decided.

use std::collections::{BTreeMap, BTreeSet};

use oaas_catalog::{Need, NodeLabel, Release, Replicas, Resources, Schedule, Security, Volume, WorkloadKind};

use crate::document::Document;
use crate::inputs::{CloudId, Cluster, Image};
use crate::nodes::NodePlan;
use crate::overrides::ReplicaOwner;
use crate::publish::PublishPlan;
use crate::registrations::Registration;
use crate::volumes::Claim;

/// Every workload of one cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct Blueprint {
    /// Which cloud.
    pub cloud: CloudId,
    /// The cluster that it runs in.
    pub cluster: Cluster,
    /// The release.
    pub release: String,
    /// Workloads, by component.
    pub components: BTreeMap<String, ComponentPlan>,
    /// Work that ends, by name.
    pub jobs: BTreeMap<String, JobPlan>,
    /// Who may connect to the pods of a component, by component; those that listen on no port are not among them.
    pub callers: BTreeMap<String, Callers>,
    /// What stands in the identity service's catalog.
    pub registrations: Vec<Registration>,
    /// The identity service and its administrator, if the cloud has one.
    pub identity: Option<ApiPlan>,
    /// Where the cloud is reached.
    pub publish: PublishPlan,
    /// What each node is.
    pub nodes: Vec<NodePlan>,
    /// Addresses of the nodes.
    pub node_addresses: Vec<String>,
}

/// How the operator reaches the identity service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiPlan {
    /// The component that serves it.
    pub component: String,
    /// The job that makes the administrator.
    pub job: String,
    /// The internal base URL.
    pub url: String,
    /// The administrator.
    pub user: String,
    /// The Secret with the administrator's password, in the key `password`.
    pub secret: String,
    /// The region.
    pub region: String,
}

/// One workload.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentPlan {
    /// Its name.
    pub name: String,
    /// Its service.
    pub service: String,
    /// Which kind of workload.
    pub kind: WorkloadKind,
    /// The image.
    pub image: Image,
    /// How many, and which counts make sense.
    pub replicas: u32,
    /// Which counts make sense.
    pub rule: Replicas,
    /// How many resource, profile and catalog give it, whoever has scaled it.
    pub given_replicas: u32,
    /// How many members vote in it already: their count stays.
    pub voting_members: Option<u32>,
    /// Who decides the count.
    pub replica_owner: ReplicaOwner,
    /// On which nodes.
    pub nodes: NodeLabel,
    /// What must be so first.
    pub needs: Vec<Need>,
    /// Configuration files, the agent's among them.
    pub documents: Vec<Document>,
    /// Its main file where that is another on each node: node → file.
    pub node_documents: BTreeMap<String, Document>,
    /// The directory in which its service looks for options that it takes while it runs: its live files are there too.
    pub live_options: Option<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Password files below `/etc/oaas/accounts`: name → Secret.
    pub accounts: BTreeMap<String, String>,
    /// Secrets mounted as directories: Secret → path.
    pub secret_mounts: BTreeMap<String, String>,
    /// Environment variables from Secrets: variable → (Secret, key).
    pub secret_env: BTreeMap<String, (String, String)>,
    /// The Secret with its certificate; the authority's alone is mounted where there is none.
    pub certificate: Option<String>,
    /// Does it take another certificate while it runs?
    pub follows_certificate: bool,
    /// Ports.
    pub ports: Vec<PortPlan>,
    /// The further Service that leads to one member.
    pub single_writer: Option<String>,
    /// Port of the agent's health server.
    pub health_port: u16,
    /// Does it answer probes?
    pub probes: bool,
    /// Seconds that starting may take.
    pub startup_seconds: u32,
    /// Requests and limits.
    pub resources: Resources,
    /// What is mounted.
    pub volumes: Vec<Volume>,
    /// What its persistent volumes ask for, by the volume's name.
    pub claims: BTreeMap<String, Claim>,
    /// Does it read what its node is?
    pub node_settings: bool,
    /// What it may do.
    pub security: Security,
    /// Seconds to stop.
    pub grace: u32,
    /// Do its files say that its cloud never ran? They change once it has, and nothing restarts by that.
    pub first_start: bool,
    /// Hash of all that a pod of it is made from.
    pub hash: String,
}

impl ComponentPlan {
    /// Do its members choose among themselves the one that the further Service leads to? With one there is no choice.
    pub fn chooses_writer(&self) -> bool {
        self.single_writer.is_some() && self.replicas > 1
    }
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPlan {
    /// Its name.
    pub name: String,
    /// Its number.
    pub port: u16,
    /// Does the Service carry it?
    pub in_service: bool,
    /// May those connect who refer to the component, and not its own members alone?
    pub for_callers: bool,
    /// Its NodePort, if it is published.
    pub node_port: Option<u16>,
}

/// Who in a cloud may connect to the pods of a component, beside its own members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Callers {
    /// Every pod: it serves an API, which others find in Keystone's catalog and which asks everybody who they are.
    Everyone,
    /// The components and jobs that refer to it, by their names.
    Only(BTreeSet<String>),
}

/// Work that ends.
#[derive(Debug, Clone, PartialEq)]
pub struct JobPlan {
    /// Its name without the hash.
    pub name: String,
    /// Whose work it is.
    pub service: String,
    /// What it does, for people.
    pub title: String,
    /// When it is done again and again; once, where nothing is said.
    pub schedule: Option<Schedule>,
    /// Does it load a database of the cloud's?
    pub loads_database: bool,
    /// The image.
    pub image: Image,
    /// On which nodes.
    pub nodes: NodeLabel,
    /// What must be so first.
    pub needs: Vec<Need>,
    /// Configuration files, the agent's among them.
    pub documents: Vec<Document>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Password files below `/etc/oaas/accounts`: name → Secret.
    pub accounts: BTreeMap<String, String>,
    /// Secrets mounted as directories: Secret → path.
    pub secret_mounts: BTreeMap<String, String>,
    /// Environment variables from Secrets: variable → (Secret, key).
    pub secret_env: BTreeMap<String, (String, String)>,
    /// Requests and limits.
    pub resources: Resources,
    /// What is mounted.
    pub volumes: Vec<Volume>,
    /// Does it read what its node is?
    pub node_settings: bool,
    /// What it may do.
    pub security: Security,
    /// Seconds to stop.
    pub grace: u32,
    /// Hash of all that it is made from; a part of the name of what is done once.
    pub hash: String,
}

impl JobPlan {
    /// The name of the Kubernetes Job or, with a schedule, `CronJob`.
    pub fn object_name(&self) -> String {
        match self.schedule {
            None => format!("{}-{}", self.name, &self.hash[..10]),
            Some(_) => self.name.clone(),
        }
    }
}

impl Blueprint {
    /// The release of the catalog that it was made from.
    pub fn release<'a>(&self, catalog: &'a oaas_catalog::Catalog) -> Option<&'a Release> {
        catalog.releases().get(&self.release)
    }
}
