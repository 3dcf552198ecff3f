//! What a cloud is rendered to: golden files, and rules that hold for all of it.

mod support;

use std::collections::BTreeSet;

use oaas_plan::Callers;
use oaas_render::{Rendered, render, text};
use support::Cloud;

/// Render with every gate open.
fn all(cloud: &mut Cloud) -> (oaas_plan::Blueprint, Rendered) {
    while cloud.step() {}
    let blueprint = cloud.blueprint();
    let gates = oaas_plan::gates(&blueprint, &cloud.observed);
    let rendered = render(&blueprint, &gates);
    (blueprint, rendered)
}

#[test]
fn configuration_files_are_as_reviewed() {
    let (blueprint, _) = all(&mut Cloud::small());
    for plan in blueprint.components.values() {
        let files: String = plan
            .documents
            .iter()
            .map(|document| format!("### {}\n{}\n", document.path, text::write(document)))
            .collect();
        insta::assert_snapshot!(format!("files-{}", plan.name), files);
    }
    for job in blueprint.jobs.values() {
        let files: String =
            job.documents.iter().map(|d| format!("### {}\n{}\n", d.path, text::write(d))).collect();
        insta::assert_snapshot!(format!("job-{}", job.name), files);
    }
}

#[test]
fn workloads_are_as_reviewed() {
    let (_, rendered) = all(&mut Cloud::small());
    let objects = &rendered.apply;
    for name in ["keystone", "nova-api"] {
        let found = objects.deployments.iter().find(|object| object.metadata.name.as_deref() == Some(name));
        insta::assert_yaml_snapshot!(format!("deployment-{name}"), found.expect("rendered"));
    }
    insta::assert_yaml_snapshot!("stateful-sets", objects.stateful_sets);
    insta::assert_yaml_snapshot!("daemon-sets", objects.daemon_sets);
    insta::assert_yaml_snapshot!("services", objects.services);
    insta::assert_yaml_snapshot!("network-policies", objects.network_policies);
    insta::assert_yaml_snapshot!("cron-jobs", objects.cron_jobs);
    let found = objects.jobs.iter().find(|object| {
        object
            .metadata
            .labels
            .as_ref()
            .is_some_and(|labels| labels["oaas.dev/component"] == "keystone-bootstrap")
    });
    insta::assert_yaml_snapshot!("job-object-keystone-bootstrap", found.expect("rendered").spec);
}

/// What each profile runs and takes, and what of the files is different where there are several.
#[test]
fn profiles_are_as_reviewed() {
    let of = |profile| {
        let mut cloud = Cloud::small();
        cloud.spec.profile = profile;
        cloud.fill_credentials();
        all(&mut cloud).0
    };
    let profiles = [
        ("tiny", oaas_api::Profile::Tiny),
        ("small", oaas_api::Profile::Small),
        ("full", oaas_api::Profile::Full),
    ];
    let files = |blueprint: &oaas_plan::Blueprint| -> BTreeSet<String> {
        let documents = blueprint
            .components
            .values()
            .flat_map(|plan| plan.documents.iter().map(move |document| (&plan.name, document)));
        let lines = documents.flat_map(|(name, document)| {
            let path = document.path.clone();
            let text = text::write(document);
            text.lines().map(|line| format!("{name} {path}: {}", line.trim())).collect::<Vec<_>>()
        });
        lines.collect()
    };
    let tiny = files(&of(oaas_api::Profile::Tiny));
    for (name, profile) in profiles {
        let blueprint = of(profile);
        let mut shown = format!("takes {}\n\n", oaas_plan::capacity(&blueprint));
        for plan in blueprint.components.values() {
            let resources = &plan.resources;
            shown += &format!(
                "{:<32} {:<12} x{}  {} m, {} MiB, at most {} MiB\n",
                plan.name,
                format!("{:?}", plan.kind),
                plan.replicas,
                resources.cpu_millis,
                resources.memory_mib,
                resources.memory_limit_mib
            );
        }
        for job in blueprint.jobs.values() {
            let when = job.schedule.as_ref().map_or_else(|| "once".to_owned(), ToString::to_string);
            shown += &format!("{:<32} Job, {when}\n", job.name);
        }
        let lines = files(&blueprint);
        for line in tiny.difference(&lines) {
            shown += &format!("- {line}\n");
        }
        for line in lines.difference(&tiny) {
            shown += &format!("+ {line}\n");
        }
        insta::assert_snapshot!(format!("profile-{name}"), shown);
    }
}

