//! Values of catalog data: scalars, lists and trees whose strings may hold references to other parts of a cloud.
//!
//! A reference is written `${kind:name}` inside a string, for instance `${database:nova_api}` or
//! `${url:keystone}/v3`. References are parsed when the catalog is loaded, so that a misspelt kind is an error there
//! and not a strange line in a configuration file; the planner gives each its text.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// What a `${…}` in a catalog string stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// `${database:NAME}`: the SQLAlchemy URL of that database (`self` for the service's own first one), with the
    /// service's own account. Secret.
    Database(String),
    /// `${messaging}`: the oslo.messaging `transport_url` of the service's own vhost. Secret.
    Messaging,
    /// `${url:SERVICE}`: the internal base URL of that service's API, without a trailing slash.
    Url(String),
    /// `${public:SERVICE}`: the public base URL of that service's API, without a trailing slash.
    Public(String),
    /// `${publish:KEY}`: the public base URL of something published on its own port (`horizon`, `console`).
    Publish(String),
    /// `${password:SERVICE}`: the Keystone password of that service's user (`self` for the own one). Secret.
    Password(String),
    /// `${user:SERVICE}`: the name of that service's user in Keystone (`self` for the own one).
    User(String),
    /// `${secret:NAME}` or `${secret:NAME/KEY}`: the generated secret of that name, declared in some service's `secrets`.
    /// Secret.
    Secret(SecretKey),
    /// `${host:COMPONENT}`: the DNS name of that component's Service.
    Host(String),
    /// `${members:COMPONENT}`: comma-separated `host:port` of every replica, by their stable names.
    Members(String),
    /// `${hosts:COMPONENT}`: comma-separated stable names of every replica, without ports.
    Hosts(String),
    /// `${ovsdb:COMPONENT}` or `${ovsdb:COMPONENT/PORT}`: comma-separated `ssl:host:port` of every replica, as OVSDB clients
    /// take them; the first port where none is named.
    Ovsdb(String),
    /// `${replicas:COMPONENT}`: how many replicas it has.
    ReplicaCount(String),
    /// `${workers}`: worker processes of this component, from its processor limit.
    Workers,
    /// `${memory}`: this component's memory limit in MiB.
    MemoryMib,
    /// `${memory-bytes}`: this component's memory limit in bytes, as a number.
    MemoryBytes,
    /// `${messaging-accounts}`: the list of accounts of all services with messaging, with passwords and vhosts, as
    /// the agent's role `rabbitmq` takes it. Secret.
    MessagingAccounts,
    /// `${new-cloud}`: whether this cloud's volumes may be empty because it never ran before, as a truth value.
    NewCloud,
    /// `${domains}`: the domains that the declared content has users in, the default one first, as a list of pairs: what a
    /// person who logs in chooses, and how it is shown.
    Domains,
    /// `${several-domains}`: whether there is more than one of them, as a truth value.
    SeveralDomains,
    /// `${network:FACT}`: something that the resource says of the networks.
    Network(NetworkFact),
    /// `${python}`: the version of Python in the release's image, such as `3.13`.
    Python,
    /// `${service}`: the name of the service.
    Service,
    /// `${component}`: the name of the component.
    Component,
    /// `${namespace}`: the cloud's namespace.
    Namespace,
    /// `${cloud}`: the cloud's name.
    Cloud,
    /// `${region}`: the region's name.
    Region,
    /// `${release}`: the release's name.
    Release,
    /// `${node.name}`: the name of the node that the pod runs on; expanded by the agent.
    NodeName,
    /// `${node.ip}`: the address of the node that the pod runs on; expanded by the agent.
    NodeIp,
    /// `${pod.name}`: the name of the pod; expanded by the agent.
    PodName,
}

/// A generated secret and a key of it, written `NAME` or `NAME/KEY`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(from = "String")]
pub struct SecretKey {
    /// The secret, as some service's `secrets` has it.
    pub name: String,
    /// The key; `password` where none is written.
    pub key: String,
}

