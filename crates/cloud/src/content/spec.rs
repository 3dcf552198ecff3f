//! What a cloud can be declared to contain. Plain data: no I/O, no defaults that depend on the cloud.
//!
//! Projects and users are written `name`, which means the domain `Default`, or `domain/name`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that is declared to be in a cloud. What is listed here is created, and put back when it was
/// removed; the fields that are written here are kept as written; everything else is left alone. Taking a line
/// out stops OaaS from keeping the thing; it does not delete it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Content {
    /// Domains of Keystone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<Domain>,
    /// Roles beside those that Keystone brings (admin, manager, member, reader, service).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Projects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<Project>,
    /// Users.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<User>,
    /// Which user has which role where.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub role_assignments: Vec<RoleAssignment>,
    /// Limits of projects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quotas: Vec<Quota>,
    /// Sizes of servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flavors: Vec<Flavor>,
    /// Networks with their subnets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    /// Routers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routers: Vec<Router>,
    /// Security groups and rules; the group `default` of a project exists by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<SecurityGroup>,
    /// SSH public keys of users.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keypairs: Vec<Keypair>,
    /// Images of disks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// Servers (virtual machines). Created when missing; never rebuilt or deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<Server>,
}

/// The name of a project or user with its domain: `name` (domain `Default`) or `domain/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Qualified {
    /// The domain's name.
    pub domain: String,
    /// The name within the domain.
    pub name: String,
}

/// The domain that Keystone creates itself, with the id `default`.
pub const DEFAULT_DOMAIN: &str = "Default";

impl Qualified {
    /// A name in a domain.
    pub fn new(domain: impl Into<String>, name: impl Into<String>) -> Self {
        Self { domain: domain.into(), name: name.into() }
    }
}

impl From<String> for Qualified {
    fn from(text: String) -> Self {
        match text.split_once('/') {
            Some((domain, name)) => Self::new(domain, name),
            None => Self::new(DEFAULT_DOMAIN, text),
        }
    }
}

impl From<&str> for Qualified {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<Qualified> for String {
    fn from(name: Qualified) -> Self {
        name.to_string()
    }
}

impl fmt::Display for Qualified {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.domain == DEFAULT_DOMAIN {
            formatter.write_str(&self.name)
        } else {
            write!(formatter, "{}/{}", self.domain, self.name)
        }
    }
}

/// One key of a Kubernetes Secret in the cloud's namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret's name.
    pub name: String,
    /// The key in its data.
    pub key: String,
}

/// A domain of Keystone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Project {
    /// `name` or `domain/name`.
    pub name: Qualified,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// `name` or `domain/name`.
    pub name: Qualified,
    /// Where the password is; without it OaaS generates one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
    /// Whether a password that the user changed is set back.
    #[serde(default)]
    pub password_rule: PasswordRule,
    /// The project that a login without a project name gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_project: Option<Qualified>,
    /// Mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// What happens when the declared password no longer works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PasswordRule {
    /// The declared password is set again.
    #[default]
    Keep,
    /// The declared password was for the first login; the user's own change stays.
    Initial,
}

/// One role of one user on one project, one domain or the whole system: exactly one of the three.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleAssignment {
    /// `name` or `domain/name`.
    pub user: Qualified,
    /// The role's name.
    pub role: String,
    /// On this project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Qualified>,
    /// On this domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// On the system.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
}

/// Limits of one project. Only the limits that are written are kept; -1 means no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quota {
    /// `name` or `domain/name`.
    pub project: Qualified,
    /// Nova's: cores, instances, ram (MiB), `key_pairs`, `server_groups` ...
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub compute: BTreeMap<String, i64>,
    /// Neutron's: network, subnet, router, port, floatingip, `security_group` ...
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub network: BTreeMap<String, i64>,
}

/// A size of servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Flavor {
    /// Its name.
    pub name: String,
    /// Its id; without one Nova makes a UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub ram_mib: u32,
    /// Root disk in GiB; 0 takes the image's size.
    #[serde(default)]
    pub disk_gib: u32,
    /// Second, empty disk in GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_gib: Option<u32>,
    /// Swap disk in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_mib: Option<u32>,
    /// Whether every project sees it.
    #[serde(default = "yes")]
    pub public: bool,
    /// Extra specs, such as `hw:cpu_policy: dedicated`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_specs: BTreeMap<String, String>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    /// Its name, unique within its project here.
    pub name: String,
    /// Whose it is; the project `admin` unless written.
    #[serde(default = "admin_project")]
    pub project: Qualified,
    /// Whether routers may take it as their gateway.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// Whether every project may use it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// How it is carried; without it Neutron makes a tunnelled network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Maximum transmission unit in bytes; Neutron computes it when not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Its subnets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<Subnet>,
}

