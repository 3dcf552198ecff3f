//! Reads the data, and checks that every name in it leads somewhere.

use std::collections::{BTreeMap, BTreeSet};

use include_dir::{Dir, include_dir};
use serde::Deserialize;
use serde_yaml_ng::with::singleton_map_recursive;
use snafu::{ResultExt, Snafu};

use crate::component::Need;
use crate::options::{OptionCatalog, OptionFile, OptionIndex};
use crate::release::{Profile, Release};
use crate::service::{Fragment, Service};
use crate::value::{Reference, Tree};
use crate::when::When;

static DATA: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/data");

/// Why the data cannot be used.
#[derive(Debug, Snafu)]
pub enum LoadError {
    /// A file of the catalog is not what it should be.
    #[snafu(display("failed to read the catalog file {file}"))]
    Parse {
        /// The file, below `data/`.
        file: String,
        /// What is wrong with it.
        source: serde_yaml_ng::Error,
    },
    /// A list of options is not what it should be.
    #[snafu(display("failed to read the options in {file}"))]
    Options {
        /// The file, below `data/`.
        file: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Names lead nowhere.
    #[snafu(display("failed to make sense of the catalog: {}", problems.join("; ")))]
    Inconsistent {
        /// All that is wrong.
        problems: Vec<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleasesFile {
    releases: Vec<Release>,
    profiles: BTreeMap<String, Profile>,
}

/// All that is known of releases and services.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalog {
    releases: BTreeMap<String, Release>,
    profiles: BTreeMap<String, Profile>,
    services: BTreeMap<String, Service>,
    common: BTreeMap<String, Fragment>,
    options: BTreeMap<String, OptionCatalog>,
}

impl Catalog {
    /// The catalog that is compiled in.
    pub fn built_in() -> Result<Self, LoadError> {
        let ReleasesFile { releases, profiles } = parse(&DATA, "releases.yaml")?;
        let mut services = BTreeMap::new();
        for file in DATA.get_dir("services").into_iter().flat_map(Dir::files) {
            let path = file.path().to_string_lossy();
            let service: Service = parse(&DATA, &path)?;
            services.insert(service.name.clone(), service);
        }
        let mut options: BTreeMap<String, OptionCatalog> = BTreeMap::new();
        for release in DATA.get_dir("options").into_iter().flat_map(Dir::dirs) {
            let of_release = options.entry(file_name(release.path())).or_default();
            for file in
                release.files().filter(|file| file.path().extension().is_some_and(|kind| kind == "json"))
            {
                let list: OptionFile = serde_json::from_slice(file.contents())
                    .context(OptionsSnafu { file: file.path().to_string_lossy() })?;
                let service = file.path().file_stem().map(|stem| stem.to_string_lossy().into_owned());
                of_release.insert(service.unwrap_or_default(), OptionIndex::new(list.groups));
            }
        }
        let catalog = Self {
            releases: releases.into_iter().map(|release| (release.name.clone(), release)).collect(),
            profiles,
            services,
            common: parse(&DATA, "common.yaml")?,
            options,
        };
        catalog.checked()
    }

    /// This catalog with one more service, or with one replaced, from the text of its file.
    pub fn with_service(mut self, yaml: &str) -> Result<Self, LoadError> {
        let service: Service = read(yaml).context(ParseSnafu { file: "(given)" })?;
        for profile in self.profiles.values_mut() {
            profile.services.entry(service.name.clone()).or_default();
        }
        self.services.insert(service.name.clone(), service);
        self.checked()
    }

    /// This catalog with one more release, which uses the options of another.
    pub fn with_release(mut self, release: Release, options_of: &str) -> Result<Self, LoadError> {
        if let Some(options) = self.options.get(options_of).cloned() {
            self.options.insert(release.name.clone(), options);
        }
        self.releases.insert(release.name.clone(), release);
        self.checked()
    }

    /// All releases, by name.
    pub fn releases(&self) -> &BTreeMap<String, Release> {
        &self.releases
    }

    /// All profiles, by name.
    pub fn profiles(&self) -> &BTreeMap<String, Profile> {
        &self.profiles
    }

    /// All services, by name, whether a release has them or not.
    pub fn services(&self) -> &BTreeMap<String, Service> {
        &self.services
    }

    /// The services that a release has.
    pub fn services_of(&self, release: &Release) -> impl Iterator<Item = &Service> {
        self.services.values().filter(|service| self.holds(&service.when, release))
    }

    /// Does a condition hold for a release?
    pub fn holds(&self, when: &When, release: &Release) -> bool {
        when.holds(release, |name| self.releases.get(name).map(|release| release.order))
    }

    /// The fragment that a component of a service means by a name: `common/NAME` is shared by all services.
    pub fn fragment<'a>(&'a self, service: &'a Service, name: &str) -> Option<&'a Fragment> {
        match name.strip_prefix("common/") {
            Some(name) => self.common.get(name),
            None => service.fragments.get(name),
        }
    }

    /// The options that a service understands in a release.
    pub fn options(&self, release: &str, service: &Service) -> Option<&OptionIndex> {
        self.options.get(release)?.get(service.options.as_deref().unwrap_or(&service.name))
    }

    fn checked(self) -> Result<Self, LoadError> {
        let problems = self.problems();
        if problems.is_empty() { Ok(self) } else { InconsistentSnafu { problems }.fail() }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let names = Names::of(self);
        for service in self.services.values() {
            let mut complain = |what: String| problems.push(format!("{}: {what}", service.name));
            let references = |tree: &Tree| {
                let mut found = Vec::new();
                tree.visit(&mut |scalar| found.extend(scalar.references().cloned()));
                found
            };
            let mut used: Vec<Reference> = Vec::new();
            for fragment in service.fragments.values() {
                used.extend(fragment_references(fragment));
            }
            for file in service.files.values() {
                used.extend(references(&file.content));
            }
            for component in &service.components {
                used.extend(references(&component.role));
                for name in &component.config {
                    match self.fragment(service, name) {
                        None => complain(format!("{}: no fragment {name}", component.name)),
                        Some(fragment) => used.extend(fragment_references(fragment)),
                    }
                }
                for name in &component.files {
                    if !service.files.contains_key(name) {
                        complain(format!("{}: no file {name}", component.name));
                    }
                }
                if !component.config.is_empty() && service.main.is_none() {
                    complain(format!("{}: has fragments, but the service no main file", component.name));
                }
                for secret in component.secret_mounts.keys() {
                    if !names.secrets.contains(secret.as_str()) {
                        complain(format!("{}: no secret {secret}", component.name));
                    }
                }
                component.needs.iter().filter_map(|need| names.missing(need)).for_each(&mut complain);
            }
            for job in &service.jobs {
                used.extend(references(&job.role));
                job.needs.iter().filter_map(|need| names.missing(need)).for_each(&mut complain);
                for name in &job.config {
                    if self.fragment(service, name).is_none() {
                        complain(format!("{}: no fragment {name}", job.name));
                    }
                }
            }
            if let Some(api) = &service.api {
                let component = service.components.iter().find(|component| component.name == api.component);
                if !component
                    .is_some_and(|component| component.ports.iter().any(|port| port.name == api.port))
                {
                    complain(format!("its API's component {} has no port {}", api.component, api.port));
                }
            }
            if let Some(main) = &service.main
                && !service.files.contains_key(main)
            {
                complain(format!("no main file {main}"));
            }
            used.iter().filter_map(|reference| names.unresolved(reference)).for_each(&mut complain);
        }
        for (name, profile) in &self.profiles {
            for service in profile.services.keys().filter(|service| !self.services.contains_key(*service)) {
                problems.push(format!("profile {name}: no service {service}"));
            }
        }
        problems
    }
}

fn fragment_references(fragment: &Fragment) -> impl Iterator<Item = Reference> + '_ {
    fragment
        .options
        .values()
        .flat_map(BTreeMap::values)
        .flat_map(|value| value.scalars().iter().flat_map(|scalar| scalar.references().cloned()))
}

/// Every name that something may lead to.
struct Names<'a> {
    services: BTreeSet<&'a str>,
    components: BTreeSet<&'a str>,
    databases: BTreeSet<&'a str>,
    secrets: BTreeSet<&'a str>,
    jobs: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(catalog: &'a Catalog) -> Self {
        let services = || catalog.services.values();
        Self {
            services: services().map(|service| service.name.as_str()).collect(),
            components: services()
                .flat_map(|service| service.components.iter().map(|component| component.name.as_str()))
                .collect(),
            databases: services().flat_map(|service| service.databases.iter().map(String::as_str)).collect(),
            secrets: services().flat_map(|service| service.secrets.keys().map(String::as_str)).collect(),
            jobs: services().flat_map(|service| service.jobs.iter().map(|job| job.name.as_str())).collect(),
        }
    }

