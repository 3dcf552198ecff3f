//! What the resource's status says. Pure; the engine fills in times and the observed generation.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use oaas_api::status::{ComponentSummary, Endpoints, Part, PlanReport, Wait};
use oaas_api::{ConditionType, OpenStackComponentStatus, OpenStackStatus, Phase, Reason, names};
use oaas_plan::{Change, Problem};

use super::acting::Seen;
use super::decide::{Make, Plan, Verdict};

/// The newest status, from the plan and what was found inside the cloud.
pub fn status(plan: &Plan, seen: &Seen, before: Option<&OpenStackStatus>, paused: bool) -> OpenStackStatus {
    let before = before.cloned().unwrap_or_default();
    let mut status = OpenStackStatus { conditions: Vec::new(), ..before.clone() };
    if let Some(make) = &plan.make {
        making(make, seen, &before, paused, &mut status);
    } else {
        // What runs goes on running; nothing newer is known of it.
        let stays = |condition: &&Condition| condition.type_ == ConditionType::Ready.as_str();
        status.conditions = before.conditions.iter().filter(stays).cloned().collect();
    }
    judged(&plan.verdict, &mut status);
    status
}

/// What is said of the resource, over what is said of the state that is in force.
fn judged(verdict: &Verdict, status: &mut OpenStackStatus) {
    let valid = "the resource is valid".to_owned();
    let mut say = |kind, holds, reason, words: String| {
        status.conditions.retain(|condition| condition.type_ != ConditionType::as_str(kind));
        add(&mut status.conditions, kind, holds, reason, words);
    };
    match verdict {
        Verdict::Accepted => {}
        Verdict::Refused(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            say(ConditionType::Accepted, false, Problem::reason_of(problems), lines.join("\n"));
            if status.components.is_empty() {
                status.phase = Some(Phase::Refused);
            }
            status.waiting_for = lines.first().cloned();
            status.plan.get_or_insert_default().refusals = lines;
        }
        Verdict::Waits(waiting) => {
            let words = format!(
                "the plan {} waits for approval; `oaas approve {}` approves it, the state before it stays in force",
                waiting.hash, waiting.hash
            );
            say(ConditionType::Accepted, false, Reason::WaitsForApproval, words.clone());
            status.phase = Some(Phase::WaitingForApproval);
            status.waiting_for = Some(words);
            let plan = status.plan.get_or_insert_default();
            plan.hash.clone_from(&waiting.hash);
            plan.changes = told(&waiting.changes);
            plan.warnings = waiting.warnings.iter().map(ToString::to_string).collect();
        }
        Verdict::CredentialsLost(lost) => {
            let hint = "put the Secret back from a backup; nothing is generated anew by itself. `oaas rotate` says what can \
                        be made anew without it, and how";
            say(ConditionType::Accepted, true, Reason::Valid, valid);
            say(ConditionType::Ready, false, Reason::CredentialsLost, lost.join("\n"));
            let words = format!("{}; {hint}", lost.join("\n"));
            say(ConditionType::Degraded, true, Reason::CredentialsLost, words);
            status.phase = Some(Phase::Degraded);
            status.waiting_for = lost.first().cloned();
        }
        Verdict::Failed(why) => {
            say(ConditionType::Accepted, true, Reason::Valid, valid);
            say(ConditionType::Progressing, true, Reason::Applying, why.clone());
            status.waiting_for = Some(why.clone());
        }
    }
}

/// Changes, a line each; not more than a status should carry.
fn told(changes: &[Change]) -> Vec<String> {
    const MOST: usize = 60;
    let mut lines: Vec<String> = changes.iter().take(MOST).map(ToString::to_string).collect();
    if changes.len() > MOST {
        lines.push(format!("and {} more, which `oaas plan` tells", changes.len() - MOST));
    }
    lines
}

