//! The catalog of one cloud: what is left of the data once every condition in it is evaluated.

use std::collections::{BTreeMap, BTreeSet};

use oaas_feedback::{Explain, Kind};
use snafu::Snafu;

use crate::component::Component;
use crate::names::{Names, callers, uses};
use crate::place::{Step, complete, parse};
use crate::release::Release;
use crate::service::{Contribution, Fragment, Service};
use crate::source::{Source, Wrong};
use crate::template::Misfit;
use crate::value::Value;
use crate::when::{Circumstances, StorageKind};

/// What one cloud is, as far as the catalog depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Its release.
    pub release: &'a str,
    /// Its profile.
    pub profile: &'a str,
    /// Services that it runs, or does not, whatever the profile says.
    pub switched: BTreeMap<&'a str, bool>,
    /// Where images, volumes and disks are kept.
    pub storage: StorageKind,
}

/// Why there is no catalog for a cloud.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
pub enum SelectError {
    /// There is no such release.
    #[snafu(display("the catalog has no release {release}"))]
    NoRelease {
        /// The release.
        release: String,
    },
    /// What the cloud runs needs what it does not run.
    #[snafu(display("{}", missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))]
    Missing {
        /// What is missing, by service.
        missing: Vec<Missing>,
    },
    /// A file of the catalog is not what it should be, in a way that only this cloud meets.
    #[snafu(display("the catalog is wrong for this cloud"))]
    Wrong {
        /// Where in which file, and what is wrong there.
        source: Wrong,
    },
}

impl Explain for SelectError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoRelease { .. } | Self::Missing { .. } => Kind::Input,
            Self::Wrong { .. } => Kind::Failed,
        }
    }
}

/// A service that is off, though others need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The service that is off.
    pub service: String,
    /// The services that need it.
    pub needed_by: BTreeSet<String>,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.needed_by.iter().map(String::as_str).collect();
        let verb = if names.len() == 1 { "needs" } else { "need" };
        write!(out, "{} is off, but {} {verb} it", self.service, names.join(", "))
    }
}

/// All that the catalog says of one cloud, without conditions.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudCatalog {
    release: Release,
    services: BTreeMap<String, Service>,
    shared: BTreeMap<String, Fragment>,
}

impl CloudCatalog {
    /// The release.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// The services, in the order of their names.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// A service, by its name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(name)
    }

    /// A component and its service, by the component's name.
    pub fn component(&self, name: &str) -> Option<(&Service, &Component)> {
        self.services.values().find_map(|service| {
            service.components.iter().find(|c| c.name == name).map(|component| (service, component))
        })
    }

    /// The fragment that a component or job of a service means by a name: `common/NAME` is shared by all services.
    pub fn fragment<'a>(&'a self, service: &'a Service, name: &str) -> Option<&'a Fragment> {
        match name.strip_prefix("common/") {
            Some(name) => self.shared.get(name),
            None => service.fragments.get(name),
        }
    }

    /// Who connects to each component: components and jobs, by their names.
    pub fn callers(&self) -> BTreeMap<String, BTreeSet<String>> {
        callers(&self.services, &self.shared)
    }

    /// Evaluate every condition of the files of these services.
    pub(crate) fn evaluate<'a>(
        shared: &Source,
        services: impl Iterator<Item = (&'a String, &'a Source)>,
        of: &Circumstances<'_>,
    ) -> Result<Self, Wrong> {
        let mut shared: BTreeMap<String, Fragment> = shared.select(of)?.unwrap_or_default();
        let itself = shared.remove(ITSELF).and_then(|mut own| own.options.remove(ITSELF)).unwrap_or_default();
        for fragment in shared.values_mut() {
            speak_as_itself(fragment, &itself);
        }
        let mut all = BTreeMap::new();
        for (name, source) in services {
            let Some(mut service) = source.select::<Service>(of)? else { continue };
            // When the catalog is loaded; of a cloud, planning fills them in anyway.
            if let (None, Some((steps, misfit))) = (of.cloud, misfit(&service)) {
                return Err(source.wrong(of, &steps, misfit.what));
            }
            for fragment in service.fragments.values_mut() {
                speak_as_itself(fragment, &itself);
            }
            only_what_is_there(&mut service, &shared);
            for api in service.apis.iter_mut().filter(|api| api.name.is_empty()) {
                api.name.clone_from(name);
            }
            all.insert(name.clone(), service);
        }
        contribute(&mut all);
        Ok(Self { release: of.release.clone(), services: all, shared })
    }

    /// What its services need and it does not have; `possible` is what a cloud of its release may have.
    pub(crate) fn missing(&self, possible: &Self) -> Vec<Missing> {
        let there = Names::of(self.services());
        let could_be = Names::of(possible.services());
        let mut missing: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for service in self.services() {
            for (_, thing) in uses(service, &self.shared) {
                if there.owner(&thing).is_none() {
                    let owner = could_be.owner(&thing).unwrap_or("a service of another release");
                    missing.entry(owner).or_default().insert(service.name.clone());
                }
            }
        }
        missing
            .into_iter()
            .map(|(service, needed_by)| Missing { service: service.to_owned(), needed_by })
            .collect()
    }

    /// The fragments that all services share.
    pub(crate) fn shared(&self) -> &BTreeMap<String, Fragment> {
        &self.shared
    }
}

