//! Planning as scenarios: how a cloud comes up, step by step, in a cluster that does what it is told.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use k8s_openapi::api::batch::v1::Job;
use oaas_api::Reason;
use oaas_plan::{Image, JobState};
use oaas_render::{Objects, Rendered, text};
use serde_json::json;
use support::{Cloud, changed};

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
                let _ = writeln!(story, "  {}: {reason}: {words}", item.name());
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
    let before = cloud.state();
    while cloud.step() {}
    cloud.observed.database_lived = true;
    cloud.observed.members = BTreeMap::from([("galera".into(), 1), ("rabbitmq".into(), 1)]);
    let gates = oaas_plan::gates(&cloud.blueprint(), &cloud.observed);
    assert!(gates.components.values().chain(gates.jobs.values()).all(oaas_plan::Gate::is_open));
    // That it lives now is no change of what is desired.
    let after = cloud.state();
    assert_eq!(oaas_plan::changes(&before, &after), []);
    assert_eq!(before.hash(), after.hash());
}

#[test]
fn the_chain_of_causes_ends_at_the_root() {
    let cloud = Cloud::small();
    let blueprint = cloud.blueprint();
    let gates = oaas_plan::gates(&blueprint, &cloud.observed);
    let report = oaas_plan::report(&blueprint, &gates, &cloud.observed);
    assert_eq!(waits(&report, "load-schema-nova"), ["galera"]);
    assert_eq!(waits(&report, "galera"), [""; 0]);
    // Each that is waited for is told, not the first alone.
    let all = waits(&report, "nova-api");
    assert!(all.len() > 1 && all.contains(&"load-schema-nova") && all.contains(&"keystone"), "{all:?}");
    assert_eq!(waits(&report, "content"), ["registration"]);
}

/// On what a part waits.
fn waits<'a>(report: &'a oaas_plan::Report, name: &str) -> Vec<&'a str> {
    let item = report.items.iter().find(|item| item.name() == name).expect("a part of the cloud");
    item.on.iter().map(|part| part.name.as_str()).collect()
}

#[test]
fn what_was_done_once_is_of_no_use_without_that_in_which_it_was_done() {
    let mut cloud = Cloud::small();
    while cloud.step() {}
    let blueprint = cloud.blueprint();
    for name in ["galera", "keystone", "nova-api"] {
        cloud.observed.components.get_mut(name).expect("it runs").ready = 0;
    }
    let gates = oaas_plan::gates(&blueprint, &cloud.observed);
    let report = oaas_plan::report(&blueprint, &gates, &cloud.observed);
    // Its databases are loaded and its service is registered, and still it waits.
    assert!(waits(&report, "keystone").contains(&"galera"));
    let all = waits(&report, "nova-api");
    assert!(all.contains(&"galera") && all.contains(&"keystone"), "{all:?}");
    // What is ready waits for nothing.
    assert_eq!(waits(&report, "rabbitmq"), [""; 0]);
    assert_eq!(waits(&report, "registration"), [""; 0]);
}

#[test]
fn an_option_changes_the_pods_that_read_it_only() {
    let mut cloud = Cloud::small();
    let before = cloud.state();
    let yaml = "{\"keystone\": {\"config\": {\"token\": {\"expiration\": 7200}}}}";
    cloud.spec.services = serde_json::from_str(yaml).expect("parses");
    assert_eq!(cloud.with_inputs(oaas_plan::validate), []);
    let changes = oaas_plan::changes(&before, &cloud.state());
    let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
    let wanted = [
        "keystone: keystone.conf [token] expiration: 3600 -> 7200 (its pods roll)",
        "job keystone-trust-flush: removes trusts that were given up: changes (nothing restarts)",
    ];
    assert_eq!(lines, wanted, "what is done once stays done");
    let yaml = "{\"nova\": {\"config\": {\"api\": {\"max_limit\": 1001, \"dhcp_domain\": \"x\"}}}}";
    cloud.spec.services = serde_json::from_str(yaml).expect("parses");
    assert_eq!(cloud.with_inputs(oaas_plan::validate), []);
    let changes = oaas_plan::changes(&before, &cloud.state());
    let readers = |option: &str| -> Vec<&str> {
        let of_option =
            changes.iter().filter(|change| change.what.as_ref().is_some_and(|what| what.ends_with(option)));
        of_option.map(|change| change.subject.as_str()).collect()
    };
    assert_eq!(readers("max_limit"), ["nova-api"]);
    assert_eq!(readers("dhcp_domain"), ["nova-api", "nova-compute", "nova-metadata"]);
}

