//! Reads the data, and checks that every name in it leads somewhere.

use std::collections::{BTreeMap, BTreeSet};

use include_dir::{Dir, File, include_dir};
use oaas_feedback::{Explain, Kind};
use serde::Deserialize;
use snafu::{ResultExt, Snafu};

use crate::names::{Names, uses};
use crate::options::{self, OptionIndex};
use crate::pod::Pod;
use crate::release::{Profile, Release};
use crate::select::{CONTRIBUTED, CloudCatalog, Facts, SelectError};
use crate::service::{FileFormat, Service};
use crate::source::{Source, Wrong};
use crate::when::Circumstances;

static SERVICES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/data/services");
const RELEASES: &str = include_str!("../data/releases.yaml");
const COMMON: &str = include_str!("../data/common.yaml");

/// Why the data cannot be used.
#[derive(Debug, Snafu)]
pub enum LoadError {
    /// A file of the catalog is not YAML.
    #[snafu(display("failed to read the catalog file {file}"))]
    Parse {
        /// The file, below `data/`.
        file: String,
        /// What is wrong with it.
        source: serde_yaml_ng::Error,
    },
    /// A file of the catalog is not what it should be.
    #[snafu(display("failed to read the catalog for release {release}"))]
    Shape {
        /// For which release its conditions were evaluated.
        release: String,
        /// Where in which file, and what is wrong there.
        source: Wrong,
    },
    /// Names lead nowhere.
    #[snafu(display("failed to make sense of the catalog: {}", problems.join("; ")))]
    Inconsistent {
        /// All that is wrong.
        problems: Vec<String>,
    },
}

/// The data is compiled in: no user can mend it.
impl Explain for LoadError {
    fn kind(&self) -> Kind {
        Kind::Failed
    }
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
    /// The services' files, conditions and all.
    sources: BTreeMap<String, Source>,
    /// The file of what all services share.
    common: Source,
    /// By release: of which release its options are.
    options_of: BTreeMap<String, String>,
    /// What a cloud of each release may run, whatever else it is.
    possible: BTreeMap<String, CloudCatalog>,
    /// What some release has.
    services: BTreeMap<String, Service>,
}

impl Catalog {
    /// The catalog that is compiled in.
    pub fn built_in() -> Result<Self, LoadError> {
        let file = "releases.yaml";
        let ReleasesFile { releases, profiles } =
            serde_yaml_ng::from_str(RELEASES).context(ParseSnafu { file })?;
        let mut sources = BTreeMap::new();
        for file in SERVICES.files() {
            let path = format!("services/{}", file.path().display());
            let (name, source) = service_file(&path, contents(file))?;
            sources.insert(name, source);
        }
        let common = "common.yaml";
        let own = |release: &Release| (release.name.clone(), release.name.clone());
        let catalog = Self {
            options_of: releases.iter().map(own).collect(),
            releases: releases.into_iter().map(|release| (release.name.clone(), release)).collect(),
            profiles,
            sources,
            common: Source::read(common, COMMON).context(ParseSnafu { file: common })?,
            possible: BTreeMap::new(),
            services: BTreeMap::new(),
        };
        catalog.checked()
    }

    /// This catalog with one more service, or with one replaced, from the text of its file. Every profile runs it.
    pub fn with_service(mut self, yaml: &str) -> Result<Self, LoadError> {
        let (name, source) = service_file("(given)", yaml)?;
        for profile in self.profiles.values_mut() {
            profile.services.entry(name.clone()).or_default();
        }
        self.sources.insert(name, source);
        self.checked()
    }

