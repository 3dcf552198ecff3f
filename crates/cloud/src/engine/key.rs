//! Names of things that are kept.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// What sort of thing is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A region of the catalog.
    Region,
    /// A service of the catalog.
    Service,
    /// An endpoint of the catalog.
    Endpoint,
    /// A domain.
    Domain,
    /// A role.
    Role,
    /// A project.
    Project,
    /// A user.
    User,
    /// That a user's password is the declared one.
    Password,
    /// That a user has a role somewhere.
    RoleAssignment,
    /// Nova's limits of a project.
    ComputeQuota,
    /// Neutron's limits of a project.
    NetworkQuota,
    /// A flavor.
    Flavor,
    /// A network.
    Network,
    /// A subnet.
    Subnet,
    /// A router.
    Router,
    /// A router's leg in a subnet.
    RouterInterface,
    /// A security group.
    SecurityGroup,
    /// A rule of a security group.
    SecurityGroupRule,
    /// A keypair.
    Keypair,
    /// An image.
    Image,
    /// A server.
    Server,
    /// A server's port on a network.
    Port,
    /// A server's floating IP.
    FloatingIp,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Region => "region",
            Self::Service => "service",
            Self::Endpoint => "endpoint",
            Self::Domain => "domain",
            Self::Role => "role",
            Self::Project => "project",
            Self::User => "user",
            Self::Password => "password of",
            Self::RoleAssignment => "role assignment",
            Self::ComputeQuota => "compute quota of",
            Self::NetworkQuota => "network quota of",
            Self::Flavor => "flavor",
            Self::Network => "network",
            Self::Subnet => "subnet",
            Self::Router => "router",
            Self::RouterInterface => "router interface",
            Self::SecurityGroup => "security group",
            Self::SecurityGroupRule => "security group rule",
            Self::Keypair => "keypair",
            Self::Image => "image",
            Self::Server => "server",
            Self::Port => "port of",
            Self::FloatingIp => "floating IP of",
        })
    }
}

/// Names one thing: its kind and where it is, outermost first, such as subnet `demo-net`/`demo-subnet`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What sort of thing.
    pub kind: Kind,
    /// Its name and those of what it is in, outermost first.
    pub path: Vec<String>,
}

impl Key {
    /// Name a thing.
    pub fn new<T: Into<String>>(kind: Kind, path: impl IntoIterator<Item = T>) -> Self {
        Self { kind, path: path.into_iter().map(Into::into).collect() }
    }

    /// The path as people write it.
    pub fn name(&self) -> String {
        self.path.join("/")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind, self.name())
    }
}

/// Ids of things in the cloud, as far as they are known.
pub type Ids = BTreeMap<Key, String>;