    fn missing(&self, need: &Need) -> Option<String> {
        let (kind, name, known) = match need {
            Need::Ready(name) => ("component", name, &self.components),
            Need::Job(name) => ("job", name, &self.jobs),
            Need::Schema(name) | Need::Registered(name) => ("service", name, &self.services),
        };
        (!known.contains(name.as_str())).then(|| format!("needs the {kind} {name}, which does not exist"))
    }

    fn unresolved(&self, reference: &Reference) -> Option<String> {
        let (kind, name, known) = match reference {
            Reference::Database(name) => ("database", name, &self.databases),
            Reference::Url(name) | Reference::Public(name) => ("service", name, &self.services),
            Reference::Password(name) if name != "self" => ("service", name, &self.services),
            Reference::Secret(name) => ("secret", name, &self.secrets),
            Reference::Host(name)
            | Reference::Members(name)
            | Reference::Hosts(name)
            | Reference::Ovsdb(name)
            | Reference::ReplicaCount(name) => ("component", name, &self.components),
            _ => return None,
        };
        (!known.contains(name.as_str())).then(|| format!("refers to the {kind} {name}, which does not exist"))
    }
}

fn parse<T: for<'de> Deserialize<'de>>(dir: &Dir<'_>, file: &str) -> Result<T, LoadError> {
    let text = dir.get_file(file).and_then(|found| found.contents_utf8()).unwrap_or_default();
    read(text).context(ParseSnafu { file })
}