fn making(make: &Make, seen: &Seen, before: &OpenStackStatus, paused: bool, status: &mut OpenStackStatus) {
    let report = &make.report;
    let (ready, all) = (report.ready(), report.items.len());
    let complete = ready == all;
    let was_up = matches!(
        before.phase,
        Some(Phase::Ready | Phase::Degraded | Phase::Changing | Phase::WaitingForApproval)
    );
    let changing = report.items.iter().any(|item| matches!(item.why, Some((Reason::Rolling, _))));
    let phase = match (paused, complete, was_up) {
        (true, _, _) => Phase::Paused,
        (false, true, _) => Phase::Ready,
        (false, false, true) if changing => Phase::Changing,
        (false, false, true) => Phase::Degraded,
        (false, false, false) => Phase::Deploying,
    };
    let waiting = report.first_wait().and_then(|item| {
        let (reason, words) = item.why.as_ref()?;
        Some((*reason, format!("{}: {words}", item.name())))
    });
    status.phase = Some(phase);
    status.ready = Some(format!("{ready}/{all}"));
    status.waiting_for = waiting.as_ref().map(|(_, words)| words.clone());
    status.plan_hash = Some(make.hash.clone());
    status.components = report
        .items
        .iter()
        .map(|item| {
            let mut summary = ComponentSummary {
                name: item.part.name.clone(),
                kind: item.part.kind,
                ready: format!("{}/{}", item.ready, item.wanted),
                reason: item.why.as_ref().map(|(reason, _)| *reason),
                waiting_for: item.why.as_ref().map(|(_, words)| words.clone()),
                waits_on: item.on.clone(),
                since: None,
            };
            let old = before.components.iter().find(|old| old.name == summary.name);
            summary.since = old
                .filter(|old| ComponentSummary { since: None, ..(*old).clone() } == summary)
                .and_then(|old| old.since.clone());
            summary
        })
        .collect();
    status.endpoints = Some(endpoints(make));
    status.servers.clone_from(&seen.servers);
    status.credentials.clone_from(&make.credentials);
    status.plan = Some(PlanReport {
        hash: make.hash.clone(),
        changes: told(&make.changes),
        warnings: make.warnings.iter().map(ToString::to_string).collect(),
        waits: report
            .items
            .iter()
            .filter_map(|item| {
                let (reason, words) = item.why.as_ref()?;
                Some(Wait { component: item.part.name.clone(), reason: *reason, message: words.clone() })
            })
            .collect(),
        refusals: Vec::new(),
    });
    let conditions = &mut status.conditions;
    add(conditions, ConditionType::Accepted, true, Reason::Valid, "the resource is valid".into());
    let (reason, words) = waiting.unwrap_or((Reason::AllReady, format!("{ready} of {all} parts are ready")));
    add(conditions, ConditionType::Ready, phase == Phase::Ready, reason, words.clone());
    let progressing = matches!(phase, Phase::Deploying | Phase::Changing);
    let progress = match (progressing, paused) {
        (true, _) => reason,
        (false, true) => Reason::Paused,
        (false, false) => Reason::UpToDate,
    };
    add(conditions, ConditionType::Progressing, progressing, progress, words.clone());
    let degraded = phase == Phase::Degraded;
    let words = if degraded { words } else { "nothing that worked has stopped".into() };
    add(
        conditions,
        ConditionType::Degraded,
        degraded,
        if degraded { reason } else { Reason::UpToDate },
        words,
    );
}

fn endpoints(make: &Make) -> Endpoints {
    let publish = &make.blueprint.publish;
    let identity = make.blueprint.identity.as_ref();
    let public = identity.and_then(|identity| {
        let mut apis = make.blueprint.registrations.iter().flat_map(|registration| &registration.apis);
        apis.find(|api| api.internal.starts_with(&identity.url)).map(|api| api.public.clone())
    });
    Endpoints {
        horizon: publish.url("horizon").map(|url| format!("{url}/")),
        identity: public,
        console: publish.url("console"),
        statistics: publish.url("statistics").map(|url| format!("{url}/")),
        credentials_secret: identity.map(|identity| identity.secret.clone()),
    }
}

/// That objects could not be applied: until they are, nothing goes on. Beside what else is said.
pub fn not_applied(status: &mut OpenStackStatus, count: usize, first: &str) {
    let words = format!("{count} objects could not be applied, first: {first}");
    let progressing = ConditionType::Progressing;
    status.conditions.retain(|condition| condition.type_ != progressing.as_str());
    add(&mut status.conditions, progressing, true, Reason::ApiFailed, words);
}

/// The status of each generated object.
pub fn component_statuses(make: &Make) -> BTreeMap<String, OpenStackComponentStatus> {
    let cloud = &make.blueprint.cloud;
    make.blueprint
        .components
        .values()
        .map(|plan| {
            let item = make.report.items.iter().find(|item| item.part == Part::component(&plan.name));
            let count = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
            let why = item.and_then(|item| item.why.clone());
            let mut conditions = Vec::new();
            let (reason, words) = why.clone().unwrap_or((Reason::AllReady, "is ready".into()));
            add(&mut conditions, ConditionType::Ready, why.is_none(), reason, words);
            let status = OpenStackComponentStatus {
                observed_generation: None,
                replicas: item.map_or(0, |item| count(item.wanted)),
                ready_replicas: item.map_or(0, |item| count(item.ready)),
                updated_replicas: item.map_or(0, |item| count(item.ready)),
                selector: Some(format!(
                    "{}={},{}={}",
                    names::LABEL_CLOUD,
                    cloud.name,
                    names::LABEL_COMPONENT,
                    plan.name
                )),
                release: Some(make.blueprint.release.clone()),
                image: Some(plan.image.reference.clone()),
                config_hash: Some(plan.hash.clone()),
                reason: why.as_ref().map(|(reason, _)| *reason),
                waiting_for: why.map(|(_, words)| words),
                conditions,
            };
            (plan.name.clone(), status)
        })
        .collect()
}

fn add(conditions: &mut Vec<Condition>, kind: ConditionType, holds: bool, reason: Reason, message: String) {
    conditions.push(Condition {
        type_: kind.as_str().into(),
        status: if holds { "True" } else { "False" }.into(),
        reason: reason.as_str().into(),
        message,
        observed_generation: None,
        // Filled in by the engine.
        last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
        ),
    });
}
