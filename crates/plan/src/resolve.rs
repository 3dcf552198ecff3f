//! What each reference of the catalog stands for in one cloud.

use std::collections::BTreeMap;

use oaas_catalog::{
    Api, CloudCatalog, Component, Expose, Fill, Job, Pod, Provides, Published, Reference, Release, Scalar,
    Service, Statistics, Tree, Value, WorkloadKind,
};
use serde_json::json;

use crate::content;
use crate::credentials::{account, database_base, messaging_base, user_account, user_base};
use crate::generation::{kept, newest, secret_of, used};
use crate::inputs::Inputs;
use crate::overrides::{replicas, resources};
use crate::publish::{PublishPlan, publish_plan};

/// The certificate of the cloud's authority in every pod.
pub(crate) const AUTHORITY_FILE: &str = "/etc/oaas/tls/ca.crt";

/// The directory where passwords are mounted, a file each.
pub(crate) const ACCOUNTS: &str = "/etc/oaas/accounts";

/// Everything that references are resolved against.
pub(crate) struct World<'a> {
    pub(crate) inputs: &'a Inputs<'a>,
    pub(crate) catalog: &'a CloudCatalog,
    pub(crate) release: &'a Release,
    pub(crate) services: Vec<&'a Service>,
    pub(crate) publish: PublishPlan,
    /// May the volumes of this cloud be empty because it never ran before?
    pub(crate) new_cloud: bool,
}

/// What the APIs are published through.
pub(crate) struct PublicEndpoint<'a> {
    /// As what it is published.
    pub(crate) published: &'a Published,
    /// The port that it listens on.
    pub(crate) port: u16,
    /// The file with its certificate and key.
    pub(crate) certificate: &'a str,
    /// The page with its statistics.
    pub(crate) statistics: &'a Statistics,
    /// The port of that page.
    pub(crate) statistics_port: u16,
}

/// For whom something is resolved: a component or a job.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) service: &'a Service,
    pub(crate) name: &'a str,
    pub(crate) pod: &'a Pod,
}

impl<'a> Place<'a> {
    pub(crate) fn component(service: &'a Service, component: &'a Component) -> Self {
        Self { service, name: &component.name, pod: &component.pod }
    }

    pub(crate) fn job(service: &'a Service, job: &'a Job) -> Self {
        Self { service, name: &job.name, pod: &job.pod }
    }
}

impl<'a> World<'a> {
    pub(crate) fn new(inputs: &'a Inputs<'a>, catalog: &'a CloudCatalog) -> Self {
        Self {
            inputs,
            catalog,
            release: catalog.release(),
            services: catalog.services().collect(),
            publish: publish_plan(inputs, catalog),
            new_cloud: !inputs.observed.database_lived,
        }
    }

    /// The same world once its cloud has run: what pods roll on must not change by that alone.
    pub(crate) fn once_it_lived(&self) -> Self {
        Self { services: self.services.clone(), publish: self.publish.clone(), new_cloud: false, ..*self }
    }

    /// A component and its service, by the component's name.
    pub(crate) fn component(&self, name: &str) -> Option<(&'a Service, &'a Component)> {
        self.catalog.component(name)
    }

    /// The DNS name of a Service.
    pub(crate) fn host(&self, service: &str) -> String {
        format!("{service}.{}.svc.{}", self.inputs.cloud.namespace, self.inputs.observed.cluster.domain)
    }

    /// The stable names of a component's replicas; its Service's name where replicas have none.
    pub(crate) fn hosts(&self, name: &str) -> Vec<String> {
        match self.component(name) {
            Some((service, component)) if component.kind == WorkloadKind::StatefulSet => {
                let (count, _) = replicas(self.inputs, service, component);
                (0..count).map(|ordinal| format!("{name}-{ordinal}.{}", self.host(name))).collect()
            }
            _ => vec![self.host(name)],
        }
    }

