//! Chains for made-up facts, as people read them.

use std::collections::{BTreeMap, BTreeSet};

use oaas_api::{Phase, Reason};
use oaas_catalog::Catalog;

use super::chain::chains;
use super::clues::{clue, telling};
use super::gather::needs;
use super::{Component, Container, Ended, Facts, Operator, Pod};
use crate::commands::why::text;
use crate::progress::Style;

/// A cloud whose named components are not ready; the chains follow the real catalog.
fn cloud(unready: &[&str]) -> Facts {
    let catalog = Catalog::built_in().unwrap();
    let release = catalog.releases().keys().next_back().unwrap().clone();
    let components = needs(&catalog, &release, &BTreeSet::new())
        .into_iter()
        .map(|(name, needs)| {
            let ready = !unready.contains(&name.as_str());
            (name.clone(), Component { service: name, ready, needs, ..Component::default() })
        })
        .collect::<BTreeMap<_, _>>();
    for name in unready {
        assert!(components.contains_key(*name), "the catalog has no component {name}");
    }
    Facts {
        cloud: "demo/demo".to_owned(),
        phase: Some(Phase::Deploying),
        operator: Some(Operator { ready: 1, pods: Vec::new() }),
        components,
        ..Facts::default()
    }
}

fn answer(facts: &Facts, asked: Option<&str>) -> String {
    text(facts, asked, &chains(facts, asked), Style::PLAIN)
}

fn with_pod(mut facts: Facts, component: &str, pod: Pod) -> Facts {
    facts.components.get_mut(component).unwrap().pods.push(pod);
    facts
}

fn pod(name: &str, container: Container) -> Pod {
    Pod {
        name: name.to_owned(),
        node: Some("node1".to_owned()),
        containers: vec![container],
        ..Pod::default()
    }
}

