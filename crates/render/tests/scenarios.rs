//! Planning as scenarios: how a cloud comes up, step by step, in a cluster that does what it is told.

mod support;

use std::fmt::Write as _;

use support::Cloud;

#[test]
fn a_new_cloud_comes_up_in_this_order() {
    let mut cloud = Cloud::small();
    let mut story = String::new();
    for step in 1..20 {
        let blueprint = cloud.blueprint();
        let gates = oaas_plan::gates(&blueprint, &cloud.observed);
        let report = oaas_plan::report(&blueprint, &gates, &cloud.observed);
        let _ = writeln!(story, "step {step}: {} of {} ready", report.ready(), report.items.len());
        for item in &report.items {
            if let Some((reason, words)) = &item.why {
                let _ = writeln!(story, "  {}: {reason}: {words}", item.name);
            }
        }
        if !cloud.step() {
            break;
        }
    }
    insta::assert_snapshot!(story);
}

#[test]
fn a_cloud_that_is_up_stays_as_it_is() {
    let mut cloud = Cloud::small();
    while cloud.step() {}
    let blueprint = cloud.blueprint();
    let gates = oaas_plan::gates(&blueprint, &cloud.observed);
    assert!(gates.components.values().chain(gates.jobs.values()).all(oaas_plan::Gate::is_open));
    assert_eq!(blueprint, cloud.blueprint());
    assert!(oaas_plan::diff(&blueprint, &cloud.blueprint(), &std::collections::BTreeSet::new()).is_empty());
}

#[test]
fn the_chain_of_causes_ends_at_the_root() {
    let cloud = Cloud::small();
    let blueprint = cloud.blueprint();
    let gates = oaas_plan::gates(&blueprint, &cloud.observed);
    let report = oaas_plan::report(&blueprint, &gates, &cloud.observed);
    let chain: Vec<&str> = report.chain("nova-api").iter().map(|item| item.name.as_str()).collect();
    assert_eq!(chain, ["nova-api", "load-schema-nova", "galera"]);
}

#[test]
fn an_option_changes_the_pods_that_read_it_only() {
    let mut cloud = Cloud::small();
    let before = cloud.blueprint();
    let yaml = "{\"keystone\": {\"config\": {\"token\": {\"expiration\": 7200}}}}";
    cloud.spec.services = serde_json::from_str(yaml).expect("parses");
    assert_eq!(cloud.with_inputs(oaas_plan::validate), []);
    let changes = oaas_plan::diff(&before, &cloud.blueprint(), &std::collections::BTreeSet::new());
    let lines: Vec<String> = changes
        .iter()
        .map(|c| format!("{} {} {:?}->{:?} restarts={}", c.component, c.what, c.before, c.after, c.restarts))
        .collect();
    assert_eq!(
        lines,
        ["keystone keystone.conf [token] expiration Some(\"3600\")->Some(\"7200\") restarts=true"]
    );
}

#[test]
fn mistakes_get_the_nearest_right_thing() {
    let mut cloud = Cloud::small();
    cloud.spec.release = "2026.2".into();
    let problems = |cloud: &Cloud| {
        cloud.with_inputs(oaas_plan::validate).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(problems(&cloud), ["spec.release: there is no release 2026.2; did you mean 2026.1?"]);
    cloud.spec.release = "2026.1".into();
    let spec = r#"{
      "nvoa": {},
      "galera": {"replicas": 2},
      "nova": {"config": {"oslo_messaging_rabbit": {"rabbit_quorum_queues": true}, "DEFAULT": {"debug": "maybe"}}}
    }"#;
    cloud.spec.services = serde_json::from_str(spec).expect("parses");
    cloud.spec.network = serde_json::from_str(
        r#"{"external": [
          {"name": "ext-net", "cidr": "192.168.100.0/24", "gateway": "192.168.100.1", "pool": "192.168.101.10-192.168.101.20"},
          {"name": "Other_Net", "cidr": "192.168.0.0/16", "gateway": "10.0.0.1"},
          {"name": "third", "cidr": "300.1.2.3/24"}
        ]}"#,
    )
    .expect("parses");
    insta::assert_snapshot!(problems(&cloud).join("\n"));
}

/// That the database has run is remembered for its next start; it must not restart it.
#[test]
fn nothing_restarts_when_the_first_start_is_over() {
    let mut cloud = Cloud::small();
    let before = cloud.blueprint();
    cloud.observed.database_lived = true;
    let after = cloud.blueprint();
    for (name, plan) in &before.components {
        assert_eq!(plan.hash, after.components[name].hash, "{name}");
    }
}