    /// This catalog with one more release, which uses the options of another.
    pub fn with_release(mut self, release: Release, options_of: &str) -> Result<Self, LoadError> {
        self.options_of.insert(release.name.clone(), options_of.to_owned());
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

    /// All services, by name, whether a release has them or not; each as its latest release has it, with everything
    /// that a cloud may have of it.
    pub fn services(&self) -> &BTreeMap<String, Service> {
        &self.services
    }

    /// The services that a release has, each with everything that a cloud of it may have.
    pub fn services_of(&self, release: &Release) -> impl Iterator<Item = &Service> {
        self.possible.get(&release.name).into_iter().flat_map(CloudCatalog::services)
    }

    /// The options that a service understands in a release.
    pub fn options(&self, release: &str, service: &Service) -> Option<&OptionIndex> {
        options::of_release(self.options_of.get(release)?)?
            .get(service.options.as_deref().unwrap_or(&service.name))
    }

    /// The catalog of one cloud: every condition is evaluated here, once, against what the cloud is.
    ///
    /// What a service refers to must be there: one that is off, though another needs it, is an error with both names. Who
    /// can do without says so by a condition.
    pub fn select(&self, facts: &Facts<'_>) -> Result<CloudCatalog, SelectError> {
        let (Some(release), Some(possible)) =
            (self.releases.get(facts.release), self.possible.get(facts.release))
        else {
            return Err(SelectError::NoRelease { release: facts.release.to_owned() });
        };
        let profile = self.profiles.get(facts.profile);
        let on = |name: &str| {
            let by_profile = profile.is_some_and(|profile| profile.services.contains_key(name));
            facts.switched.get(name).copied().unwrap_or(by_profile)
        };
        // The condition of a service as a whole asks for no other service, so what runs is known before.
        let nothing = BTreeSet::new();
        let before =
            Circumstances { release, releases: &self.releases, cloud: Some((&nothing, facts.storage)) };
        let runs: BTreeSet<String> = self
            .sources
            .iter()
            .filter(|(name, source)| on(name) && source.own_when().is_none_or(|when| when.holds(&before)))
            .map(|(name, _)| name.clone())
            .collect();
        let of = Circumstances { cloud: Some((&runs, facts.storage)), ..before };
        let sources = self.sources.iter().filter(|(name, _)| runs.contains(*name));
        let selected = CloudCatalog::evaluate(&self.common, sources, &of)
            .map_err(|source| SelectError::Wrong { source })?;
        let missing = selected.missing(possible);
        if missing.is_empty() { Ok(selected) } else { Err(SelectError::Missing { missing }) }
    }

    /// Evaluate what each release may have, and check that every name leads somewhere.
    fn checked(mut self) -> Result<Self, LoadError> {
        let problems = self.wrong_conditions();
        if !problems.is_empty() {
            return InconsistentSnafu { problems }.fail();
        }
        let mut releases: Vec<&Release> = self.releases.values().collect();
        releases.sort_by_key(|release| release.order);
        let mut possible = BTreeMap::new();
        let mut services = BTreeMap::new();
        for release in releases {
            let of = Circumstances { release, releases: &self.releases, cloud: None };
            let catalog = CloudCatalog::evaluate(&self.common, self.sources.iter(), &of)
                .map_err(|source| LoadError::Shape { release: release.name.clone(), source })?;
            services.extend(catalog.services().map(|service| (service.name.clone(), service.clone())));
            possible.insert(release.name.clone(), catalog);
        }
        self.possible = possible;
        self.services = services;
        let problems = self.problems();
        if problems.is_empty() { Ok(self) } else { InconsistentSnafu { problems }.fail() }
    }

    fn wrong_conditions(&self) -> Vec<String> {
        let services: BTreeSet<String> = self.sources.keys().cloned().collect();
        let common = ("common".to_owned(), &self.common);
        let mut problems = Vec::new();
        for (file, source) in self.sources.iter().map(|(name, s)| (name.clone(), s)).chain([common]) {
            for (place, when) in source.conditions() {
                let whole = place.is_empty();
                let mut complain = |what: String| {
                    let at = if whole { String::new() } else { format!(" {place}:") };
                    problems.push(format!("{file}:{at} {what}"));
                };
                match when {
                    Err(why) => complain(format!("the condition cannot be read: {why}")),
                    Ok(when) => {
                        when.unknown(&self.releases, &services).for_each(&mut complain);
                        if whole && !(when.with.is_empty() && when.without.is_empty()) {
                            complain("a service as a whole depends on no other".to_owned());
                        }
                    }
                }
            }
        }
        problems
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = BTreeSet::new();
        for (release, catalog) in &self.possible {
            let names = Names::of(catalog.services());
            problems.extend(twice(catalog));
            for service in catalog.services() {
                let mut complain = |what: String| problems.insert(format!("{}: {what}", service.name));
                for (place, thing) in uses(service, catalog.shared()) {
                    if names.owner(&thing).is_none() {
                        complain(format!("{place}: refers to {thing}, which does not exist in {release}"));
                    }
                }
                for problem in self.shape_problems(service).into_iter().chain(said_twice(service, catalog)) {
                    complain(problem);
                }
                for contribution in &service.contributes {
                    for name in &contribution.to {
                        match catalog.service(name) {
                            None if !self.sources.contains_key(name) => {
                                complain(format!("contributes to the service {name}, which does not exist"));
                            }
                            Some(receiver) if receiver.main.is_none() => {
                                complain(format!("contributes to {name}, which has no main file"));
                            }
                            _ => {}
                        }
                    }
                    let receivers = || contribution.to.iter().filter_map(|name| catalog.service(name));
                    for part in &contribution.only {
                        let mut parts = receivers().flat_map(|receiver| {
                            let components = receiver.components.iter().map(|component| &component.name);
                            components.chain(receiver.jobs.iter().map(|job| &job.name))
                        });
                        if receivers().next().is_some() && !parts.any(|name| name == part) {
                            complain(format!("contributes to {part}, which does not exist in {release}"));
                        }
                    }
                }
            }
        }
        for (name, profile) in &self.profiles {
            for service in profile.services.keys().filter(|service| !self.services.contains_key(*service)) {
                problems.insert(format!("profile {name}: no service {service}"));
            }
        }
        problems.into_iter().collect()
    }

    /// What does not fit together within one service.
    fn shape_problems(&self, service: &Service) -> Vec<String> {
        let mut problems = Vec::new();
        let mut complain = |what: String| problems.push(what);
        let Some(source) = self.sources.get(&service.name) else { return problems };
        let known = |kind: &str, name: &str| source.keys(kind).any(|key| key == name);
        let components = service.components.iter().map(|c| (&c.name, &c.pod));
        let jobs = service.jobs.iter().map(|job| (&job.name, &job.pod));
        for (user, Pod { config, files, .. }) in components.chain(jobs) {
            for name in config.iter().filter(|name| match name.strip_prefix("common/") {
                Some(name) => !self.common.has(name),
                None => !known("fragments", name) && !name.starts_with(CONTRIBUTED),
            }) {
                complain(format!("{user}: no fragment {name}"));
            }
            for name in files.iter().filter(|name| !known("files", name)) {
                complain(format!("{user}: no file {name}"));
            }
            if !config.is_empty() && service.main.is_none() {
                complain(format!("{user}: has fragments, but the service no main file"));
            }
        }
        for component in &service.components {
            let of_role = component.pod.role.wsgi().map(|wsgi| &wsgi.port);
            let of_health = component.health.get.as_ref().and_then(|get| get.port.as_ref());
            for name in of_role.into_iter().chain(of_health) {
                if !component.ports.iter().any(|port| port.name == *name) {
                    complain(format!("{}: no port {name}", component.name));
                }
            }
        }
        for (section, names) in &service.read_by {
            let component =
                |name: &String| service.components.iter().any(|component| component.name == *name);
            let job = |name: &String| service.jobs.iter().any(|job| job.name == *name);
            for name in names.iter().filter(|name| !component(name) && !job(name)) {
                complain(format!("[{section}] is read by {name}, which is no part of it"));
            }
        }
        for api in &service.apis {
            let component = service.components.iter().find(|component| component.name == api.component);
            if !component.is_some_and(|component| component.ports.iter().any(|port| port.name == api.port)) {
                complain(format!(
                    "the component {} of the API {} has no port {}",
                    api.component, api.name, api.port
                ));
            }
        }
        for (name, file) in service.files.iter().filter(|(_, file)| file.live.is_some()) {
            if service.main.as_ref() != Some(name)
                || file.format != FileFormat::Oslo
                || name.strip_suffix(".conf").is_none()
            {
                complain(format!(
                    "{name}: only a main file of sections named *.conf has options that are live"
                ));
            }
        }
        if let Some(main) = &service.main
            && !service.files.contains_key(main)
        {
            complain(format!("no main file {main}"));
        }
        problems
    }
}

/// Options that somebody contributes to a main file in which they stand already.
fn said_twice(service: &Service, catalog: &CloudCatalog) -> Vec<String> {
    let components = service.components.iter().map(|component| (&component.name, &component.pod.config));
    let parts = components.chain(service.jobs.iter().map(|job| (&job.name, &job.pod.config)));
    let mut problems = Vec::new();
    for (part, config) in parts {
        let mut seen: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        for name in config {
            for (section, options) in catalog.fragment(service, name).iter().flat_map(|found| &found.options)
            {
                for option in options.keys() {
                    let other = seen.insert((section, option), name);
                    if let Some(other) = other.filter(|_| name.starts_with(CONTRIBUTED)) {
                        problems
                            .push(format!("{part}: [{section}] {option} stands in {other} and in {name}"));
                    }
                }
            }
        }
    }
    problems
}

/// Names that must be one of a kind in a cloud, and stand twice.
fn twice(catalog: &CloudCatalog) -> Vec<String> {
    let mut seen: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for service in catalog.services() {
        let components = service.components.iter().map(|component| ("component", component.name.as_str()));
        let jobs = service.jobs.iter().map(|job| ("job", job.name.as_str()));
        let apis =
            service.apis.iter().flat_map(|api| [("API", api.name.as_str()), ("path", api.path.as_str())]);
        let users = service.identity.user_names().map(|name| ("user", name));
        let databases = service.databases.iter().map(|name| ("database", name.as_str()));
        let secrets = service.secrets.keys().map(|name| ("secret", name.as_str()));
        for thing in components.chain(jobs).chain(apis).chain(users).chain(databases).chain(secrets) {
            if let Some(other) = seen.insert(thing, &service.name).filter(|other| *other != service.name) {
                let (kind, name) = thing;
                problems.push(format!("{}: the {kind} {name} is {other}'s already", service.name));
            }
        }
    }
    problems
}

/// A service's name and file.
fn service_file(file: &str, yaml: &str) -> Result<(String, Source), LoadError> {
    let source = Source::read(file, yaml).context(ParseSnafu { file })?;
    match source.text("name") {
        Some(name) => Ok((name.to_owned(), source)),
        None => InconsistentSnafu { problems: vec![format!("{file}: a service without a name")] }.fail(),
    }
}

fn contents(file: &'static File<'static>) -> &'static str {
    file.contents_utf8().unwrap_or_default()
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
            for volume in &component.pod.volumes {
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
    role: {process: {program: {command: ['x', '${url:nowhere}']}}}
    resources: {cpu_millis: 1, memory_mib: 1, memory_limit_mib: 1}
";
        let error = Catalog::built_in().expect("consistent").with_service(yaml).expect_err("inconsistent");
        let text = error.to_string();
        assert!(text.contains("nobody") && text.contains("nowhere"), "{text}");
    }