/// The cloud of a release, with every gate open: each line of each file and workload with the place where it stands, but
/// for hashes and the release's own name.
fn lines(release: &str) -> BTreeSet<String> {
    let mut cloud = Cloud::of_release(release);
    let (blueprint, rendered) = all(&mut cloud);
    let mut lines = BTreeSet::new();
    let mut add = |place: &str, text: &str| {
        let mut section = String::new();
        // Secrets with files are named by hashes.
        let hashed = |line: &&str| line.contains("oaas.dev/") || line.contains("\"secretName\": \"config-");
        for line in text.lines().filter(|line| !hashed(line) && !line.trim().is_empty()) {
            if line.starts_with('[') {
                section = format!(" {line}");
            }
            let line = line.trim().trim_end_matches(',').replace(&format!("openstack-{release}"), "(image)");
            lines.insert(format!("{place}{section}: {line}"));
        }
    };
    let components = blueprint.components.values().map(|plan| (&plan.name, &plan.documents));
    for (name, documents) in components.chain(blueprint.jobs.values().map(|job| (&job.name, &job.documents)))
    {
        for document in documents {
            add(&format!("{name} {}", document.path), &text::write(document));
        }
    }
    let objects = &rendered.apply;
    let deployments =
        objects.deployments.iter().map(|object| (&object.metadata, serde_json::to_value(object)));
    let stateful_sets =
        objects.stateful_sets.iter().map(|object| (&object.metadata, serde_json::to_value(object)));
    let daemon_sets =
        objects.daemon_sets.iter().map(|object| (&object.metadata, serde_json::to_value(object)));
    for (metadata, object) in deployments.chain(stateful_sets).chain(daemon_sets) {
        let text = serde_json::to_string_pretty(&object.expect("JSON")).expect("text");
        add(metadata.name.as_deref().expect("a name"), &text);
    }
    lines
}

/// The other golden files are one release's; those of the others tell where a cloud of them differs from it.
#[test]
fn releases_differ_as_reviewed() {
    let cloud = Cloud::small();
    let known = lines(&cloud.spec.release);
    assert!(known.len() > 1000, "only {} lines were looked at", known.len());
    for release in cloud.catalog.releases().keys().filter(|name| **name != cloud.spec.release) {
        let other = lines(release);
        let gone = known.difference(&other).map(|line| format!("- {line}"));
        let new = other.difference(&known).map(|line| format!("+ {line}"));
        let mut differences: Vec<String> = gone.chain(new).collect();
        differences.sort_by(|one, other| one[2..].cmp(&other[2..]));
        insta::assert_snapshot!(format!("release-{release}"), differences.join("\n"));
    }
}

/// The agent refuses what it does not know, so every role and check of the catalog must be one that it has.
#[test]
fn the_agent_understands_every_configuration() {
    for release in Cloud::small().catalog.releases().keys() {
        let (blueprint, _) = all(&mut Cloud::of_release(release));
        let documents = blueprint
            .components
            .values()
            .flat_map(|plan| &plan.documents)
            .chain(blueprint.jobs.values().flat_map(|job| &job.documents));
        let mut seen = 0;
        for document in documents.filter(|document| document.path.ends_with("/agent.json")) {
            let text = text::write(document);
            let parsed: Result<oaas_agent_config::AgentConfig, _> = serde_json::from_str(&text);
            if let Err(error) = parsed {
                panic!("{release}: {error}\n{text}");
            }
            seen += 1;
        }
        assert!(seen > 20, "only {seen} agents of {release} were looked at");
    }
}

/// One member is the writer by its template; several choose, and have what they need for it.
#[test]
fn members_of_a_database_choose_who_writes() {
    let set = |rendered: &Rendered| {
        let sets = &rendered.apply.stateful_sets;
        let set = sets.iter().find(|set| set.metadata.name.as_deref() == Some("galera")).expect("rendered");
        let template = set.spec.template.clone();
        let labels = template.metadata.and_then(|metadata| metadata.labels).expect("labels");
        (labels, template.spec.expect("a pod"))
    };
    let (blueprint, alone) = all(&mut Cloud::small());
    let services = &alone.apply.services;
    let writer = services.iter().find(|s| s.metadata.name.as_deref() == Some("galera-writer"));
    let chosen = writer.and_then(|service| service.spec.as_ref()?.selector.clone()).expect("selects");
    let document = blueprint.components["galera"].documents.iter().find(|d| d.path.ends_with("agent.json"));
    let agent: serde_json::Value =
        serde_json::from_str(&text::write(document.expect("an agent"))).expect("JSON");
    let label = agent["role"]["mariadb"]["writer"]["label"].as_str().expect("a label");
    assert_eq!(
        chosen.get(label).map(String::as_str),
        Some("true"),
        "the agent sets what the Service selects"
    );

    let (labels, pod) = set(&alone);
    assert!(labels.contains_key(label));
    assert_eq!((pod.service_account_name, pod.automount_service_account_token), (None, Some(false)));
    assert!(alone.apply.roles.is_empty());

    let mut cloud = Cloud::small();
    cloud.observed.scaled.insert("galera".into(), 3);
    let (_, several) = all(&mut cloud);
    let (labels, pod) = set(&several);
    assert!(!labels.contains_key(label));
    assert_eq!(pod.service_account_name.as_deref(), Some("galera"));
    insta::assert_yaml_snapshot!(
        "identity-of-members",
        (&several.apply.service_accounts, &several.apply.roles, &several.apply.role_bindings)
    );
}