    /// Has it one member, and had it no others whose volumes are still there?
    pub(crate) fn has_one_member(&self, name: &str) -> bool {
        let volumes = self.inputs.observed.volumes.get(name).copied().unwrap_or(0);
        let one = |(service, component)| replicas(self.inputs, service, component).0 == 1;
        volumes <= 1 && self.component(name).is_some_and(one)
    }

    /// The first port of a component.
    pub(crate) fn port(&self, name: &str) -> u16 {
        self.component(name).and_then(|(_, component)| component.ports.first()).map_or(0, |port| port.port)
    }

    fn members(&self, name: &str) -> Vec<String> {
        let port = self.port(name);
        self.hosts(name).into_iter().map(|host| format!("{host}:{port}")).collect()
    }

    fn ovsdb(&self, name: &str) -> Vec<String> {
        let (name, port) = match name.split_once('/') {
            Some((name, port)) => (name, self.named_port(name, port)),
            None => (name, self.port(name)),
        };
        self.hosts(name).into_iter().map(|host| format!("ssl:{host}:{port}")).collect()
    }

    /// A port of a component by its name. Where one is referred to, it is there: the catalog refuses else.
    fn named_port(&self, component: &str, name: &str) -> u16 {
        let Some((_, component)) = self.component(component) else { return 0 };
        component.ports.iter().find(|port| port.name == name).map_or(0, |port| port.port)
    }

    /// The Secret of something that is generated, by its name without the generation.
    pub(crate) fn secret_name(&self, base: &str) -> String {
        secret_of(base, newest(self.inputs, base))
    }

    /// The value of a key of a Secret; empty until it exists.
    pub(crate) fn secret(&self, name: &str, key: &str) -> String {
        let found = self.inputs.credentials.get(name).and_then(|keys| keys.get(key));
        found.map(|value| value.expose().clone()).unwrap_or_default()
    }

