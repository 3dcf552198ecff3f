//! Work that ends, as Kubernetes Jobs and `CronJobs`.

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, Job, JobSpec, JobTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use oaas_plan::{Blueprint, JobPlan};

use crate::labels::{config_secret, metadata, selector};
use crate::objects::Objects;
use crate::pod::job_template;
use crate::workload::config;

/// How often a pod is tried anew.
const TRIES: i32 = 6;
/// The same of one that comes again by itself.
const TRIES_OF_MANY: i32 = 2;
/// Seconds for which a time that was missed, as by a cluster that was off, is made up for.
const LATE: i64 = 3600;

/// What is done once is named by the hash of all that it is made from, as is its configuration, so that neither is ever
/// changed. What is done again and again keeps its name and is changed.
pub(crate) fn job(blueprint: &Blueprint, plan: &JobPlan, objects: &mut Objects) {
    let name = plan.object_name();
    let files = config_secret(&plan.name, &plan.hash);
    objects.secrets.push(config(blueprint, &files, &plan.name, &plan.documents, false));
    let spec = JobSpec {
        backoff_limit: Some(if plan.schedule.is_some() { TRIES_OF_MANY } else { TRIES }),
        template: job_template(blueprint, plan),
        ..JobSpec::default()
    };
    let metadata = metadata(blueprint, &name, Some(&plan.name));
    match &plan.schedule {
        None => objects.jobs.push(Job { metadata, spec: Some(spec), status: None }),
        Some(schedule) => objects.cron_jobs.push(CronJob {
            metadata,
            spec: CronJobSpec {
                schedule: schedule.to_string(),
                concurrency_policy: Some("Forbid".into()),
                starting_deadline_seconds: Some(LATE),
                successful_jobs_history_limit: Some(1),
                failed_jobs_history_limit: Some(1),
                // Its Jobs are Kubernetes' own: without the owner's label nobody takes them for left over.
                job_template: JobTemplateSpec { spec: Some(spec), metadata: Some(of_time(blueprint, plan)) },
                ..CronJobSpec::default()
            },
            status: None,
        }),
    }
}

/// What each Job of a `CronJob` carries: whose it is.
fn of_time(blueprint: &Blueprint, plan: &JobPlan) -> ObjectMeta {
    ObjectMeta { labels: Some(selector(&blueprint.cloud, &plan.name)), ..ObjectMeta::default() }
}