#[test]
fn secrets_stand_in_secrets_only() {
    let (_, rendered) = all(&mut Cloud::small());
    let mut objects = rendered.apply.clone();
    assert!(!objects.secrets.is_empty());
    objects.secrets.clear();
    let text = format!("{objects:?}");
    assert!(!text.contains("SECRET-"), "a secret stands outside of Secrets");
    let blueprint = format!("{:?}", Cloud::small().blueprint());
    assert!(!blueprint.contains("SECRET-"), "Debug shows a secret");
}

#[test]
fn a_compute_knows_no_database() {
    let (blueprint, _) = all(&mut Cloud::small());
    for name in ["nova-compute", "neutron-ovn-agent"] {
        for document in &blueprint.components[name].documents {
            assert!(!text::write(document).contains("mysql"), "{name}: {}", document.path);
        }
    }
}

/// A new service is data: a fixture alone makes workload, configuration, database, Service, endpoint, route.
/// Whoever has the address of a component in its files may connect to it, and it is those that policies are made for.
#[test]
fn whom_files_name_lets_them_in() {
    let (blueprint, _) = all(&mut Cloud::small());
    let components = blueprint.components.values().map(|plan| (&plan.name, &plan.documents));
    let jobs = blueprint.jobs.values().map(|plan| (&plan.name, &plan.documents));
    let mut found = 0;
    for (name, documents) in components.chain(jobs) {
        let files: String = documents.iter().map(text::write).collect();
        let names = |service: &str| {
            let address = format!("{service}.{}.svc.", blueprint.cloud.namespace);
            files.match_indices(&address).any(|(at, _)| {
                !files[..at].ends_with(|before: char| before.is_ascii_alphanumeric() || before == '-')
            })
        };
        for called in blueprint.components.values().filter(|called| called.name != *name) {
            if names(&called.name) || called.single_writer.as_deref().is_some_and(names) {
                found += 1;
                let lets_in = match &blueprint.callers[&called.name] {
                    Callers::Everyone => true,
                    Callers::Only(some) => some.contains(name),
                };
                assert!(lets_in, "{} does not let {name} in, whose files name it", called.name);
            }
        }
    }
    assert!(found > 50, "only {found} addresses are found in the files");
    let Callers::Only(some) = &blueprint.callers["memcached"] else { panic!("the cache is no API") };
    assert!(some.contains("keystone") && !some.contains("client"), "{some:?}");
}

#[test]
fn a_made_up_service_needs_a_fixture_only() {
    let mut cloud = Cloud::small();
    cloud.catalog =
        cloud.catalog.clone().with_service(include_str!("made-up-service.yaml")).expect("consistent");
    cloud.fill_credentials();
    let (blueprint, rendered) = all(&mut cloud);
    assert!(blueprint.jobs.contains_key("load-schema-oracle"));
    assert!(blueprint.registrations.iter().any(|registration| registration.service == "oracle"));
    let deployment = rendered.apply.deployments.iter().find(|d| d.metadata.name.as_deref() == Some("oracle"));
    assert!(deployment.is_some());
    let config = text::write(&blueprint.components["oracle"].documents[0]);
    assert!(config.contains("mysql+pymysql://oracle_g1:"), "{config}");
    let edge = text::write(&blueprint.components["edge"].documents[0]);
    assert!(edge.contains("path_beg /oracle/"), "{edge}");
    let names: BTreeSet<_> =
        rendered.apply.services.iter().filter_map(|s| s.metadata.name.as_deref()).collect();
    assert!(names.contains("oracle"));
}

/// Rendering from few facts: what its sources say of services and releases by name would be code in the wrong place.
#[test]
fn plan_and_render_name_no_service_and_no_release() {
    let catalog = oaas_catalog::Catalog::built_in().expect("consistent");
    let mut words: BTreeSet<String> = catalog.services().keys().cloned().collect();
    words.extend(
        catalog.services().values().flat_map(|s| s.components.iter().map(|component| component.name.clone())),
    );
    words.extend(catalog.releases().keys().cloned());
    // Words of the resource's own fields and of plain English.
    for word in ["edge", "client", "horizon"] {
        words.remove(word);
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join("src"), root.join("../plan/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).expect("readable");
            let code = source.split("#[cfg(test)]").next().unwrap_or_default();
            for (number, line) in code.lines().enumerate() {
                let line = line.split("//").next().unwrap_or_default();
                for word in &words {
                    let quoted =
                        line.contains(&format!("\"{word}\"")) || line.contains(&format!("\"{word}-"));
                    if quoted {
                        found.push(format!("{}:{}: {word}", path.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