/// YAML with enums written as maps of one key, as JSON has them, and not as YAML tags.
fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, serde_yaml_ng::Error> {
    singleton_map_recursive::deserialize(serde_yaml_ng::Deserializer::from_str(text))
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalog_is_consistent() {
        let catalog = Catalog::built_in().expect("consistent");
        assert!(!catalog.releases().is_empty());
        for profile in catalog.profiles().values() {
            assert!(!profile.services.is_empty());
        }
    }

    /// Only these are a node's own: the rest of its root is the host's, where a file would outlive the node.
    fn is_the_nodes_own(path: &str, read_only: bool) -> bool {
        let below =
            |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'));
        let straight = !path.split('/').any(|part| part == "..");
        straight
            && (below("/var")
                || below("/run")
                || matches!(path, "/dev" | "/sys/fs/cgroup")
                || path == "/lib/modules" && read_only)
    }

    #[test]
    fn what_is_mounted_from_a_node_is_the_nodes_own() {
        let catalog = Catalog::built_in().expect("consistent");
        let mut seen = 0;
        for component in catalog.services().values().flat_map(|service| &service.components) {
            for volume in &component.volumes {
                if let crate::VolumeSource::Host { path, .. } = &volume.source {
                    seen += 1;
                    assert!(
                        is_the_nodes_own(path, volume.read_only),
                        "{} mounts {path} of its node, which is the host's: it would outlive `oaas down`",
                        component.name
                    );
                }
            }
        }
        assert!(seen > 5, "only {seen} mounts were looked at");
    }

    #[test]
    fn the_hosts_own_paths_are_told_from_the_nodes() {
        for own in ["/var/lib/nova", "/run/libvirt", "/dev", "/sys/fs/cgroup"] {
            assert!(is_the_nodes_own(own, false), "{own}");
        }
        for foreign in ["/", "/var", "/etc/libvirt/qemu", "/varnish/x", "/var/../etc", "/sys", "/lib/modules"]
        {
            assert!(!is_the_nodes_own(foreign, false), "{foreign}");
        }
        assert!(is_the_nodes_own("/lib/modules", true));
    }

    #[test]
    fn a_name_that_leads_nowhere_is_told() {
        let yaml = "
name: made-up
title: Nothing
components:
  - name: made-up
    kind: deployment
    image: base
    needs: ['ready:nobody']
    role: {process: {command: ['x', '${url:nowhere}']}}
    resources: {cpu_millis: 1, memory_mib: 1, memory_limit_mib: 1}
";
        let error = Catalog::built_in().expect("consistent").with_service(yaml).expect_err("inconsistent");
        let text = error.to_string();
        assert!(text.contains("nobody") && text.contains("nowhere"), "{text}");
    }
}
