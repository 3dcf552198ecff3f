//! Installs the operator into a cluster: definitions, policies, identity, deployment.
//!
//! # Flow
//! definitions and namespace → wait until the API server serves them → everything else → wait for the rollout.
//!
//! # Guarantees
//! Can be cut off and run again at any point; what is as wanted already is not written.

mod objects;
mod options;
mod policies;
mod rbac;

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, ListParams};
use kube::{Client, ResourceExt};
use oaas_api::names;
use oaas_feedback::{Explain, Kind, Task};
use oaas_render::objects::Kind as KubernetesKind;
use snafu::{ResultExt, Snafu};

use crate::apply::{Desired, WriteError, desired_one, write_one};
use crate::fence::Fence;
use crate::metrics::Metrics;
pub use options::{InstallOptions, NAME};

/// How often what is waited for is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Longest wait for the API server to serve new definitions.
const SERVED: Duration = Duration::from_secs(30);

/// What installing came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstallReport {
    /// Objects that were written; none when it was installed like that already.
    pub written: Vec<String>,
}

/// Installing failed.
#[derive(Debug, Snafu)]
pub enum InstallError {
    /// An object could not be read.
    #[snafu(display("failed to read {what}"))]
    Read {
        /// The object.
        what: String,
        /// Why.
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    /// An object could not be written.
    #[snafu(display("failed to install the operator"))]
    Write {
        /// Why.
        #[snafu(source(from(WriteError, Box::new)))]
        source: Box<WriteError>,
    },
    /// The API server does not serve a definition.
    #[snafu(display("failed to have definition {name} served within {} s: {reason}", SERVED.as_secs()))]
    NotServed {
        /// The definition.
        name: String,
        /// What the API server says of it.
        reason: String,
    },
    /// The operator does not become ready.
    #[snafu(display("failed to roll out {namespace}/{NAME} within {} s: {reason}", wait.as_secs()))]
    NotReady {
        /// Its namespace.
        namespace: String,
        /// How long was waited.
        wait: Duration,
        /// What its pods say.
        reason: String,
    },
}

impl Explain for InstallError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } | Self::Write { .. } => Kind::Environment,
            Self::NotServed { .. } | Self::NotReady { .. } => Kind::NotReady,
        }
    }

    fn hint(&self) -> Option<String> {
        let code = match self {
            Self::Read { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::Write { source } => source.code(),
            Self::NotReady { namespace, .. } => {
                return Some(format!(
                    "look at it: kubectl -n {namespace} describe pod -l app.kubernetes.io/name={NAME}"
                ));
            }
            Self::NotServed { .. } => return Some("run it again: it goes on where it was".into()),
        };
        Some(match code {
            Some(403) => "installing needs the rights of a cluster administrator".into(),
            Some(_) => "the API server's message says what it does not like".into(),
            None => "is the cluster reachable? try: kubectl version".into(),
        })
    }
}

/// Installs the operator, or brings it up to date.
pub async fn install(
    client: &Client,
    options: &InstallOptions,
    task: &Task,
) -> Result<InstallReport, InstallError> {
    let mut report = InstallReport::default();
    let step = task.child("definitions");
    let definitions = oaas_api::crds();
    let result =
        ensure_all(client, definitions.iter().map(|crd| one(crd, None)).collect(), &mut report).await;
    let result = match result {
        Ok(wrote) => served(client, &definitions).await.map(|()| wrote),
        Err(error) => Err(error),
    };
    end(&step, result)?;

    let step = task.child("operator");
    let namespace = ensure_all(client, vec![one(&objects::namespace(options), None)], &mut report).await;
    let result = match namespace {
        Ok(wrote) => ensure_all(client, rest(options), &mut report).await.map(|more| wrote || more),
        Err(error) => Err(error),
    };
    end(&step, result)?;

    if !options.wait.is_zero() {
        let step = task.child("rollout");
        let result = rolled_out(client, options, &step).await;
        end(&step, result)?;
    }
    report.written.sort();
    Ok(report)
}

fn end(step: &Task, result: Result<bool, InstallError>) -> Result<(), InstallError> {
    match &result {
        Ok(true) => step.done(),
        Ok(false) => step.unchanged(),
        Err(error) => step.failed(error),
    }
    result.map(|_| ())
}

/// Everything but definitions and namespace.
fn rest(options: &InstallOptions) -> Vec<(Desired, Option<String>)> {
    let home = Some(options.namespace.as_str());
    let (cluster_role, cluster_binding) = objects::cluster_role(options);
    let (role, binding) = objects::role(options);
    let mut all = vec![
        one(&objects::service_account(), home),
        one(&cluster_role, None),
        one(&cluster_binding, None),
        one(&role, home),
        one(&binding, home),
        one(&objects::images(options), home),
        one(&objects::service(), home),
        one(&objects::deployment(options), home),
    ];
    for (policy, binding) in policies::policies(options) {
        all.push(one(&policy, None));
        all.push(one(&binding, None));
    }
    all
}

