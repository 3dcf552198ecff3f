//! Networks that a cloud is connected to.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::schema::{DNS_LABEL, rule};

/// Networks of a cloud.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    /// External networks, from which floating IPs come. Default: one flat network `ext-net`, 192.168.100.0/24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub external: Option<Vec<ExternalNetwork>>,
    /// How the nodes carry tenant networks between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// Name servers that guests are told whose subnet names none. Default: whom the nodes ask themselves (their annotation
    /// `oaas.dev/interfaces`), else 9.9.9.9 and 1.1.1.1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>", length(max = 6), inner(length(max = 39)), extend("x-kubernetes-validations" = [
        rule("self.all(server, isIP(server))", "not an address: write it like 9.9.9.9")
    ]))]
    pub name_servers: Vec<IpAddr>,
    /// Mechanism drivers of Neutron's ML2. Default: `ovn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub mechanism_drivers: Vec<String>,
}

/// An external network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    rule("self.kind != 'vlan' || has(self.vlan)", "kind vlan needs vlan: the tag, 1 to 4094"),
    rule("self.kind != 'flat' || !has(self.vlan)", "vlan is set but kind is flat: set kind: vlan"),
    rule("!has(self.gateway) || !isCIDR(self.cidr) || !isIP(self.gateway) || cidr(self.cidr).containsIP(self.gateway)",
        "gateway is outside cidr: take an address of that network, or leave it out"),
    rule("!has(self.pool) || !has(self.pools)", "pool is short for pools: set one of them"),
]))]
pub struct ExternalNetwork {
    /// Name of the network in OpenStack.
    #[schemars(regex(pattern = DNS_LABEL), length(max = 63))]
    pub name: String,
    /// Untagged (`flat`) or tagged (`vlan`).
    #[serde(default)]
    pub kind: NetworkKind,
    /// Name of the physical network; nodes say which of their interfaces it is. Default: `public`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub physical_network: Option<String>,
    /// VLAN tag, with kind `vlan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4094))]
    pub vlan: Option<u16>,
    /// Addresses of the network, such as `192.168.100.0/24`.
    #[schemars(length(max = 43), extend("x-kubernetes-validations" = [
        rule("isCIDR(self)", "not a network: write it like 192.168.100.0/24")
    ]))]
    pub cidr: String,
    /// Address of the router to the rest of the world. Default: the first of `cidr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 39), extend("x-kubernetes-validations" = [
        rule("isIP(self)", "not an address: write it like 192.168.100.1")
    ]))]
    pub gateway: Option<String>,
    /// Addresses for routers and floating IPs, such as `192.168.100.101-192.168.100.200`. Short for one of `pools`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 79), regex(pattern = RANGE))]
    pub pool: Option<String>,
    /// Ranges of addresses for routers and floating IPs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(max = 79), regex(pattern = RANGE)))]
    pub pools: Option<Vec<String>>,
    /// Largest packet in bytes. Default: 1500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1280, max = 9216))]
    pub mtu: Option<u16>,
    /// IPv6 of the same network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6: Option<ExternalV6>,
}

/// Pattern of a range of addresses; whether both are addresses in order is judged by the planner.
const RANGE: &str = "^[0-9a-fA-F.:]+ ?- ?[0-9a-fA-F.:]+$";

/// IPv6 of an external network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalV6 {
    /// Addresses, such as `2001:db8::/64`.
    #[schemars(length(max = 43), extend("x-kubernetes-validations" = [
        rule("isCIDR(self)", "not a network: write it like 2001:db8::/64")
    ]))]
    pub cidr: String,
    /// Address of the router. Default: the first of `cidr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Ranges of addresses for routers and ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<String>,
}

/// Kinds of external network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NetworkKind {
    /// Untagged.
    #[default]
    Flat,
    /// Tagged.
    Vlan,
}

/// How nodes carry tenant networks between them (always Geneve).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tunnel {
    /// Interface of each node that tunnels use. Default: the node's annotation `oaas.dev/interfaces`, else the
    /// interface with the node's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Largest packet in bytes that the network between the nodes carries; one of a tenant network is 58 smaller.
    /// Default: 1500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1280, max = 9216))]
    pub mtu: Option<u16>,
}

impl ExternalNetwork {
    /// The default external network of a cloud.
    pub fn default_ext_net() -> Self {
        let value = json!({
            "name": "ext-net",
            "cidr": "192.168.100.0/24",
            "gateway": "192.168.100.1",
            "pool": "192.168.100.101-192.168.100.200",
        });
        serde_json::from_value(value).expect("the literal above has every required field")
    }
}
