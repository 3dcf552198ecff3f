//! The catalog of one cloud: conditions are evaluated once, and what a service needs is there.

use std::collections::BTreeMap;

use oaas_catalog::{Catalog, CloudCatalog, Facts, Need, Release, SelectError, Service, StorageKind};

/// A service with a condition wherever one may stand.
const CONDITIONAL: &str = r#"
name: oracle
title: Answers
apis: [{type: answers, component: oracle, port: api, path: /oracle}]
identity: {users: [{name: oracle, roles: [admin, service]}]}
databases: [oracle]
main: oracle.conf
files:
  oracle.conf: {path: /etc/oracle/oracle.conf, format: oslo}
  ceph.conf: {when: {storage: ceph}, path: /etc/ceph/ceph.conf, format: lines, content: [x]}
fragments:
  oracle:
    options:
      DEFAULT:
        always: 1
        on_files: {when: {storage: file}, value: [a, b]}
        reads: [x, {when: {with: [horizon]}, value: [y, z]}]
  dashboard: {when: {with: [horizon]}, options: {dashboard: {url: "${host:horizon}"}}}
jobs:
  - {name: oracle-pool, when: {storage: ceph}, title: makes a pool, image: openstack, role: {process: {program: {command: [sleep]}}}}
components:
  - name: oracle
    kind: deployment
    image: openstack
    needs: ["schema:oracle", {when: {with: [horizon]}, value: ["ready:horizon"]}]
    config: [common/log, oracle, dashboard]
    files: [ceph.conf]
    ports: [{name: api, port: 7777, tls: true}]
    env: {ALWAYS: a, BARE: {when: {without: [horizon]}, value: "1"}}
    role:
      wsgi:
        module: {first: [{when: {until: "2026.1"}, value: "old:app"}, "new:app"]}
        port: api
    volumes: [{when: {storage: file}, name: store, mount: /store, source: {persistent_gib: 1}}]
    resources: {cpu_millis: 10, memory_mib: 64, memory_limit_mib: 256}
  - name: oracle-old
    when: {until: "2026.1"}
    kind: deployment
    image: openstack
    role: {process: {program: {command: [sleep]}}}
    resources: {cpu_millis: 10, memory_mib: 64, memory_limit_mib: 256}
"#;

const LATER: &str = "2099.1";

/// The built-in catalog with the service above and a later release.
fn catalog() -> Catalog {
    let catalog = Catalog::built_in().expect("consistent").with_service(CONDITIONAL).expect("consistent");
    let known = catalog.releases()["2026.1"].clone();
    let later = Release { name: LATER.into(), order: 20991, ..known };
    catalog.with_release(later, "2026.1").expect("consistent")
}

fn facts(release: &str) -> Facts<'_> {
    Facts { release, profile: "tiny", switched: BTreeMap::new(), storage: StorageKind::File }
}

fn oracle(cloud: &CloudCatalog) -> &Service {
    cloud.service("oracle").expect("runs")
}

#[test]
fn each_condition_is_evaluated_where_it_stands() {
    let catalog = catalog();
    let cloud = catalog.select(&facts("2026.1")).expect("complete");
    let service = oracle(&cloud);
    let names: Vec<&str> = service.components.iter().map(|component| component.name.as_str()).collect();
    assert_eq!(names, ["oracle", "oracle-old"]);
    let component = &service.components[0];
    assert_eq!(component.pod.needs, [Need::Schema("oracle".into()), Need::Ready("horizon".into())]);
    assert_eq!(component.pod.config, ["common/log", "oracle", "dashboard"]);
    assert!(component.pod.files.is_empty() && service.jobs.is_empty());
    assert_eq!(component.pod.env.keys().collect::<Vec<_>>(), ["ALWAYS"]);
    assert_eq!(component.pod.volumes.len(), 1);
    let options = &service.fragments["oracle"].options["DEFAULT"];
    assert_eq!(options["on_files"].scalars().len(), 2);
    assert_eq!(options["reads"].scalars().len(), 3);
    assert_eq!(module(service), "old:app");

    let mut other = facts(LATER);
    other.storage = StorageKind::Ceph;
    other.switched.insert("horizon", false);
    let cloud = catalog.select(&other).expect("complete");
    let service = oracle(&cloud);
    assert_eq!(service.components.len(), 1);
    let component = &service.components[0];
    assert_eq!(component.pod.needs, [Need::Schema("oracle".into())]);
    assert_eq!(component.pod.config, ["common/log", "oracle"]);
    assert_eq!(component.pod.files, ["ceph.conf"]);
    assert_eq!(service.jobs.len(), 1);
    assert_eq!(component.pod.env.keys().collect::<Vec<_>>(), ["ALWAYS", "BARE"]);
    assert!(component.pod.volumes.is_empty());
    let options = &service.fragments["oracle"].options["DEFAULT"];
    assert_eq!(options.keys().collect::<Vec<_>>(), ["always", "reads"]);
    assert_eq!(options["reads"].scalars().len(), 1);
    assert_eq!(module(service), "new:app");
}

