//! Options that services take while they run: nothing rolls for them, and the plan says so.

mod support;

use oaas_plan::{Blueprint, ComponentPlan, Effect};
use oaas_render::text;
use serde_json::json;
use support::{Cloud, changed};

/// What the catalog's services would do on an edit of `spec.services`, as the plan says it of components.
fn told(cloud: &mut Cloud, services: &str) -> Vec<String> {
    let before = cloud.state();
    cloud.spec.services = serde_json::from_str(services).expect("parses");
    assert_eq!(cloud.with_inputs(oaas_plan::validate), []);
    let changes = oaas_plan::changes(&before, &cloud.state());
    changes
        .iter()
        .filter(|change| change.part == oaas_plan::Part::Component)
        .map(ToString::to_string)
        .collect()
}

fn live_file(plan: &ComponentPlan) -> String {
    let file = plan.documents.iter().find(|document| document.is_live()).expect("a live file");
    text::write(file)
}

fn hashes(blueprint: &Blueprint) -> Vec<&String> {
    blueprint.components.values().map(|plan| &plan.hash).collect()
}

#[test]
fn an_option_that_a_service_takes_rolls_nothing() {
    let mut cloud = Cloud::small();
    let before = cloud.blueprint();
    let services = r#"{"placement": {"config": {"DEFAULT": {"debug": true}}},
        "nova": {"config": {"libvirt": {"live_migration_timeout_action": "force_complete"}}}}"#;
    let lines = told(&mut cloud, services);
    assert_eq!(
        lines,
        [
            "nova-compute: nova.conf [libvirt] live_migration_timeout_action: force_complete (new) (taken without a restart)",
            "placement: placement.conf [DEFAULT] debug: false -> true (taken without a restart)",
        ]
    );
    let after = cloud.blueprint();
    assert_eq!(hashes(&before), hashes(&after));
    assert_eq!(oaas_render::templates(&before), oaas_render::templates(&after));
    assert!(live_file(&before.components["placement"]).contains("debug = false"));
    assert!(live_file(&after.components["placement"]).contains("debug = true"));
    assert!(
        live_file(&after.components["nova-compute"])
            .contains("live_migration_timeout_action = force_complete")
    );
    assert!(!Effect::Reload.is_disruptive());
}

/// What only a start shows to be right rolls, so that the first pod that cannot start stops it.
#[test]
fn what_was_not_judged_in_full_rolls() {
    for services in [
        r#"{"placement": {"config": {"DEFAULT": {"log_config_append": "/etc/placement/logging.conf"}}}}"#,
        r#"{"placement": {"unchecked": {"DEFAULT": {"debug": "perhaps"}}}}"#,
    ] {
        let mut cloud = Cloud::small();
        let lines = told(&mut cloud, services);
        assert!(!lines.is_empty() && lines.iter().all(|line| line.ends_with("(its pods roll)")), "{lines:?}");
    }
}

/// The file is on a volume of its own: it changes, and the pod's template does not.
#[test]
fn the_live_file_is_where_the_service_looks() {
    let cloud = Cloud::small();
    let rendered = cloud.rendered().2;
    let secrets = || rendered.apply.secrets.iter().chain(&rendered.held.secrets);
    let deployments = rendered.apply.deployments.iter().chain(&rendered.held.deployments);
    let named = |name: &str| secrets().find(|secret| secret.metadata.name.as_deref() == Some(name));
    let secret = named("live-glance").expect("rendered");
    assert_eq!(secret.immutable, None);
    assert_eq!(
        secret.data.iter().flatten().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
        ["glance-api.conf"]
    );
    let glance =
        deployments.into_iter().find(|one| one.metadata.name.as_deref() == Some("glance")).expect("rendered");
    let pod = glance.spec.template.spec.clone().expect("a pod");
    let mounts = pod.containers[0].volume_mounts.clone().unwrap_or_default();
    let mount = mounts.iter().find(|mount| mount.mount_path == "/etc/glance/glance.conf.d").expect("mounted");
    // Part of a volume stays as it was when its pod started.
    assert_eq!((mount.sub_path.as_deref(), mount.sub_path_expr.as_deref()), (None, None));
    let volume = pod.volumes.iter().flatten().find(|volume| volume.name == mount.name).expect("a volume");
    assert_eq!(volume.secret.as_ref().and_then(|secret| secret.secret_name.as_deref()), Some("live-glance"));
}

/// In every release, whoever has the service's options takes those that can be taken.
#[test]
fn every_component_with_options_follows_them() {
    let catalog = oaas_catalog::Catalog::built_in().expect("consistent");
    for release in catalog.releases().keys() {
        let blueprint = Cloud::of_release(release).blueprint();
        let mut seen = 0;
        for plan in blueprint.components.values() {
            let logs = |document: &oaas_plan::Document| text::write(document).contains("use_stderr = true");
            if !plan.documents.iter().any(logs) {
                continue;
            }
            seen += 1;
            let agent =
                plan.documents.iter().find(|document| document.path.ends_with("agent.json")).expect("one");
            let follows = format!("\"follows\":\"{}\"", plan.live_options.as_deref().unwrap_or_default());
            let agent: String = text::write(agent).split_whitespace().collect();
            assert!(agent.contains(&follows), "{release} {}: {agent}", plan.name);
            assert!(live_file(plan).contains("debug = false"), "{release} {}", plan.name);
        }
        assert!(seen > 10, "{release}: {seen}");
    }
}

/// What a group of nodes says differently stays in each node's own file, and its pods roll.
#[test]
fn what_a_group_of_nodes_says_is_not_taken_from_the_common_file() {
    let mut cloud = Cloud::small();
    let before = cloud.with_fast_node(&json!({"DEFAULT": {"debug": true}}));
    let after = cloud.blueprint();
    assert_eq!(changed(&before, &after), ["nova-compute"]);
    let compute = &after.components["nova-compute"];
    let says = |node: &str, debug: &str| text::write(&compute.node_documents[node]).contains(debug);
    assert!(says("node1", "debug = false") && says("node2", "debug = true"));
    assert!(!live_file(compute).contains("debug"));
    assert!(live_file(&after.components["nova-api"]).contains("debug = false"));
}