impl<T: Into<String>> From<T> for SecretKey {
    fn from(text: T) -> Self {
        let text = text.into();
        let (name, key) = text.split_once('/').unwrap_or((&text, "password"));
        Self { name: name.to_owned(), key: key.to_owned() }
    }
}

/// What a cloud's configuration has to know of the networks that it is connected to. Sizes are of the largest packet, in
/// bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkFact {
    /// `largest-mtu`: the largest of all of them.
    LargestMtu,
    /// `tunnel-mtu`: of the network that carries the tunnels.
    TunnelMtu,
    /// `physical-mtus`: of each physical network, as `NAME:BYTES` with commas between.
    PhysicalMtus,
    /// `name-servers`: the addresses that guests ask for names, with commas between.
    NameServers,
}

impl NetworkFact {
    fn parse(name: &str) -> Result<Self, String> {
        match name {
            "largest-mtu" => Ok(Self::LargestMtu),
            "tunnel-mtu" => Ok(Self::TunnelMtu),
            "physical-mtus" => Ok(Self::PhysicalMtus),
            "name-servers" => Ok(Self::NameServers),
            _ => Err(format!("unknown fact of networks {name}")),
        }
    }
}

/// A part of a string.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// Plain text.
    Text(String),
    /// A reference to be resolved.
    Reference(Reference),
}

/// One scalar: a string with references, a number or a truth value.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// Text, perhaps with references.
    Text(Vec<Segment>),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// True or false.
    Bool(bool),
}

/// The value of one option: a scalar or a list of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// One value.
    One(Scalar),
    /// Several values.
    Many(Vec<Scalar>),
}

/// Nested data, such as an agent's role or a Python settings file.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// Nothing.
    Null,
    /// A leaf.
    Leaf(Scalar),
    /// A sequence.
    List(Vec<Tree>),
    /// A mapping.
    Map(BTreeMap<String, Tree>),
}

impl Reference {
    fn parse(text: &str) -> Result<Self, String> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let named = |make: fn(String) -> Self| {
            if name.is_empty() {
                Err(format!("the reference ${{{kind}:…}} lacks a name"))
            } else {
                Ok(make(name.to_owned()))
            }
        };
        match kind {
            "database" => named(Self::Database),
            "url" => named(Self::Url),
            "public" => named(Self::Public),
            "publish" => named(Self::Publish),
            "password" => named(Self::Password),
            "user" => named(Self::User),
            "secret" if name.is_empty() => Err("the reference ${secret:…} lacks a name".into()),
            "secret" => Ok(Self::Secret(name.into())),
            "host" => named(Self::Host),
            "members" => named(Self::Members),
            "hosts" => named(Self::Hosts),
            "ovsdb" => named(Self::Ovsdb),
            "replicas" => named(Self::ReplicaCount),
            "network" => NetworkFact::parse(name).map(Self::Network),
            "messaging" => Ok(Self::Messaging),
            "workers" => Ok(Self::Workers),
            "memory" => Ok(Self::MemoryMib),
            "memory-bytes" => Ok(Self::MemoryBytes),
            "messaging-accounts" => Ok(Self::MessagingAccounts),
            "new-cloud" => Ok(Self::NewCloud),
            "domains" => Ok(Self::Domains),
            "several-domains" => Ok(Self::SeveralDomains),
            "python" => Ok(Self::Python),
            "service" => Ok(Self::Service),
            "component" => Ok(Self::Component),
            "namespace" => Ok(Self::Namespace),
            "cloud" => Ok(Self::Cloud),
            "region" => Ok(Self::Region),
            "release" => Ok(Self::Release),
            "node.name" => Ok(Self::NodeName),
            "node.ip" => Ok(Self::NodeIp),
            "pod.name" => Ok(Self::PodName),
            _ => Err(format!("unknown reference ${{{text}}}")),
        }
    }
}

