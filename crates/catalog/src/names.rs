//! What the parts of a catalog refer to, and whether that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::component::Expose;
use crate::pod::{Need, Pod};
use crate::role::Role;
use crate::service::{Fragment, Provides, Service};
use crate::value::{Reference, Scalar, Tree, Value};

/// Something that a service refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    Component(String),
    /// A component's port, by its name.
    Port(String, String),
    Job(String),
    Service(String),
    Api(String),
    /// A user in the identity service that a service acts as.
    User(String),
    Database(String),
    Secret(String),
    /// Something published on a port of its own, by its key.
    Published(String),
    /// What only one service of a cloud is, such as the database.
    The(Only),
}

/// What only one service of a cloud is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Only {
    Database,
    Messaging,
    Identity,
    PublicEndpoint,
}

impl Only {
    fn of(provides: &Provides) -> Self {
        match provides {
            Provides::Database { .. } => Self::Database,
            Provides::Messaging { .. } => Self::Messaging,
            Provides::Identity { .. } => Self::Identity,
            Provides::PublicEndpoint { .. } => Self::PublicEndpoint,
        }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Self::Component(name) => ("the component", name.as_str()),
            Self::Port(component, name) => return write!(out, "the port {name} of {component}"),
            Self::Job(name) => ("the job", name.as_str()),
            Self::Service(name) => ("the service", name.as_str()),
            Self::Api(name) => ("the API", name.as_str()),
            Self::User(name) => ("the user", name.as_str()),
            Self::Database(name) => ("the database", name.as_str()),
            Self::Secret(name) => ("the secret", name.as_str()),
            Self::Published(name) => ("what is published as", name.as_str()),
            Self::The(Only::Database) => ("a service that is the", "database"),
            Self::The(Only::Messaging) => ("a service that is the", "message bus"),
            Self::The(Only::Identity) => ("a service that is the", "identity service"),
            Self::The(Only::PublicEndpoint) => ("a service that is the", "public endpoint"),
        };
        write!(out, "{kind} {name}")
    }
}

/// What there is, and which service has it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names<'a>(BTreeMap<Thing, &'a str>);

impl<'a> Names<'a> {
    pub(crate) fn of(services: impl Iterator<Item = &'a Service>) -> Self {
        let mut names = BTreeMap::new();
        for service in services {
            let mut add = |thing: Thing| names.insert(thing, service.name.as_str());
            add(Thing::Service(service.name.clone()));
            for component in &service.components {
                add(Thing::Component(component.name.clone()));
                for port in &component.ports {
                    add(Thing::Port(component.name.clone(), port.name.clone()));
                    if let Expose::NodePort(published) = &port.expose {
                        add(Thing::Published(published.key.clone()));
                    }
                }
            }
            for job in &service.jobs {
                add(Thing::Job(job.name.clone()));
            }
            for database in &service.databases {
                add(Thing::Database(database.clone()));
            }
            for secret in service.secrets.keys() {
                add(Thing::Secret(secret.clone()));
            }
            for api in &service.apis {
                add(Thing::Api(api.name.clone()));
            }
            for user in service.identity.user_names() {
                add(Thing::User(user.to_owned()));
            }
            if let Some(provides) = &service.provides {
                add(Thing::The(Only::of(provides)));
            }
        }
        Self(names)
    }

    /// Which service has it; nothing where none does.
    pub(crate) fn owner(&self, thing: &Thing) -> Option<&'a str> {
        self.0.get(thing).copied()
    }
}

/// Who connects to each component, components and jobs alike, as far as services refer to what they need: by name, by an API, or as
/// what only one service of a cloud is.
pub(crate) fn callers(
    services: &BTreeMap<String, Service>,
    shared: &BTreeMap<String, Fragment>,
) -> BTreeMap<String, BTreeSet<String>> {
    let the = |only: Only| {
        let provides = services.values().filter_map(|service| service.provides.as_ref());
        provides.filter(|provides| Only::of(provides) == only).map(Provides::component).next()
    };
    let api = |name: &str| {
        let apis = services.values().flat_map(|service| &service.apis);
        apis.filter(|api| api.name == name).map(|api| api.component.as_str()).next()
    };
    let mut callers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for service in services.values() {
        let components = service.components.iter().map(|component| &component.name);
        // What the service as a whole refers to, its parts refer to as well where they use it.
        let parts: BTreeSet<&String> = components.chain(service.jobs.iter().map(|job| &job.name)).collect();
        for (place, thing) in uses(service, shared).into_iter().filter(|(place, _)| parts.contains(place)) {
            let called = match &thing {
                Thing::Component(name) | Thing::Port(name, _) => Some(name.as_str()),
                Thing::Api(name) => api(name),
                Thing::Database(_) => the(Only::Database),
                Thing::The(only) => the(*only),
                Thing::Job(_)
                | Thing::Service(_)
                | Thing::User(_)
                | Thing::Secret(_)
                | Thing::Published(_) => None,
            };
            if let Some(called) = called {
                callers.entry(called.to_owned()).or_default().insert(place);
            }
        }
    }
    callers
}

