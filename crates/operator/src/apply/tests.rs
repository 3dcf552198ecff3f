//! The judgement about one object.

use kube::core::ApiResource;
use serde_json::{Value, json};

use super::*;

fn object(mode: Mode, replicas: Replicas) -> Desired {
    Desired {
        key: Key { kind: "StatefulSet".into(), name: "db".into() },
        resource: ApiResource::erase::<k8s_openapi::api::apps::v1::StatefulSet>(&()),
        body: json!({
            "metadata": { "name": "db", "labels": { "oaas.dev/owner-uid": "1" },
                          "annotations": { "oaas.dev/applied-hash": "h1" } },
            "spec": { "serviceName": "db" },
        }),
        hash: "h1".into(),
        mode,
        replicas,
        recorded: None,
    }
}

fn live(replicas: Option<i64>) -> Value {
    let mut live = object(Mode::Apply, Replicas::None).body;
    live["spec"]["replicas"] = json!(replicas);
    live["metadata"]["annotations"][ANNOTATION_REPLICAS] = json!("set");
    live["spec"]["podManagementPolicy"] = json!("OrderedReady");
    live
}

#[test]
fn what_is_as_desired_is_left_alone() {
    assert_eq!(step(&object(Mode::Apply, Replicas::None), Some(&live(None))), Step::Nothing);
    assert_eq!(step(&object(Mode::Apply, Replicas::Initial(1)), Some(&live(Some(5)))), Step::Nothing);
    assert_eq!(step(&object(Mode::Apply, Replicas::Pinned(5)), Some(&live(Some(5)))), Step::Nothing);
}

#[test]
fn replicas_alone_are_a_step_of_their_own() {
    assert_eq!(
        step(&object(Mode::Apply, Replicas::Pinned(3)), Some(&live(Some(5)))),
        Step::Scale { replicas: 3 }
    );
    let mut unset = live(Some(1));
    unset["metadata"]["annotations"].as_object_mut().unwrap().remove(ANNOTATION_REPLICAS);
    assert_eq!(step(&object(Mode::Apply, Replicas::Initial(3)), Some(&unset)), Step::Scale { replicas: 3 });
}

/// The count and what is recorded of it are one request: an operator that is stopped between two would else take its own
/// change for somebody's.
#[test]
fn what_is_recorded_of_a_count_is_written_with_it() {
    let wanted = |count: i64, recorded: &str| {
        let mut object = object(Mode::Apply, Replicas::Pinned(count));
        object.recorded = Some((oaas_render::ANNOTATION_REPLICAS_APPLIED, recorded.into()));
        object
    };
    let mut there = live(Some(1));
    assert_eq!(step(&wanted(1, "1"), Some(&there)), Step::Scale { replicas: 1 }, "nothing is recorded");
    there["metadata"]["annotations"][oaas_render::ANNOTATION_REPLICAS_APPLIED] = json!("1");
    assert_eq!(step(&wanted(1, "1"), Some(&there)), Step::Nothing);
    assert_eq!(step(&wanted(3, "3"), Some(&there)), Step::Scale { replicas: 3 });
    assert_eq!(step(&wanted(1, "3"), Some(&there)), Step::Scale { replicas: 1 });
}

#[test]
fn a_changed_field_or_hash_is_applied() {
    let mut drifted = live(Some(1));
    drifted["spec"]["serviceName"] = json!("other");
    assert_eq!(
        step(&object(Mode::Apply, Replicas::Initial(1)), Some(&drifted)),
        Step::Apply { replicas: None }
    );
    let mut removed = live(Some(1));
    removed["metadata"]["annotations"]["oaas.dev/applied-hash"] = json!("h0");
    assert_eq!(
        step(&object(Mode::Apply, Replicas::Pinned(3)), Some(&removed)),
        Step::Apply { replicas: Some(3) }
    );
}

#[test]
fn what_is_missing_is_created() {
    assert_eq!(step(&object(Mode::Apply, Replicas::Initial(3)), None), Step::Apply { replicas: Some(3) });
    assert_eq!(step(&object(Mode::Create, Replicas::None), None), Step::Create);
}

#[test]
fn what_is_created_once_is_never_patched_but_adopted() {
    let mut kept = live(None);
    kept["spec"]["serviceName"] = json!("other");
    assert_eq!(step(&object(Mode::Create, Replicas::None), Some(&kept)), Step::Nothing);
    kept["metadata"]["labels"]["oaas.dev/owner-uid"] = json!("0");
    assert_eq!(step(&object(Mode::Create, Replicas::None), Some(&kept)), Step::Adopt);
}

#[test]
fn what_cannot_change_is_not_written_again() {
    let mut fixed = live(None);
    fixed["metadata"]["annotations"]["oaas.dev/applied-hash"] = json!("h0");
    assert_eq!(step(&object(Mode::Apply, Replicas::None), Some(&fixed)), Step::Apply { replicas: None });
    fixed["immutable"] = json!(true);
    assert_eq!(step(&object(Mode::Apply, Replicas::None), Some(&fixed)), Step::Nothing);
}

fn with_claim(mut object: Value, class: Option<&str>, size: &str) -> Value {
    object["spec"]["volumeClaimTemplates"] = json!([{
        "metadata": { "name": "data" },
        "spec": { "storageClassName": class, "resources": { "requests": { "storage": size } } },
    }]);
    object
}

#[test]
fn a_stateful_set_with_other_claims_is_made_anew_around_its_pods() {
    let wanted = |class, size| {
        let mut object = object(Mode::Apply, Replicas::Pinned(3));
        object.body = with_claim(object.body, class, size);
        object
    };
    let mut there = with_claim(live(Some(3)), Some("fast"), "10Gi");
    there["spec"]["volumeClaimTemplates"][0]["spec"]["volumeMode"] = json!("Filesystem");
    assert_eq!(step(&wanted(Some("fast"), "10240Mi"), Some(&there)), Step::Nothing);
    assert_eq!(step(&wanted(Some("fast"), "20Gi"), Some(&there)), Step::Replace);
    assert_eq!(step(&wanted(None, "10Gi"), Some(&there)), Step::Replace);
    there["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(step(&wanted(Some("fast"), "20Gi"), Some(&there)), Step::Wait);
}