/// Split a string into text and references.
pub(crate) fn parse_text(text: &str) -> Result<Vec<Segment>, String> {
    let mut segments = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if start > 0 {
            segments.push(Segment::Text(rest[..start].to_owned()));
        }
        let inner = &rest[start + 2..];
        let end = inner.find('}').ok_or_else(|| format!("unclosed ${{ in {text:?}"))?;
        segments.push(Segment::Reference(Reference::parse(&inner[..end])?));
        rest = &inner[end + 1..];
    }
    if !rest.is_empty() || segments.is_empty() {
        segments.push(Segment::Text(rest.to_owned()));
    }
    Ok(segments)
}

impl Scalar {
    /// A scalar of plain text, without references.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::Text(vec![Segment::Text(text.into())])
    }

    /// The references in it.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        let segments: &[Segment] = if let Self::Text(segments) = self { segments } else { &[] };
        segments.iter().filter_map(|segment| match segment {
            Segment::Reference(reference) => Some(reference),
            Segment::Text(_) => None,
        })
    }
}

impl Value {
    /// The scalars in it.
    pub fn scalars(&self) -> &[Scalar] {
        match self {
            Self::One(scalar) => std::slice::from_ref(scalar),
            Self::Many(scalars) => scalars,
        }
    }
}

impl Tree {
    /// Visit every scalar in it.
    pub fn visit(&self, see: &mut dyn FnMut(&Scalar)) {
        match self {
            Self::Null => {}
            Self::Leaf(scalar) => see(scalar),
            Self::List(items) => items.iter().for_each(|item| item.visit(see)),
            Self::Map(items) => items.values().for_each(|item| item.visit(see)),
        }
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a scalar, a list or a mapping")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf(Scalar::Bool(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf(Scalar::Integer(value)))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Tree, E> {
        i64::try_from(value).map(|value| Tree::Leaf(Scalar::Integer(value))).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf(Scalar::Float(value)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Tree, E> {
        parse_text(value).map(|segments| Tree::Leaf(Scalar::Text(segments))).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = BTreeMap::new();
        while let Some((key, item)) = access.next_entry::<String, Tree>()? {
            if items.insert(key.clone(), item).is_some() {
                return Err(de::Error::custom(format!("the key {key} stands twice")));
            }
        }
        Ok(Tree::Map(items))
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Tree::deserialize(deserializer)? {
            Tree::Leaf(scalar) => Ok(Self::One(scalar)),
            Tree::List(items) => items
                .into_iter()
                .map(|item| match item {
                    Tree::Leaf(scalar) => Ok(scalar),
                    _ => Err(de::Error::custom("a list of an option holds scalars only")),
                })
                .collect::<Result<_, _>>()
                .map(Self::Many),
            Tree::Null | Tree::Map(_) => {
                Err(de::Error::custom("an option takes a scalar or a list of scalars"))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Tree::deserialize(deserializer)? {
            Tree::Leaf(scalar) => Ok(scalar),
            _ => Err(de::Error::custom("a scalar is expected here")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_splits_into_references() {
        assert_eq!(
            parse_text("${url:keystone}/v3").expect("parses"),
            [Segment::Reference(Reference::Url("keystone".into())), Segment::Text("/v3".into())]
        );
        assert_eq!(parse_text("").expect("parses"), [Segment::Text(String::new())]);
        assert_eq!(parse_text("a $b").expect("parses"), [Segment::Text("a $b".into())]);
    }

    #[test]
    fn a_secret_has_keys() {
        let key = |name: &str, key: &str| SecretKey { name: name.into(), key: key.into() };
        for (text, meant) in
            [("${secret:a}", key("a", "password")), ("${secret:a/tls.crt}", key("a", "tls.crt"))]
        {
            assert_eq!(parse_text(text).expect("parses"), [Segment::Reference(Reference::Secret(meant))]);
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert!(parse_text("${ulr:keystone}").expect_err("unknown").contains("ulr"));
        assert!(parse_text("${url}").expect_err("no name").contains("lacks a name"));
        assert!(parse_text("${url:keystone").expect_err("open").contains("unclosed"));
    }
}