fn module(service: &Service) -> &str {
    &service.components[0].pod.role.wsgi().expect("an application").module
}

/// A service of another release is off, whatever profile and resource say.
#[test]
fn a_service_is_there_in_its_releases_only() {
    let catalog = catalog();
    let catalog = catalog.with_service(&CONDITIONAL.replacen(
        "name: oracle",
        "name: oracle\nwhen: {since: '2099.1'}",
        1,
    ));
    let catalog = catalog.expect("consistent");
    assert!(catalog.select(&facts("2026.1")).expect("complete").service("oracle").is_none());
    assert!(catalog.select(&facts(LATER)).expect("complete").service("oracle").is_some());
    let names: Vec<&str> =
        catalog.services_of(&catalog.releases()["2026.1"]).map(|service| service.name.as_str()).collect();
    assert!(!names.contains(&"oracle") && catalog.services().contains_key("oracle"));
}

#[test]
fn what_another_service_needs_cannot_be_off() {
    let mut without = facts("2026.1");
    without.switched = BTreeMap::from([("memcached", false), ("galera", false), ("oracle", false)]);
    let Err(SelectError::Missing { missing }) = catalog().select(&without) else {
        panic!("the cloud lacks a database")
    };
    let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "galera is off, but glance, keystone, neutron, nova, placement need it",
            "memcached is off, but horizon, keystone, nova need it",
        ]
    );
    let mut without = facts("2026.1");
    without.switched = BTreeMap::from([("horizon", false), ("client", false)]);
    assert!(catalog().select(&without).is_ok());
}

/// A condition that can never hold, or always does, is a mistake of whoever wrote it.
#[test]
fn conditions_are_strict() {
    let wrong = |condition: &str| {
        let yaml = CONDITIONAL.replace("when: {storage: file}, name: store", condition);
        catalog().with_service(&yaml).expect_err(condition).to_string()
    };
    let text = wrong("when: {since: zed}, name: store");
    assert!(text.contains("oracle: components[0].volumes[0]: ") && text.contains("release zed"), "{text}");
    assert!(wrong("when: {with: [ncva]}, name: store").contains("service ncva"));
    assert!(wrong("when: {without: [ncva]}, name: store").contains("service ncva"));
    assert!(wrong("when: {storage: tape}, name: store").contains("tape"));
    assert!(wrong("when: {sinse: '2026.1'}, name: store").contains("sinse"));
    let yaml = CONDITIONAL.replacen("name: oracle", "name: oracle\nwhen: {with: [horizon]}", 1);
    let text = catalog().with_service(&yaml).expect_err("a circle").to_string();
    assert!(text.contains("depends on no other"), "{text}");
}

/// A mistake that only some clouds would meet is found when the catalog is loaded, with its place.
#[test]
fn what_is_conditional_is_checked_all_the_same() {
    let yaml = CONDITIONAL.replace("title: makes a pool", "titel: makes a pool");
    let error = catalog().with_service(&yaml).expect_err("misspelt");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    assert!(text.contains("jobs[0]") && text.contains("titel"), "{text}");
}

/// Every size of cloud of every release is complete, whatever it stores on.
#[test]
fn every_profile_of_every_release_is_complete() {
    let catalog = Catalog::built_in().expect("consistent");
    for release in catalog.releases().keys() {
        for profile in catalog.profiles().keys() {
            for storage in StorageKind::ALL {
                let facts = Facts { release, profile, switched: BTreeMap::new(), storage };
                let cloud = catalog.select(&facts);
                assert!(cloud.is_ok_and(|cloud| cloud.services().count() > 10), "{facts:?}");
            }
        }
    }
}
