//! `oaas approve`: let a plan that waits be done.

use clap::Args;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use oaas_api::{OpenStack, Phase, names};
use oaas_feedback::{Explain, Kind};
use serde::Serialize;
use serde_json::json;
use snafu::{ResultExt, Snafu, ensure};

use crate::clouds::{self, CloudArgs};
use crate::context::Context;
use crate::kubernetes::{ApiSnafu, Patience};
use crate::report::Failure;

/// Arguments of `oaas approve`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The hash of the plan, as `oaas status` and the resource's status tell it
    #[arg(value_name = "HASH")]
    pub hash: String,
    #[command(flatten)]
    cloud: CloudArgs,
}

/// Why nothing was approved.
#[derive(Debug, Snafu, PartialEq, Eq)]
pub enum Error {
    /// Nothing waits.
    #[snafu(display("no plan of cloud {cloud} waits for approval"))]
    NothingWaits {
        /// The cloud.
        cloud: String,
    },
    /// Another plan waits.
    #[snafu(display("the plan of cloud {cloud} that waits for approval is {waiting}, not {given}"))]
    Another {
        /// The cloud.
        cloud: String,
        /// The hash of the plan that waits.
        waiting: String,
        /// What was given.
        given: String,
        /// What the plan that waits changes.
        changes: Vec<String>,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NothingWaits { .. } => {
                "a plan waits where `changePolicy` is approve-disruptive or approve-all and it changes such a thing"
                    .to_owned()
            }
            Self::Another { waiting, changes, .. } => {
                format!("it changes:\n  {}\n`oaas approve {waiting}` approves it", changes.join("\n  "))
            }
        })
    }
}

/// What was approved.
#[derive(Debug, Serialize)]
pub struct Approved {
    /// The cloud, `NAMESPACE/NAME`.
    pub cloud: String,
    /// The hash of the plan.
    pub hash: String,
    /// What it changes.
    pub changes: Vec<String>,
}

/// Approve a plan.
pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let (client, cloud) = clouds::connect(&context.global, &arguments.cloud, Patience::Answer).await?;
    let approved = judge(&cloud, &arguments.hash)?;
    let api: Api<OpenStack> = Api::namespaced(client, &cloud.namespace().unwrap_or_default());
    let patch = json!({ "metadata": { "annotations": { names::ANNOTATION_APPROVE: approved.hash } } });
    let answer = api.patch(&cloud.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
    answer.context(ApiSnafu { doing: "approve the plan" })?;
    context.answer(&approved, |approved| {
        let changes: String = approved.changes.iter().map(|change| format!("  {change}\n")).collect();
        format!("approved plan {} of cloud {}\n{changes}", approved.hash, approved.cloud)
    })
}

/// Is that the plan that waits?
fn judge(cloud: &OpenStack, given: &str) -> Result<Approved, Error> {
    let name = format!("{}/{}", cloud.namespace().unwrap_or_default(), cloud.name_any());
    let status = cloud.status.clone().unwrap_or_default();
    let waits = status.phase == Some(Phase::WaitingForApproval);
    let Some(plan) = status.plan.filter(|_| waits) else { return NothingWaitsSnafu { cloud: name }.fail() };
    ensure!(
        plan.hash == given,
        AnotherSnafu {
            cloud: name.clone(),
            waiting: plan.hash.clone(),
            given,
            changes: plan.changes.clone()
        }
    );
    Ok(Approved { cloud: name, hash: plan.hash, changes: plan.changes })
}

#[cfg(test)]
mod tests {
    use oaas_api::status::PlanReport;
    use oaas_api::{OpenStackSpec, OpenStackStatus};

    use super::*;

    fn cloud(phase: Phase) -> OpenStack {
        let mut cloud = OpenStack::new("demo", OpenStackSpec::default());
        cloud.metadata.namespace = Some("demo".to_owned());
        let plan =
            PlanReport { hash: "abc".into(), changes: vec!["keystone: x".into()], ..PlanReport::default() };
        cloud.status =
            Some(OpenStackStatus { phase: Some(phase), plan: Some(plan), ..OpenStackStatus::default() });
        cloud
    }

    #[test]
    fn the_plan_that_waits_is_approved_and_no_other() {
        assert_eq!(judge(&cloud(Phase::WaitingForApproval), "abc").unwrap().changes, ["keystone: x"]);
        let error = judge(&cloud(Phase::WaitingForApproval), "abd").unwrap_err();
        assert_eq!(error.to_string(), "the plan of cloud demo/demo that waits for approval is abc, not abd");
        assert_eq!(error.hint().unwrap(), "it changes:\n  keystone: x\n`oaas approve abc` approves it");
        let error = judge(&cloud(Phase::Ready), "abc").unwrap_err();
        assert_eq!(error.to_string(), "no plan of cloud demo/demo waits for approval");
    }
}