/// How a provider network is carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provider {
    /// `flat` or `vlan`.
    pub network_type: NetworkType,
    /// The physical network's name, as the nodes' bridge mappings have it.
    pub physical_network: String,
    /// The VLAN, 1-4094; only for `vlan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segmentation_id: Option<u16>,
}

/// How frames of a provider network are told apart on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NetworkType {
    /// Untagged.
    Flat,
    /// By VLAN tag.
    Vlan,
}

/// A range of addresses of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subnet {
    /// Its name.
    pub name: String,
    /// The range, such as `172.16.0.0/24`.
    pub cidr: String,
    /// The gateway's address; the first of the range when not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Addresses that are given out; the whole range when not written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<Pool>,
    /// Whether Neutron answers DHCP.
    #[serde(default = "yes")]
    pub dhcp: bool,
    /// Name servers that guests are told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// How guests get their address on an IPv6 subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_mode: Option<Ipv6Mode>,
}

/// How guests on an IPv6 subnet get their address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ipv6Mode {
    /// From router advertisements alone.
    Slaac,
    /// Address from router advertisements, the rest by `DHCPv6`.
    Dhcpv6Stateless,
    /// Everything by `DHCPv6`.
    Dhcpv6Stateful,
}

/// Addresses from `start` to `end`, both included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pool {
    /// The first.
    pub start: IpAddr,
    /// The last.
    pub end: IpAddr,
}

/// A router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Router {
    /// Its name.
    pub name: String,
    /// Whose it is: `name` or `domain/name`.
    pub project: Qualified,
    /// The external network behind it, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Whether addresses are translated on the way out; Neutron's default is yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snat: Option<bool>,
    /// Subnets it serves, each `network/subnet`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
}

/// A security group of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecurityGroup {
    /// Its name; `default` is the group that every server gets.
    #[serde(default = "default_group")]
    pub name: String,
    /// Whose it is: `name` or `domain/name`.
    pub project: Qualified,
    /// What is let through beside what the group allows already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// Traffic that a security group lets through.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// To the server or from it.
    #[serde(default)]
    pub direction: Direction,
    /// `tcp`, `udp`, `icmp` or another name or number that Neutron knows; all when not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The port, or the first of a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The last port of a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_end: Option<u16>,
    /// The other side, such as `0.0.0.0/0`, which also is what it means when not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
}

/// Which way traffic goes, seen from the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// To the server.
    #[default]
    Ingress,
    /// From the server.
    Egress,
}

/// An SSH public key that Nova puts into servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Keypair {
    /// Its name.
    pub name: String,
    /// Whose it is: `name` or `domain/name`.
    pub user: Qualified,
    /// The public key as one line. Neither this nor `publicKeySecretRef`: OaaS generates a key pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Where the public key is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key_secret_ref: Option<SecretKeyRef>,
}

/// An image of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// `qcow2`, `raw`, `iso`, `vmdk` ...
    pub disk_format: String,
    /// The wrapping around the disk.
    #[serde(default = "bare")]
    pub container_format: String,
    /// Who sees it.
    #[serde(default)]
    pub visibility: Visibility,
    /// The least root disk in GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_disk_gib: Option<u32>,
    /// The least memory in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ram_mib: Option<u32>,
    /// Properties such as `hw_disk_bus: virtio`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// A file where the operator runs. Either this or `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// An address (http or https) to take the bytes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `sha256:HEX` or `sha512:HEX` of the bytes; required with `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// Who sees an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Visibility {
    /// Everybody.
    #[default]
    Public,
    /// Everybody who knows its id.
    Community,
    /// Projects that it is shared with.
    Shared,
    /// Its own project.
    Private,
}

/// A server (virtual machine).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Who boots it (the keypair is this user's): `name` or `domain/name`. Must be declared, with a password.
    pub user: Qualified,
    /// Where it runs: `name` or `domain/name`.
    pub project: Qualified,
    /// The flavor's name.
    pub flavor: String,
    /// The image's name.
    pub image: String,
    /// Networks by name, in the order of its interfaces.
    pub networks: Vec<String>,
    /// The keypair's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keypair: Option<String>,
    /// Security groups by name; `default` when none is written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    /// User data as text (cloud-config or a script).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// Whether it gets its metadata on a disk too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_drive: Option<bool>,
    /// The availability zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// The external network that it gets a floating IP from, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floating_ip_from: Option<String>,
}

fn yes() -> bool {
    true
}

fn admin_project() -> Qualified {
    Qualified::new(DEFAULT_DOMAIN, "admin")
}

fn default_group() -> String {
    "default".to_owned()
}

fn bare() -> String {
    "bare".to_owned()
}