fn log(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn a_memory_limit_that_is_too_low() {
    let container = Container {
        name: "galera".to_owned(),
        restarts: 4,
        waiting: Some(("CrashLoopBackOff".to_owned(), "back-off 40s".to_owned())),
        ended: Some(Ended { reason: "OOMKilled".to_owned(), code: 137 }),
        memory_limit: Some("64Mi".to_owned()),
        log: log(&["2026-11-23 InnoDB: Initializing buffer pool, total size = 128.000MiB"]),
        ..Container::default()
    };
    let facts =
        with_pod(cloud(&["galera", "keystone", "neutron-server"]), "galera", pod("galera-0", container));
    insta::assert_snapshot!(answer(&facts, None));
}

#[test]
fn a_wrong_image_digest() {
    let container = Container {
        name: "keystone".to_owned(),
        image: "oaas.local/openstack@sha256:0000".to_owned(),
        waiting: Some(("ImagePullBackOff".to_owned(), "manifest unknown".to_owned())),
        ..Container::default()
    };
    let facts = with_pod(cloud(&["keystone", "glance"]), "keystone", pod("keystone-6f-x", container));
    insta::assert_snapshot!(answer(&facts, Some("glance")));
}

#[test]
fn a_full_volume() {
    let container = Container {
        name: "galera".to_owned(),
        restarts: 2,
        ended: Some(Ended { reason: "Error".to_owned(), code: 1 }),
        log: log(&[
            "[ERROR] InnoDB: preallocating 12582912 bytes for file ./ibtmp1 failed with error 28",
            "[ERROR] mariadbd: Error writing file './oaas-bin.index' (Errcode: 28 \"No space left on device\")",
            "[ERROR] Aborting",
        ]),
        ..Container::default()
    };
    let facts = with_pod(cloud(&["galera"]), "galera", pod("galera-0", container));
    insta::assert_snapshot!(answer(&facts, None));
}

#[test]
fn a_port_that_is_taken() {
    let container = Container {
        name: "libvirt".to_owned(),
        restarts: 1,
        ended: Some(Ended { reason: "Error".to_owned(), code: 1 }),
        log: log(&[
            "error: failed to answer probes on [::]:9103",
            "  caused by: Address already in use (os error 98)",
        ]),
        ..Container::default()
    };
    let facts = with_pod(cloud(&["libvirt"]), "libvirt", pod("libvirt-node1", container));
    insta::assert_snapshot!(answer(&facts, None));
    let unschedulable = Pod {
        name: "libvirt-x".to_owned(),
        unschedulable: Some(
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
                .to_owned(),
        ),
        ..Pod::default()
    };
    insta::assert_snapshot!(answer(&with_pod(cloud(&["libvirt"]), "libvirt", unschedulable), None));
}

#[test]
fn a_database_that_is_down() {
    let mut facts = cloud(&["galera", "keystone", "nova-api"]);
    let galera = facts.components.get_mut("galera").unwrap();
    galera.waiting_for = Some("0 of 1 members run: scaled to 0".to_owned());
    galera.reason = Some(Reason::QuorumLost);
    let container = Container {
        name: "keystone".to_owned(),
        log: log(&[
            "pymysql.err.OperationalError: (2003, \"Can't connect to MySQL server on 'galera-writer'\")",
        ]),
        ..Container::default()
    };
    insta::assert_snapshot!(answer(
        &with_pod(facts, "keystone", pod("keystone-1", container)),
        Some("nova-api")
    ));
}

#[test]
fn several_causes_are_told_each_the_gravest_first() {
    let mut facts = cloud(&["rabbitmq", "galera", "keystone", "memcached"]);
    facts.nodes.insert("node1".to_owned(), "Kubelet stopped posting node status.".to_owned());
    facts = with_pod(facts, "rabbitmq", pod("rabbitmq-0", Container::default()));
    facts.components.get_mut("galera").unwrap().pending_volumes =
        vec![("data-galera-0".to_owned(), Some("ProvisioningFailed: no room".to_owned()))];
    facts.components.get_mut("memcached").unwrap().events = vec!["FailedCreate: exceeded quota".to_owned()];
    insta::assert_snapshot!(answer(&facts, None));
}

#[test]
fn what_keeps_the_whole_cloud_is_told_first() {
    let mut facts = cloud(&[]);
    facts.refusals = vec![
        "spec.services.keystone.config.token.expirationn: unknown option; nearest: expiration".to_owned(),
    ];
    facts.unapproved = Some("1f3a".to_owned());
    facts.operator = Some(Operator { ready: 0, pods: Vec::new() });
    insta::assert_snapshot!(answer(&facts, None));
}

#[test]
fn a_ready_cloud_has_no_chain() {
    let mut facts = cloud(&[]);
    facts.phase = Some(Phase::Ready);
    assert_eq!(answer(&facts, None), "cloud demo/demo is ready\n");
    assert_eq!(answer(&facts, Some("glance")), "component glance is ready\n");
    facts.phase = Some(Phase::Deploying);
    facts.waits = vec![("content".to_owned(), "waits for server demo-vm to become ACTIVE".to_owned())];
    assert_eq!(answer(&facts, None), "content: waits for server demo-vm to become ACTIVE\n");
}

#[test]
fn a_job_stands_in_the_chain() {
    let catalog = Catalog::built_in().unwrap();
    let release = catalog.releases().keys().next_back().unwrap().clone();
    let jobs = BTreeSet::from(["load-schema-keystone".to_owned()]);
    let mut facts = cloud(&["keystone", "galera"]);
    for (name, needs) in needs(&catalog, &release, &jobs) {
        let component = facts
            .components
            .entry(name.clone())
            .or_insert_with(|| Component { service: name, ..Component::default() });
        component.needs = needs;
    }
    insta::assert_snapshot!(answer(&facts, Some("keystone")));
}

#[test]
fn a_circle_is_still_told() {
    let mut facts = cloud(&["galera", "keystone"]);
    facts.components.get_mut("galera").unwrap().needs = vec!["keystone".to_owned()];
    assert_eq!(chains(&facts, None).len(), 2);
}

#[test]
fn clues_tell_what_lines_mean() {
    assert_eq!(clue("INFO ready to accept connections"), None);
    assert_eq!(
        clue("OSError: [Errno 98] Address already in use").unwrap().cause,
        "its port is taken by somebody else"
    );
    let lines = log(&["ERROR first", "no space left on device", "ERROR last"]);
    assert_eq!(telling(&lines).unwrap().0, "no space left on device");
    assert_eq!(telling(&log(&["ERROR first", "all good"])).unwrap().0, "ERROR first");
    assert!(telling(&log(&["all good"])).is_none());
    // Markup that speaks of errors is no failure, and very long lines are cut.
    assert!(telling(&log(&["<div class=\"error-message\" ng-show=\"hasError\">"])).is_none());
    let long = format!("ERROR {}", "é".repeat(1000));
    assert_eq!(telling(&log(&[&long])).unwrap().0.chars().count(), 302);
    // What the program says counts before what the agent says of its probes.
    let probed = log(&["ERROR no config", "WARN oaas_agent: failed to get https://x/: Connection refused"]);
    assert_eq!(telling(&probed).unwrap().0, "ERROR no config");
    assert!(telling(&probed[1..]).is_some());
}