    /// An API, by its name. Where one is referred to, there is one: the selection of the catalog refuses else.
    fn api(&self, name: &str) -> Option<&'a Api> {
        self.services.iter().flat_map(|service| &service.apis).find(|api| api.name == name)
    }

    /// The internal base URL of an API.
    pub(crate) fn internal_url(&self, api: &str) -> String {
        let Some(api) = self.api(api) else { return String::new() };
        let port = self
            .component(&api.component)
            .and_then(|(_, c)| c.ports.iter().find(|port| port.name == api.port));
        let scheme = if port.is_some_and(|port| port.tls) { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host(&api.component), port.map_or(0, |port| port.port))
    }

    /// The public base URL of an API.
    pub(crate) fn public_url(&self, api: &str) -> String {
        let base = self.public_endpoint().and_then(|endpoint| self.publish.url(&endpoint.published.key));
        self.api(api).map(|api| format!("{}{}", base.unwrap_or_default(), api.path)).unwrap_or_default()
    }

    /// What the APIs are published through.
    pub(crate) fn public_endpoint(&self) -> Option<PublicEndpoint<'a>> {
        let (name, port, certificate, statistics) = self.provider(|provides| match provides {
            Provides::PublicEndpoint { component, port, certificate, statistics } => {
                Some((component, port, certificate, statistics))
            }
            _ => None,
        })?;
        let (_, component) = self.component(name)?;
        let port = component.ports.iter().find(|found| found.name == *port)?;
        let Expose::NodePort(published) = &port.expose else { return None };
        let statistics_port = component.ports.iter().find(|found| found.name == statistics.port)?.port;
        Some(PublicEndpoint { published, port: port.port, certificate, statistics, statistics_port })
    }

    /// What the other services lean on.
    pub(crate) fn provider<T>(&self, pick: impl Fn(&'a Provides) -> Option<T>) -> Option<T> {
        self.services.iter().filter_map(|service| service.provides.as_ref()).find_map(pick)
    }

    /// The component that is the database.
    pub(crate) fn database_component(&self) -> Option<&'a str> {
        self.provider(|provides| match provides {
            Provides::Database { component, .. } => Some(component.as_str()),
            _ => None,
        })
    }

    /// Host and port of the database, with one writer at a time.
    pub(crate) fn database_server(&self) -> Option<(String, u16)> {
        let name = self.database_component()?;
        let (_, component) = self.component(name)?;
        let host = component.single_writer.as_deref().unwrap_or(name);
        Some((self.host(host), self.port(name)))
    }

    fn database_url(&self, database: &str) -> String {
        let owner =
            self.services.iter().find(|service| service.databases.iter().any(|name| name == database));
        let (Some(owner), Some((host, port))) = (owner, self.database_server()) else { return String::new() };
        let base = database_base(&owner.name);
        let password = self.secret(&self.secret_name(&base), "password");
        let user = account(&owner.name, newest(self.inputs, &base));
        format!(
            "mysql+pymysql://{user}:{}@{host}:{port}/{database}?charset=utf8mb4&ssl_ca=/etc/oaas/tls/ca.crt",
            percent_encode(&password)
        )
    }

    fn transport_url(&self, service: &str) -> String {
        let component = self.provider(|provides| match provides {
            Provides::Messaging { component } => Some(component.as_str()),
            _ => None,
        });
        let Some(component) = component else { return String::new() };
        let base = messaging_base(service);
        let generation = used(self.inputs, &base);
        let password = percent_encode(&self.secret(&secret_of(&base, generation), "password"));
        let user = account(service, generation);
        let members: Vec<String> =
            self.members(component).into_iter().map(|member| format!("{user}:{password}@{member}")).collect();
        format!("rabbit://{}/{service}", members.join(","))
    }

    /// The text of a reference that is a text.
    pub(crate) fn reference(&self, place: Place<'_>, reference: &Reference) -> String {
        let cloud = self.inputs.cloud;
        let limits = || resources(self.inputs, place.service, place.name, &place.pod.resources);
        match reference {
            Reference::Database(name) => {
                let own = place.service.databases.first().filter(|_| name == "self");
                self.database_url(own.unwrap_or(name))
            }
            Reference::Messaging => self.transport_url(&place.service.name),
            Reference::Url(name) => self.internal_url(name),
            Reference::Public(name) => self.public_url(name),
            Reference::Publish(key) => self.publish.url(key).unwrap_or_default(),
            Reference::Password(name) => {
                let name = if name == "self" { &place.service.name } else { name };
                self.secret(&self.secret_name(&user_base(name)), "password")
            }
            Reference::User(name) => {
                let name = if name == "self" { &place.service.name } else { name };
                user_account(name, newest(self.inputs, &user_base(name)))
            }
            Reference::Secret(secret) => self.secret(&self.secret_name(&secret.name), &secret.key),
            Reference::Host(name) => self.host(name),
            Reference::Members(name) => self.members(name).join(","),
            Reference::Hosts(name) => self.hosts(name).join(","),
            Reference::Ovsdb(name) => self.ovsdb(name).join(","),
            Reference::ReplicaCount(name) => self
                .component(name)
                .map_or(0, |(service, component)| replicas(self.inputs, service, component).0)
                .to_string(),
            Reference::Workers => limits().workers.to_string(),
            Reference::MemoryMib => limits().memory_limit_mib.to_string(),
            Reference::MemoryBytes => (u64::from(limits().memory_limit_mib) * 1_048_576).to_string(),
            Reference::NewCloud => self.new_cloud.to_string(),
            Reference::Domains => self.domains().join(","),
            Reference::SeveralDomains => (self.domains().len() > 1).to_string(),
            Reference::MessagingAccounts => String::new(),
            Reference::Network(fact) => crate::network::fact(self.inputs, *fact),
            Reference::Python => self.release.python.clone(),
            Reference::Service => place.service.name.clone(),
            Reference::Component => place.name.to_owned(),
            Reference::Namespace => cloud.namespace.clone(),
            Reference::Cloud => cloud.name.clone(),
            Reference::Region => REGION.to_owned(),
            Reference::Release => self.release.name.clone(),
            Reference::NodeName => "${node.name}".to_owned(),
            Reference::NodeIp => "${node.ip}".to_owned(),
            Reference::PodName => "${pod.name}".to_owned(),
        }
    }

    /// The domains that the declared content has users in.
    fn domains(&self) -> Vec<String> {
        let content = content::declared(self.inputs.spec);
        content::domains(&content).into_iter().map(str::to_owned).collect()
    }

    /// References as they are filled in for somebody.
    pub(crate) fn at<'w>(&'w self, place: Place<'w>) -> At<'w, 'a> {
        At { world: self, place }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self, place: Place<'_>, scalar: &Scalar) -> String {
        scalar.filled(&self.at(place))
    }

    /// The environment of a component or job.
    pub(crate) fn environment(&self, place: Place<'_>) -> BTreeMap<String, String> {
        place.pod.env.iter().map(|(name, value)| (name.clone(), self.text(place, value))).collect()
    }

    /// The texts of an option's value.
    pub(crate) fn texts(&self, place: Place<'_>, value: &Value) -> Vec<String> {
        value.scalars().iter().map(|scalar| self.text(place, scalar)).collect()
    }

    /// Nested data with every reference resolved.
    pub(crate) fn tree(&self, place: Place<'_>, tree: &Tree) -> serde_json::Value {
        tree.filled(&self.at(place))
    }

    fn messaging_accounts(&self) -> serde_json::Value {
        let of_service = |service: &&Service| {
            let base = messaging_base(&service.name);
            let one = |generation: u32| {
                json!({
                    "user": account(&service.name, generation),
                    "password": self.secret(&secret_of(&base, generation), "password"),
                    "vhost": service.name,
                })
            };
            kept(self.inputs, &base).into_iter().map(one).collect::<Vec<_>>()
        };
        self.services.iter().filter(|service| service.messaging).flat_map(of_service).collect()
    }

    /// The Secrets behind the names of `accounts`: name of the file → name of the Secret.
    pub(crate) fn account_secrets(&self, accounts: &[String]) -> BTreeMap<String, String> {
        accounts.iter().map(|name| (name.clone(), self.secret_name(name))).collect()
    }
}