/// Everything that a service refers to, with the place where it does. `shared` are the fragments of all services.
pub(crate) fn uses(service: &Service, shared: &BTreeMap<String, Fragment>) -> BTreeSet<(String, Thing)> {
    let name = service.name.clone();
    let has_database = !service.databases.is_empty();
    let mut all = Uses { all: BTreeSet::new(), place: name.clone(), service: name, has_database };
    if !service.databases.is_empty() {
        all.thing(Thing::The(Only::Database));
    }
    if service.messaging {
        all.thing(Thing::The(Only::Messaging));
    }
    if !(service.identity.is_empty() && service.apis.is_empty()) {
        all.thing(Thing::The(Only::Identity));
    }
    if !service.apis.is_empty() {
        all.thing(Thing::The(Only::PublicEndpoint));
    }
    let fragments = |all: &mut Uses, names: &[String]| {
        for name in names {
            let found = match name.strip_prefix("common/") {
                Some(name) => shared.get(name),
                None => service.fragments.get(name),
            };
            if let Some(fragment) = found {
                all.fragment(fragment);
            }
        }
    };
    let files = |all: &mut Uses, names: &[String]| {
        names.iter().filter_map(|name| service.files.get(name)).for_each(|file| all.tree(&file.content));
    };
    let pod = |all: &mut Uses, pod: &Pod| {
        fragments(all, &pod.config);
        files(all, &pod.files);
        all.role(&pod.role);
        pod.env.values().flat_map(Scalar::references).for_each(|reference| all.reference(reference));
        pod.needs.iter().for_each(|need| all.need(need));
        let secrets = pod.secret_mounts.keys().chain(pod.secret_env.values().map(|secret| &secret.name));
        secrets.for_each(|secret| all.thing(Thing::Secret(secret.clone())));
    };
    for component in &service.components {
        all.place.clone_from(&component.name);
        pod(&mut all, &component.pod);
        component.health.lists().for_each(|(_, checks)| all.tree(checks.tree()));
        if let Some(to) = component.health.progress.as_ref().and_then(|progress| progress.to.clone()) {
            all.thing(Thing::Component(to));
        }
    }
    for job in &service.jobs {
        all.place.clone_from(&job.name);
        pod(&mut all, &job.pod);
    }
    all.all
}

struct Uses {
    all: BTreeSet<(String, Thing)>,
    place: String,
    service: String,
    has_database: bool,
}

impl Uses {
    fn thing(&mut self, thing: Thing) {
        self.all.insert((self.place.clone(), thing));
    }

    fn need(&mut self, need: &Need) {
        self.thing(match need.clone() {
            Need::Ready(name) => Thing::Component(name),
            Need::Job(name) => Thing::Job(name),
            Need::Schema(name) | Need::Registered(name) => Thing::Service(name),
        });
    }

    fn reference(&mut self, reference: &Reference) {
        let thing = match reference.clone() {
            Reference::Database(name) if name == "self" && self.has_database => Thing::The(Only::Database),
            Reference::Database(name) => Thing::Database(name),
            Reference::Url(name) => Thing::Api(name),
            Reference::Public(name) => {
                self.thing(Thing::The(Only::PublicEndpoint));
                Thing::Api(name)
            }
            Reference::Password(name) | Reference::User(name) if name == "self" => {
                Thing::User(self.service.clone())
            }
            Reference::Password(name) | Reference::User(name) => Thing::User(name),
            Reference::Secret(secret) => Thing::Secret(secret.name),
            Reference::Publish(key) => Thing::Published(key),
            Reference::Host(name)
            | Reference::Members(name)
            | Reference::Hosts(name)
            | Reference::ReplicaCount(name) => Thing::Component(name),
            Reference::Ovsdb(name) => match name.split_once('/') {
                Some((component, port)) => Thing::Port(component.to_owned(), port.to_owned()),
                None => Thing::Component(name),
            },
            Reference::Messaging => Thing::The(Only::Messaging),
            _ => return,
        };
        self.thing(thing);
    }

    fn role(&mut self, role: &Role) {
        role.visit(&mut |scalar| scalar.references().for_each(|reference| self.reference(reference)));
    }

    fn tree(&mut self, tree: &Tree) {
        tree.visit(&mut |scalar| scalar.references().for_each(|reference| self.reference(reference)));
    }

    fn fragment(&mut self, fragment: &Fragment) {
        let values = fragment.options.values().flat_map(BTreeMap::values);
        for scalar in values.flat_map(Value::scalars) {
            scalar.references().for_each(|reference| self.reference(reference));
        }
    }
}