#[test]
fn a_change_of_everything_rolls_a_few_at_a_time() {
    let mut cloud = Cloud::small();
    while cloud.step() {}
    cloud.observed.database_lived = true;
    for service in ["keystone", "glance", "placement", "nova", "neutron"] {
        let said = serde_json::json!({"config": {"DEFAULT": {"log_color": true}}});
        cloud.spec.services.insert(service.into(), serde_json::from_value(said).expect("a service"));
    }
    let blueprint = cloud.blueprint();
    let take_turns = |cloud: &mut Cloud| -> Vec<String> {
        let mut gates = oaas_plan::gates(&blueprint, &cloud.observed);
        oaas_plan::pace(&blueprint, &cloud.observed, &mut gates);
        let mut begun = Vec::new();
        for (name, plan) in &blueprint.components {
            let state = cloud.observed.components.get_mut(name).expect("it runs");
            if gates.components[name].is_open() && state.hash.as_ref() != Some(&plan.hash) {
                (state.hash, state.updated) = (Some(plan.hash.clone()), 0);
                begun.push(name.clone());
            }
        }
        begun
    };
    let daemon_sets = ["neutron-ovn-agent", "nova-compute"];
    let mut first = take_turns(&mut cloud);
    first.retain(|name| !daemon_sets.contains(&name.as_str()));
    assert_eq!(first, ["glance", "keystone", "neutron-ovn-filler"]);
    assert_eq!(take_turns(&mut cloud), [""; 0], "they roll");
    // One is done, and one will never be.
    cloud.observed.components.get_mut("glance").expect("it runs").updated = 1;
    cloud.observed.components.get_mut("keystone").expect("it runs").trouble =
        Some((Reason::CrashLoop, "ends again and again".into()));
    assert_eq!(take_turns(&mut cloud), ["neutron-server", "neutron-workers"]);
    let mut all = 2;
    while cloud.observed.components.values().any(|state| state.updated < state.desired) {
        cloud
            .observed
            .components
            .values_mut()
            .for_each(|state| (state.updated, state.trouble) = (state.desired, None));
        let begun = take_turns(&mut cloud);
        assert!(begun.len() <= 3, "{begun:?}");
        all += begun.len();
    }
    assert_eq!(all, 8);
}

