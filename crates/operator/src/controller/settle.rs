//! Statuses as they are written: times of transitions kept, generation filled in. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use oaas_api::{ConditionType, OpenStackComponentStatus, OpenStackStatus};

/// A condition; its time and generation are filled in when it is written.
pub fn condition(kind: ConditionType, holds: bool, reason: &str, message: impl Into<String>) -> Condition {
    Condition {
        type_: kind.as_str().into(),
        status: if holds { "True" } else { "False" }.into(),
        reason: reason.into(),
        message: message.into(),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        observed_generation: None,
    }
}

/// The status of a cloud as it is written after `before`.
pub fn cloud(
    before: Option<&OpenStackStatus>,
    mut status: OpenStackStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> OpenStackStatus {
    status.observed_generation = generation;
    conditions(before.map_or(&[], |before| &before.conditions), &mut status.conditions, generation, now);
    for component in &mut status.components {
        let same = before.into_iter().flat_map(|before| &before.components).find(|old| {
            old.name == component.name
                && old.ready == component.ready
                && old.reason == component.reason
                && old.waiting_for == component.waiting_for
                && old.waits_on == component.waits_on
        });
        component.since = same.and_then(|old| old.since.clone()).or(Some(seconds(now)));
    }
    status
}

/// The status of a component as it is written after `before`.
pub fn component(
    before: Option<&OpenStackComponentStatus>,
    mut status: OpenStackComponentStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> OpenStackComponentStatus {
    status.observed_generation = generation;
    conditions(before.map_or(&[], |before| &before.conditions), &mut status.conditions, generation, now);
    status
}

fn conditions(before: &[Condition], after: &mut [Condition], generation: Option<i64>, now: Timestamp) {
    for condition in after {
        condition.observed_generation = generation;
        let same = before.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
        condition.last_transition_time =
            same.map_or_else(|| seconds(now), |old| old.last_transition_time.clone());
    }
}

/// Kubernetes keeps whole seconds; anything finer would differ from what it answers.
fn seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use oaas_api::ComponentSummary;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn status(ready: bool, message: &str, of: &str) -> OpenStackStatus {
        OpenStackStatus {
            conditions: vec![condition(ConditionType::Ready, ready, "AllReady", message)],
            components: vec![ComponentSummary {
                name: "keystone".into(),
                ready: of.into(),
                ..ComponentSummary::default()
            }],
            ..OpenStackStatus::default()
        }
    }

    #[test]
    fn times_move_only_with_what_they_are_about() {
        let first = cloud(None, status(false, "a", "0/1"), Some(1), at(100));
        assert_eq!(first.conditions[0].last_transition_time.0, at(100));
        assert_eq!(first.conditions[0].observed_generation, Some(1));
        let same = cloud(Some(&first), status(false, "b", "0/1"), Some(2), at(200));
        assert_eq!(same.conditions[0].last_transition_time.0, at(100));
        assert_eq!(same.conditions[0].message, "b");
        assert_eq!(same.components[0].since.as_ref().unwrap().0, at(100));
        let turned = cloud(Some(&same), status(true, "b", "1/1"), Some(2), at(300));
        assert_eq!(turned.conditions[0].last_transition_time.0, at(300));
        assert_eq!(turned.components[0].since.as_ref().unwrap().0, at(300));
        assert_eq!(cloud(Some(&turned), status(true, "b", "1/1"), Some(2), at(400)), turned);
    }
}
