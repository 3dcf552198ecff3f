//! One-off work as Kubernetes Jobs.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use oaas_plan::{Blueprint, JobPlan};

use crate::labels::{config_secret, metadata};
use crate::objects::Objects;
use crate::pod::job_template;
use crate::workload::config;

/// A Job and its configuration, both named by the hash of what the job is made from, so that neither is ever changed.
pub(crate) fn job(blueprint: &Blueprint, plan: &JobPlan, objects: &mut Objects) {
    let name = plan.object_name();
    objects.secrets.push(config(blueprint, &config_secret(&name), &plan.name, &plan.documents));
    objects.jobs.push(Job {
        metadata: metadata(blueprint, &name, Some(&plan.name)),
        spec: Some(JobSpec {
            backoff_limit: Some(6),
            template: job_template(blueprint, plan),
            ..JobSpec::default()
        }),
        status: None,
    });
}