#[test]
fn mistakes_get_the_nearest_right_thing() {
    let mut cloud = Cloud::small();
    cloud.spec.release = "2026.x".into();
    let problems = |cloud: &Cloud| {
        cloud.with_inputs(oaas_plan::validate).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(problems(&cloud), ["spec.release: there is no release 2026.x; did you mean 2026.1?"]);
    for (wrong, hint) in [
        ("2025.2", "the nearest are 2025.1 and 2026.1"),
        ("2099.1", "the latest is 2026.2"),
        ("2018.2", "the earliest is 2025.1"),
        ("rocky", "there are: 2025.1, 2026.1, 2026.2"),
        ("", "there are: 2025.1, 2026.1, 2026.2"),
        ("99999999999.1", "there are: 2025.1, 2026.1, 2026.2"),
    ] {
        cloud.spec.release = wrong.into();
        assert_eq!(problems(&cloud), [format!("spec.release: there is no release {wrong}; {hint}")]);
    }
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

/// Give every image another reference, and those named another closure.
fn build_again(cloud: &mut Cloud, changed: &[&str]) {
    for (name, image) in &mut cloud.images {
        image.reference = image.reference.replace("0000", "1111");
        if changed.contains(&name.as_str()) {
            image.closure.push_str("-changed");
        }
    }
}

/// The workloads whose template another rendering has changed.
fn rolls(before: &Objects, after: &Objects) -> Vec<String> {
    fn changed<K: PartialEq>(
        before: &[K],
        after: &[K],
        name: impl Fn(&K) -> Option<String>,
        rolled: &mut Vec<String>,
    ) {
        rolled.extend(after.iter().filter(|object| !before.contains(object)).filter_map(name));
    }
    let mut rolled = Vec::new();
    changed(&before.deployments, &after.deployments, |o| o.metadata.name.clone(), &mut rolled);
    changed(&before.stateful_sets, &after.stateful_sets, |o| o.metadata.name.clone(), &mut rolled);
    changed(&before.daemon_sets, &after.daemon_sets, |o| o.metadata.name.clone(), &mut rolled);
    rolled
}

#[test]
fn a_new_agent_alone_writes_nothing() {
    let mut cloud = Cloud::small();
    while cloud.step() {}
    let (_, _, before) = cloud.rendered();
    build_again(&mut cloud, &[]);
    let (_, _, after) = cloud.rendered();
    // Jobs are named by what they are made from, and never written again. What is done again and again takes the newest
    // image the next time, which restarts nothing.
    let names =
        |jobs: &[Job]| jobs.iter().filter_map(|job| job.metadata.name.clone()).collect::<Vec<String>>();
    assert_eq!(names(&before.apply.jobs), names(&after.apply.jobs));
    let without_jobs =
        |rendered: Rendered| Objects { jobs: Vec::new(), cron_jobs: Vec::new(), ..rendered.apply };
    let (before, after) = (without_jobs(before), without_jobs(after));
    assert_eq!(rolls(&before, &after), [""; 0]);
    assert!(before == after, "something is written");
    assert!(!cloud.step());
}

#[test]
fn other_layers_roll_what_is_made_from_them() {
    let mut cloud = Cloud::small();
    while cloud.step() {}
    let (_, _, before) = cloud.rendered();
    build_again(&mut cloud, &["mariadb"]);
    while cloud.step() {}
    let (blueprint, _, after) = cloud.rendered();
    let rolled = rolls(&before.apply, &after.apply);
    assert_eq!(rolled, ["galera"]);
    for plan in blueprint.components.values() {
        let newest = plan.image.reference.ends_with("1111");
        assert_eq!(newest, rolled.contains(&plan.name), "{}: {}", plan.name, plan.image.reference);
        assert_eq!(newest, plan.image.reference.contains("/mariadb@"), "{}", plan.name);
    }
}

#[test]
fn what_rolls_for_another_reason_takes_the_newest_image() {
    let mut cloud = Cloud::small();
    while cloud.step() {}
    build_again(&mut cloud, &[]);
    let yaml = "{\"keystone\": {\"config\": {\"token\": {\"expiration\": 7200}}}}";
    cloud.spec.services = serde_json::from_str(yaml).expect("parses");
    while cloud.step() {}
    let (blueprint, _, _) = cloud.rendered();
    let newest: Vec<&String> = blueprint
        .components
        .values()
        .filter(|plan| plan.image.reference.ends_with("1111"))
        .map(|plan| &plan.name)
        .collect();
    assert_eq!(newest, ["keystone"]);
}

/// The way pods are made belongs to what they are made from: a new operator that makes them in another way has them
/// roll, and gives them the agent that it was built with.
#[test]
fn pods_that_were_made_in_another_way_take_the_newest_image() {
    let mut cloud = Cloud::small();
    while cloud.step() {}
    build_again(&mut cloud, &[]);
    let keystone = cloud.observed.components.get_mut("keystone").expect("runs");
    keystone.pods.as_mut().expect("known").hash = "made by another operator".into();
    let (blueprint, _, _) = cloud.rendered();
    assert!(blueprint.components["keystone"].image.reference.ends_with("1111"));
    assert!(blueprint.components["glance"].image.reference.ends_with("0000"));
}

/// An image that is nowhere to be had is not held on to.
#[test]
fn an_image_that_cannot_be_pulled_is_not_kept() {
    let mut cloud = Cloud::small();
    while cloud.step() {}
    build_again(&mut cloud, &[]);
    let keystone = cloud.observed.components.get_mut("keystone").expect("runs");
    keystone.trouble = Some((Reason::ImageUnavailable, "keystone-1: not found".into()));
    let (blueprint, _, _) = cloud.rendered();
    assert!(blueprint.components["keystone"].image.reference.ends_with("1111"));
}

/// An image that somebody names is the one that is known by that reference.
#[test]
fn an_image_that_is_named_is_known_by_its_reference() {
    let mut cloud = Cloud::small();
    let keystone = |cloud: &Cloud| cloud.blueprint().components["keystone"].image.clone();
    let own = keystone(&cloud);
    cloud.spec.images.insert("openstack-2026.1".into(), own.reference.clone());
    assert_eq!(keystone(&cloud), own);
    cloud.spec.images.insert("openstack-2026.1".into(), "registry/own@sha256:1".into());
    assert_eq!(keystone(&cloud), Image::opaque("registry/own@sha256:1"));
}

/// Whether the jobs that load databases may do so without replicating, and the jobs' names.
fn loads(cloud: &Cloud) -> (BTreeSet<bool>, Vec<String>) {
    let blueprint = cloud.blueprint();
    let jobs: Vec<_> = blueprint.jobs.values().filter(|job| job.name.starts_with("load-schema-")).collect();
    let alone = |job: &&oaas_plan::JobPlan| {
        job.documents.iter().any(|file| text::write(file).contains("\"single_member\": true"))
    };
    (jobs.iter().map(alone).collect(), jobs.iter().map(|job| job.object_name()).collect())
}

/// A member that joins later gets the whole database; one that comes back with an old volume would miss what was not
/// replicated.
#[test]
fn databases_are_loaded_without_replication_only_where_nobody_could_miss_it() {
    let mut cloud = Cloud::small();
    let (alone, names) = loads(&cloud);
    assert_eq!(alone, BTreeSet::from([true]));
    cloud.observed.volumes = BTreeMap::from([("galera".into(), 1)]);
    assert_eq!(loads(&cloud).0, BTreeSet::from([true]));
    cloud.observed.volumes = BTreeMap::from([("galera".into(), 3)]);
    assert_eq!(loads(&cloud).0, BTreeSet::from([false]));
    cloud.observed.volumes.clear();
    cloud.observed.scaled = BTreeMap::from([("galera".into(), 3)]);
    let (alone, after) = loads(&cloud);
    assert_eq!(alone, BTreeSet::from([false]));
    assert_eq!(after, names, "no job is done again because somebody scales");
}

/// Each wrong value is refused by its name, with what to write instead.
#[test]
fn wrong_values_are_refused_by_name() {
    let specs = [
        r#"{"images": {"opnstack": "registry.example/x@sha256:1"}, "storage": {"images": "5Ki"}, "services": {
            "galera": {"volume": "0"}, "nova-scheduler": {"enabled": false},
            "keystone": {"volume": "10Gi", "memory": "0", "resources": {
                "limits": {"cpu": "500m", "disk": "1Gi"}, "requests": {"cpu": 2, "memroy": "1Gi"}}},
            "placement": {"memory": "1Gi", "resources": {"limits": {"memory": "2Gi"}}}}}"#,
        r#"{"services": {"memcached": {"config": {"a": {"b": 1}}}, "rabbitmq": {"unchecked": {"a": {"b": 1}}},
            "horizon": {"config": {"DEFAULT": {"SESSION_TIMEOUT": 7200}}},
            "nova": {"config": {"libvirt": {"cpu_mode": "host-model", "cpu_models": "Nehalem"}, "DEFAULT": {"host": "me"}}},
            "nova-compute": {"config": {"libvirt": {"cpu_mode": "none"}}}}}"#,
        r#"{"network": {"tunnel": {"mtu": 1400}}, "content": {
            "networks": [{"name": "jumbo", "project": "demo", "mtu": 1400}],
            "routers": [{"name": "r", "project": "demo", "gateway": "ext-ner"}],
            "users": [{"name": "alice", "passwordSecretRef": {"name": "alice", "key": "password"}}]}}"#,
        r#"{"services": {
            "keystone": {"configFiles": {"../x": "a", "keystone.conf": "b", "policy.yaml": "c", "ok/map.json": "{}"},
                "policy": {"identity:list_users": "role=admin", "identity:get_user": "(role:admin"},
                "config": {"ldap": {"url": [{"secretKeyRef": {"name": "ldap", "key": "url"}}]}}},
            "nova-compute": {"policy": {"a": "@"}}, "rabbitmq": {"policy": {"a": "@"}},
            "memcached": {"configFiles": {"a": "b"}}}}"#,
        r#"{"nodes": [{"name": "all", "selector": {}, "config": {
            "nvoa": {}, "keystone": {"token": {"expiration": 1}}, "nova": {"libvirt": {"virt_tpye": "kvm"}},
            "nova-compute": {"DEFAULT": {"host": "me"}, "libvirt": {"cpu_models": "Nehalem"}}}}]}"#,
        r#"{"storage": {"class": "fsat"}}"#,
        r#"{"services": {"galera": {"volume": "5Gi"}, "rabbitmq": {"volume": "20Gi"}}, "storage": {"class": "fast"}}"#,
    ];
    let mut story = String::new();
    for spec in specs {
        let mut cloud = Cloud::small();
        let mut value: serde_json::Value = serde_json::from_str(spec).expect("parses");
        value["release"] = "2026.1".into();
        cloud.spec = serde_json::from_value(value).expect("a resource");
        let claim = |component: &str, class: &str| oaas_plan::ClaimState {
            component: component.into(),
            size: if component == "rabbitmq" { "5Gi" } else { "10Gi" }.into(),
            class: Some(class.into()),
        };
        cloud.observed.claims = BTreeMap::from([
            ("data-galera-0".into(), claim("galera", "fast")),
            ("data-rabbitmq-0".into(), claim("rabbitmq", "fast")),
            ("glance-images".into(), claim("glance", "local")),
        ]);
        cloud.observed.storage_classes =
            Some(BTreeMap::from([("fast".into(), false), ("local".into(), true)]));
        for problem in cloud.with_inputs(oaas_plan::validate) {
            let _ = writeln!(story, "{problem}");
        }
        story.push('\n');
    }
    insta::assert_snapshot!(story);
}

