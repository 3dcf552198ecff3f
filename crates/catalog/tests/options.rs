//! What the catalog itself writes into configuration files are options that the services of each release have.

use std::collections::BTreeMap;

use oaas_catalog::{Catalog, Service};

/// How many options of each release were looked at, and every option of a service's main file that its release does not
/// have.
fn unknown_options(catalog: &Catalog) -> (BTreeMap<String, usize>, Vec<String>) {
    let mut all = BTreeMap::new();
    let mut wrong = Vec::new();
    for release in catalog.releases().values() {
        let mut seen = 0;
        let facts = oaas_catalog::Facts {
            release: &release.name,
            profile: "full",
            switched: catalog.services_of(release).map(|service| (service.name.as_str(), true)).collect(),
            storage: oaas_catalog::StorageKind::File,
        };
        let cloud = catalog.select(&facts).expect("complete");
        for service in cloud.services() {
            let Some(index) = catalog.options(&release.name, service) else { continue };
            for name in fragments(service) {
                let fragment = cloud.fragment(service, name).expect("there");
                for (section, options) in &fragment.options {
                    for option in options.keys() {
                        seen += 1;
                        if service.unlisted.contains(section) || index.get(section, option).is_some() {
                            continue;
                        }
                        let hint = index.instead_of(section, option).unwrap_or_default();
                        wrong.push(format!(
                            "{} {} {name}: no option {option} in [{section}]; {hint}",
                            release.name, service.name
                        ));
                    }
                }
            }
        }
        all.insert(release.name.clone(), seen);
    }
    wrong.sort();
    wrong.dedup();
    (all, wrong)
}

/// The fragments that some component or job of a service reads.
fn fragments(service: &Service) -> Vec<&String> {
    let components = service.components.iter().flat_map(|component| &component.pod.config);
    let mut names: Vec<_> = components.chain(service.jobs.iter().flat_map(|job| &job.pod.config)).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn every_option_is_one_that_the_service_has() {
    let (seen, wrong) = unknown_options(&Catalog::built_in().expect("consistent"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen.values().all(|seen| *seen > 200), "of a release, few options were looked at: {seen:?}");
}

#[test]
fn an_option_that_a_service_lacks_is_found() {
    let yaml = r"
name: oracle
title: Answers
options: keystone
main: oracle.conf
files:
  oracle.conf: {path: /etc/oracle/oracle.conf, format: oslo}
fragments:
  oracle: {options: {token: {expirations: 1}, cache: {memcache_socket_timeout: 1}}}
components:
  - name: oracle
    kind: deployment
    image: openstack
    config: [oracle]
    role: {process: {program: {command: [oracle]}}}
    resources: {cpu_millis: 1, memory_mib: 1, memory_limit_mib: 1}
";
    let catalog = Catalog::built_in().expect("consistent").with_service(yaml).expect("consistent");
    let (_, wrong) = unknown_options(&catalog);
    let wrong: Vec<&str> = wrong.iter().filter_map(|line| line.strip_prefix("2026.1 oracle ")).collect();
    assert_eq!(
        wrong,
        [
            "oracle: no option expirations in [token]; did you mean expiration?",
            "oracle: no option memcache_socket_timeout in [cache]; it is now [cache] socket_timeout",
        ]
    );
}