fn one<K: KubernetesKind>(object: &K, namespace: Option<&str>) -> (Desired, Option<String>) {
    let labels = [(names::LABEL_MANAGED_BY, names::MANAGED_BY)];
    (desired_one(object, namespace, &labels), namespace.map(ToOwned::to_owned))
}

/// Writes what is not as desired. True if something was.
async fn ensure_all(
    client: &Client,
    all: Vec<(Desired, Option<String>)>,
    report: &mut InstallReport,
) -> Result<bool, InstallError> {
    let (fence, metrics) = (Fence::open(), Metrics::default());
    let (fence, metrics) = (&fence, &metrics);
    let written: Vec<Option<String>> = stream::iter(all)
        .map(|(desired, namespace)| async move {
            let api: Api<DynamicObject> = match &namespace {
                Some(namespace) => Api::namespaced_with(client.clone(), namespace, &desired.resource),
                None => Api::all_with(client.clone(), &desired.resource),
            };
            let what = desired.key.to_string();
            let live = api.get_opt(&desired.key.name).await.context(ReadSnafu { what: what.clone() })?;
            let live = live.and_then(|live| serde_json::to_value(live).ok());
            let answer = write_one(client, fence, metrics, namespace.as_deref(), &desired, live.as_ref());
            Ok(answer.await.context(WriteSnafu)?.map(|_| what))
        })
        .buffer_unordered(8)
        .try_collect()
        .await?;
    let before = report.written.len();
    report.written.extend(written.into_iter().flatten());
    Ok(report.written.len() > before)
}

/// Waits until the API server serves the definitions.
async fn served(client: &Client, definitions: &[CustomResourceDefinition]) -> Result<(), InstallError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let deadline = tokio::time::Instant::now() + SERVED;
    for definition in definitions {
        let name = definition.name_any();
        loop {
            let live = api.get(&name).await.context(ReadSnafu { what: format!("definition {name}") })?;
            let conditions = live.status.and_then(|status| status.conditions).unwrap_or_default();
            if conditions.iter().any(|c| c.type_ == "Established" && c.status == "True") {
                break;
            }
            if tokio::time::Instant::now() > deadline {
                let reasons: Vec<_> = conditions.into_iter().filter_map(|c| c.message).collect();
                return NotServedSnafu { name, reason: reasons.join("; ") }.fail();
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

/// Waits until the deployment runs what it says. True if that took any waiting.
async fn rolled_out(client: &Client, options: &InstallOptions, step: &Task) -> Result<bool, InstallError> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), &options.namespace);
    let deadline = tokio::time::Instant::now() + options.wait;
    let mut waited = false;
    loop {
        let live = api.get(NAME).await.context(ReadSnafu { what: format!("deployment {NAME}") })?;
        if is_rolled_out(&live) {
            return Ok(waited);
        }
        let reason = why_not(client, options).await;
        step.status(reason.clone());
        if tokio::time::Instant::now() > deadline {
            return NotReadySnafu { namespace: options.namespace.clone(), wait: options.wait, reason }.fail();
        }
        waited = true;
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether every replica is of the newest generation and ready.
fn is_rolled_out(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let Some(status) = &deployment.status else { return false };
    status.observed_generation == deployment.metadata.generation
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
}

/// What the operator's pods say of themselves.
async fn why_not(client: &Client, options: &InstallOptions) -> String {
    let api: Api<Pod> = Api::namespaced(client.clone(), &options.namespace);
    let ours = ListParams::default().labels(&format!("app.kubernetes.io/name={NAME}"));
    let pods = match api.list(&ours).await {
        Ok(pods) => pods.items,
        Err(error) => return format!("its pods cannot be read: {error}"),
    };
    if pods.is_empty() {
        return "no pod yet".into();
    }
    let say = |pod: &Pod| {
        let status = pod.status.clone().unwrap_or_default();
        let container = status.container_statuses.unwrap_or_default().into_iter().next();
        let state = container.and_then(|container| container.state);
        let waiting = state.as_ref().and_then(|state| state.waiting.as_ref());
        let detail = waiting.map(|waiting| {
            [waiting.reason.clone(), waiting.message.clone()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(": ")
        });
        let scheduled = status.conditions.unwrap_or_default().into_iter().find(|c| c.type_ == "PodScheduled");
        let unscheduled = scheduled.filter(|c| c.status == "False").and_then(|c| c.message);
        let words = detail.or(unscheduled).or(status.phase).unwrap_or_else(|| "unknown".into());
        format!("{}: {words}", pod.name_any())
    };
    pods.iter().map(say).collect::<Vec<_>>().join("; ")
}