/// What may grow grows: the members' claims are written, and the set is made with the new size; no pod rolls for it.
#[test]
fn a_volume_that_grows_rolls_nothing() {
    let mut cloud = Cloud::small();
    let before = cloud.blueprint();
    cloud.spec.services = serde_json::from_str(r#"{"galera": {"volume": "20Gi"}}"#).expect("parses");
    let claim = |size: &str| oaas_plan::ClaimState {
        component: "galera".into(),
        size: size.into(),
        class: Some("fast".into()),
    };
    cloud.observed.claims =
        BTreeMap::from([("data-galera-0".into(), claim("10Gi")), ("data-galera-1".into(), claim("20Gi"))]);
    let after = cloud.blueprint();
    assert_eq!(before.components["galera"].hash, after.components["galera"].hash);
    let grown = oaas_render::grown(&after, &cloud.observed);
    let names: Vec<_> = grown.iter().filter_map(|claim| claim.metadata.name.clone()).collect();
    assert_eq!(names, ["data-galera-0"]);
}

/// The ledger's word that the database has lived forbids to make it anew: only a load of a database may say so.
#[test]
fn only_a_loaded_database_has_lived() {
    let mut cloud = Cloud::small();
    let blueprint = cloud.blueprint();
    let name = |job: &str| blueprint.jobs[job].object_name();
    cloud.observed.jobs.insert(name("keystone-bootstrap"), JobState::Succeeded);
    cloud.observed.jobs.insert(name("load-schema-nova"), JobState::Active);
    assert!(!oaas_plan::database_lives(&blueprint, &cloud.observed));
    cloud.observed.jobs.insert(name("load-schema-nova"), JobState::Succeeded);
    assert!(oaas_plan::database_lives(&blueprint, &cloud.observed));
}

/// What is done again and again is applied once its needs hold, and nobody waits for it.
#[test]
fn nobody_waits_for_what_is_done_again_and_again() {
    let mut cloud = Cloud::small();
    let (blueprint, gates, rendered) = cloud.rendered();
    let scheduled: Vec<&str> =
        blueprint.jobs.values().filter(|job| job.schedule.is_some()).map(|job| job.name.as_str()).collect();
    assert!(scheduled.len() >= 3, "{scheduled:?}");
    assert!(rendered.apply.cron_jobs.is_empty(), "there is no database yet");
    let report = oaas_plan::report(&blueprint, &gates, &cloud.observed);
    assert!(report.items.iter().all(|item| !scheduled.contains(&item.name())));
    while cloud.step() {}
    let (_, _, rendered) = cloud.rendered();
    assert_eq!(rendered.apply.cron_jobs.len(), scheduled.len());
}

/// A job reads the options that the resource says of its service, as the service's components do.
#[test]
fn jobs_read_the_users_options() {
    let mut cloud = Cloud::small();
    cloud.spec.services =
        serde_json::from_value(serde_json::json!({"nova": {"config": {"DEFAULT": {"debug": true}}}}))
            .expect("services");
    let blueprint = cloud.blueprint();
    let main =
        blueprint.jobs["nova-placement-audit"].documents.iter().find(|d| d.path.ends_with("nova.conf"));
    assert!(oaas_render::text::write(main.expect("its file")).contains("debug = true"));
}

/// What is refused, and how many keystone and galera there are.
fn counted(cloud: &Cloud) -> (Vec<String>, u32, u32) {
    let problems = cloud.with_inputs(oaas_plan::validate).iter().map(ToString::to_string).collect();
    let blueprint = cloud.blueprint();
    let count = |name: &str| blueprint.components[name].replicas;
    (problems, count("keystone"), count("galera"))
}

/// Members that vote stay as many as they are once they run, whoever asks for more or less; before that any allowed count
/// goes.
#[test]
fn voters_of_a_running_cloud_keep_their_count() {
    let mut cloud = Cloud::small();
    cloud.spec.services = serde_json::from_str(r#"{"galera": {"replicas": 3}}"#).expect("parses");
    assert_eq!(counted(&cloud), (Vec::new(), 1, 3), "it never ran");
    cloud.observed.members = BTreeMap::from([("galera".into(), 1), ("rabbitmq".into(), 3)]);
    cloud.observed.given =
        BTreeMap::from([("galera".into(), 1), ("rabbitmq".into(), 1), ("keystone".into(), 1)]);
    let (problems, ..) = counted(&cloud);
    let reason = "members that vote join and leave one at a time, each after the one before is seen to be in or out; this \
                  version does not do that yet, and pods alone would split the cluster or lose it";
    let wanted = format!(
        "spec.services.galera.replicas: galera runs with 1 member and cannot become 3: {reason}; write 1"
    );
    assert_eq!(problems, [wanted]);

    cloud.spec.services.clear();
    assert_eq!(counted(&cloud), (Vec::new(), 1, 1), "rabbitmq was scaled before it started");
    cloud.observed.scaled = BTreeMap::from([("galera".into(), 3), ("keystone".into(), 2)]);
    assert_eq!(counted(&cloud), (Vec::new(), 2, 1), "a scale that slipped in is put back");
    cloud.observed.scaled.clear();
    cloud.spec.profile = oaas_api::Profile::Full;
    let (problems, keystone, _) = counted(&cloud);
    let wanted = format!(
        "spec.profile: galera runs with 1 member and cannot become 3: {reason}; full goes with \
         services.galera.replicas: 1 beside it"
    );
    assert_eq!((problems, keystone), (vec![wanted], 3), "what does not vote follows the profile");
    cloud.spec.services = serde_json::from_str(r#"{"galera": {"replicas": 1}}"#).expect("parses");
    assert_eq!(counted(&cloud), (Vec::new(), 3, 1));
}

/// A workload that is away, to be made anew, has the members whose volumes are there.
#[test]
fn members_whose_workload_is_away_are_counted_by_their_volumes() {
    let mut cloud = Cloud::small();
    cloud.spec.services = serde_json::from_str(r#"{"galera": {"replicas": 3}}"#).expect("parses");
    cloud.observed.volumes = BTreeMap::from([("galera".into(), 1)]);
    assert_eq!(counted(&cloud).0, Vec::<String>::new(), "no database has lived in it");
    cloud.observed.database_lived = true;
    assert_eq!(counted(&cloud).0.len(), 1);
}

/// What is said of a section under a service's name rolls what reads it, and nothing else.
#[test]
fn an_option_of_a_section_changes_what_reads_it() {
    let mut cloud = Cloud::small();
    let before = cloud.blueprint();
    let yaml = r#"{"nova": {"config": {"scheduler": {"max_attempts": 5}}}}"#;
    cloud.spec.services = serde_json::from_str(yaml).expect("parses");
    assert_eq!(cloud.with_inputs(oaas_plan::validate), []);
    let after = cloud.blueprint();
    assert_eq!(changed(&before, &after), ["nova-conductor", "nova-scheduler"]);
}

/// A node takes the options of the groups that it is in; the others keep the common file.
#[test]
fn options_of_a_group_of_nodes_are_in_the_files_of_its_nodes() {
    let mut cloud = Cloud::small();
    let before = cloud.with_fast_node(&json!({"libvirt": {"num_pcie_ports": 7}}));
    let (after, _, rendered) = cloud.rendered();
    assert_eq!(changed(&before, &after), ["nova-compute"]);
    let files = &after.components["nova-compute"].node_documents;
    let says = |node: &str| text::write(&files[node]).contains("num_pcie_ports = 7");
    assert_eq!((says("node1"), says("node2")), (false, true));
    let both = rendered.apply.daemon_sets.iter().chain(&rendered.held.daemon_sets);
    let compute =
        both.into_iter().find(|set| set.metadata.name.as_deref() == Some("nova-compute")).expect("rendered");
    let pod = compute.spec.template.spec.clone().expect("a pod");
    let mounts = pod.containers[0].volume_mounts.clone().expect("mounts");
    let main = mounts.iter().find(|mount| mount.mount_path == "/etc/nova/nova.conf").expect("mounted");
    assert_eq!(main.sub_path_expr.as_deref(), Some("etc_nova_nova.conf.$(NODE_NAME)"));
}
