//! Chains for made-up facts, as people read them.

use std::collections::BTreeMap;

use oaas_api::status::Part;
use oaas_api::{OpenStackSpec, Phase, Reason};
use oaas_catalog::Catalog;
use oaas_diagnosis::chain::chains;
use oaas_diagnosis::facts::{Component, Facts, Operator};
use oaas_diagnosis::pods::{Container, Ended, Pod};
use oaas_plan::{
    CloudId, ComponentState, ContentState, Credentials, Inputs, JobState, Observed, blueprint, credentials,
    gates, report,
};

use crate::commands::why::text;
use crate::progress::Style;
use crate::wanted::{unbuilt, with_generated};

/// A cloud whose named components and jobs are not ready; the chains follow what the operator says of it.
fn cloud(unready: &[&str]) -> Facts {
    let catalog = Catalog::built_in().unwrap();
    let release = catalog.releases().keys().next_back().unwrap().clone();
    let spec = OpenStackSpec { release, ..OpenStackSpec::default() };
    let id = CloudId { name: "demo".into(), namespace: "demo".into(), uid: String::new() };
    let (images, nothing) = (unbuilt(&catalog), Observed::default());
    let inputs = Inputs {
        cloud: &id,
        spec: &spec,
        catalog: &catalog,
        images: &images,
        credentials: &Credentials::new(),
        user_secrets: None,
        nodes: &[],
        observed: &nothing,
    };
    let secrets = with_generated(Credentials::new(), credentials(&inputs));
    let blueprint = blueprint(&Inputs { credentials: &secrets, ..inputs }).unwrap();
    let up = |name: &String| u32::from(!unready.contains(&name.as_str()));
    let components = blueprint.components.iter().map(|(name, plan)| {
        let hash = Some(plan.hash.clone());
        (
            name.clone(),
            ComponentState { desired: 1, ready: up(name), updated: 1, hash, ..ComponentState::default() },
        )
    });
    let done = |name: &str| if unready.contains(&name) { JobState::Active } else { JobState::Succeeded };
    let observed = Observed {
        components: components.collect(),
        jobs: blueprint.jobs.values().map(|job| (job.object_name(), done(&job.name))).collect(),
        registered: blueprint.registrations.iter().map(|r| (r.service.clone(), r.hash.clone())).collect(),
        content: ContentState::Settled,
        ..Observed::default()
    };
    let told = report(&blueprint, &gates(&blueprint, &observed), &observed);
    let components: BTreeMap<String, Component> = (told.items.into_iter())
        .map(|item| {
            let component = Component {
                kind: item.part.kind,
                service: item.part.name.clone(),
                ready: item.why.is_none(),
                waits_on: item.on,
                ..Component::default()
            };
            (item.part.name, component)
        })
        .collect();
    for name in unready {
        assert!(components.get(*name).is_some_and(|component| !component.ready), "{name} is no unready part");
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
    facts.silence = Some("has given no sign of life for 5 min, since 2026-11-29 10:00:00Z".to_owned());
    insta::assert_snapshot!(answer(&facts, None));
}

#[test]
fn a_ready_cloud_has_no_chain() {
    let mut facts = cloud(&[]);
    facts.phase = Some(Phase::Ready);
    assert_eq!(answer(&facts, None), "cloud demo/demo is ready\n");
    assert_eq!(answer(&facts, Some("glance")), "component glance is ready\n");
    facts.phase = Some(Phase::Deploying);
    assert_eq!(answer(&facts, None), "cloud demo/demo has nothing that fails; the operator is at work\n");
    let content = facts.components.get_mut("content").unwrap();
    content.ready = false;
    content.waiting_for = Some("server demo-vm waits: it is being built (spawning)".to_owned());
    assert_eq!(
        answer(&facts, None),
        "content is not ready\n  <- the declared content: server demo-vm waits: it is being built (spawning)\n"
    );
}

#[test]
fn a_job_stands_in_the_chain() {
    let mut facts = cloud(&["keystone", "galera", "load-schema-keystone"]);
    facts.components.get_mut("galera").unwrap().waiting_for = Some("starts (0/1 ready)".to_owned());
    insta::assert_snapshot!(answer(&facts, Some("keystone")));
}

#[test]
fn a_circle_is_still_told() {
    let mut facts = cloud(&["galera", "keystone"]);
    facts.components.get_mut("galera").unwrap().waits_on = vec![Part::component("keystone")];
    assert_eq!(chains(&facts, None).len(), 2);
}