    /// What the agent does not understand is told with file and line, also where only some clouds would meet it.
    #[test]
    fn a_wrong_role_or_check_is_told_with_its_line() {
        let yaml = "
name: made-up
title: Nothing
components:
  - name: made-up
    kind: deployment
    image: base
    role:
      process:
        program:
          command: [sleep]
    health:
      ready:
        - {name: a, probe: {tcp: {port: 1}}}
    resources: {cpu_millis: 1, memory_mib: 1, memory_limit_mib: 1}
";
        let wrong = |from: &str, to: &str| {
            assert!(yaml.contains(from));
            let with = Catalog::built_in().expect("consistent").with_service(&yaml.replace(from, to));
            let error = with.expect_err(to);
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", source.unwrap_or_default())
        };
        for (from, to, line, names) in [
            ("command: [sleep]", "comand: [sleep]", 11, "comand"),
            ("command: [sleep]", "user: x", 10, "missing field `command`"),
            ("process:\n", "proces:\n", 9, "proces"),
            ("process:\n", "wsgi:\n", 10, "program"),
            ("{port: 1}", "{prt: 1}", 14, "prt"),
            ("{port: 1}", "{port: many}", 14, "many"),
            ("ready:", "redy:", 13, "redy"),
            (
                "- {name: a, probe: {tcp: {port: 1}}}",
                "- {when: {storage: ceph}, name: a}",
                14,
                "missing field `probe`",
            ),
        ] {
            let text = wrong(from, to);
            assert!(text.contains(&format!("line {line} ")) && text.contains(names), "{text}");
        }
    }
}