/// The name of the region.
pub(crate) const REGION: &str = "RegionOne";

/// What references stand for in one place of a cloud.
pub(crate) struct At<'w, 'a> {
    world: &'w World<'a>,
    place: Place<'w>,
}

impl Fill for At<'_, '_> {
    fn text(&self, reference: &Reference) -> String {
        self.world.reference(self.place, reference)
    }

    fn value(&self, reference: &Reference) -> Option<serde_json::Value> {
        match reference {
            Reference::MessagingAccounts => Some(json!(self.world.messaging_accounts())),
            Reference::Domains => {
                Some(self.world.domains().into_iter().map(|name| json!([name, name])).collect())
            }
            Reference::Workers
            | Reference::MemoryMib
            | Reference::MemoryBytes
            | Reference::NewCloud
            | Reference::SeveralDomains
            | Reference::ReplicaCount(_) => serde_json::from_str(&self.text(reference)).ok(),
            _ => None,
        }
    }

    fn several(&self, reference: &Reference) -> Option<Vec<String>> {
        match reference {
            Reference::Members(name) => Some(self.world.members(name)),
            Reference::Hosts(name) => Some(self.world.hosts(name)),
            Reference::Ovsdb(name) => Some(self.world.ovsdb(name)),
            _ => None,
        }
    }
}

/// A password as a part of a URL (RFC 3986: all but unreserved characters are escaped).
fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_characters_in_passwords_are_escaped() {
        assert_eq!(percent_encode("a@b:c/d%é"), "a%40b%3Ac%2Fd%25%C3%A9");
    }
}