/// The first role or list of checks that the agent would not understand, and where it stands.
fn misfit(service: &Service) -> Option<(Vec<Step>, Misfit)> {
    let at = |list: &str, index: usize, field: &str, misfit: Misfit| {
        let path = parse(&format!("{list}[{index}].{field}.{}", misfit.place));
        (complete(path, &misfit.what), misfit)
    };
    let components = service.components.iter().enumerate().find_map(|(index, component)| {
        let role = component.pod.role.check().err().map(|misfit| at("components", index, "role", misfit));
        role.or_else(|| {
            component.health.lists().find_map(|(name, list)| {
                let misfit = list.check().err()?;
                Some(at("components", index, &format!("health.{name}"), misfit))
            })
        })
    });
    components.or_else(|| {
        let mut jobs = service.jobs.iter().enumerate();
        jobs.find_map(|(index, job)| Some(at("jobs", index, "role", job.pod.role.check().err()?)))
    })
}

/// The fragment of all services, and the section in it, that says as whom a service speaks to another.
const ITSELF: &str = "itself";

/// Put what all such sections have into those of a fragment; what stands there already wins.
fn speak_as_itself(fragment: &mut Fragment, itself: &BTreeMap<String, Value>) {
    for section in &fragment.as_itself {
        let into = fragment.options.entry(section.clone()).or_default();
        for (option, value) in itself {
            into.entry(option.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// What the names of contributed fragments begin with.
pub(crate) const CONTRIBUTED: &str = "from/";

/// Give each service what the others add to its main file, as one more fragment at the end.
fn contribute(services: &mut BTreeMap<String, Service>) {
    let given: Vec<(String, Vec<Contribution>)> =
        services.iter().map(|(name, service)| (name.clone(), service.contributes.clone())).collect();
    for (giver, contributions) in given {
        for (number, contribution) in contributions.into_iter().enumerate() {
            let fragment = format!("{CONTRIBUTED}{giver}/{number}");
            for receiver in &contribution.to {
                let Some(service) = services.get_mut(receiver) else { continue };
                let named = |name: &String| contribution.only.contains(name);
                let every = contribution.only.is_empty();
                let components = service.components.iter_mut().map(|c| (&c.name, &mut c.pod.config, every));
                let jobs = service.jobs.iter_mut().map(|job| (&job.name, &mut job.pod.config, false));
                for (name, config, every) in components.chain(jobs) {
                    if named(name) || every && !config.is_empty() {
                        config.push(fragment.clone());
                    }
                }
                let options = contribution.options.clone();
                service.fragments.insert(fragment.clone(), Fragment { options, ..Fragment::default() });
            }
        }
    }
}

/// Components and jobs name fragments and files that are not there for every cloud: they leave those out.
fn only_what_is_there(service: &mut Service, shared: &BTreeMap<String, Fragment>) {
    let (fragments, files) = (&service.fragments, &service.files);
    let components = service.components.iter_mut().map(|c| (&mut c.pod.config, &mut c.pod.files));
    let jobs = service.jobs.iter_mut().map(|job| (&mut job.pod.config, &mut job.pod.files));
    for (config, further) in components.chain(jobs) {
        config.retain(|name| match name.strip_prefix("common/") {
            Some(name) => shared.contains_key(name),
            None => fragments.contains_key(name),
        });
        further.retain(|name| files.contains_key(name));
    }
}
