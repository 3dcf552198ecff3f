//! Groups of nodes and what is special about them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::config::Sections;
use crate::schema::DNS_LABEL;

/// A group of nodes. Which nodes run what is said by their labels `controller`, `compute` and `network` (`true`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeGroup {
    /// Name of the group.
    #[schemars(regex(pattern = DNS_LABEL), length(max = 63))]
    pub name: String,
    /// Labels that a node must have to be in the group; empty selects every node. A node in several groups takes
    /// the last one's value of each field.
    #[serde(default)]
    pub selector: BTreeMap<String, String>,
    /// Options of services on these nodes: service, section, option, value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, Sections>,
    /// Physical networks and the interface of the node that each is, such as `public: eth2`. Default: the node's
    /// annotation `oaas.dev/interfaces`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub physical_networks: BTreeMap<String, String>,
    /// Interface for tunnels between the nodes. Default: `network.tunnel.interface`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel_interface: Option<String>,
    /// Huge pages for virtual machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub huge_pages: Vec<HugePages>,
    /// PCI devices for virtual machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pci: Vec<PciDevices>,
    /// Availability zone of the computes. Default: `nova`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// Host aggregate that the computes are in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregate>,
    /// Name of the cell that the computes are in. Default: `cell1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<String>,
}

/// Huge pages of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HugePages {
    /// Size of a page, such as `2Mi` or `1Gi`.
    pub size: Amount,
    /// How many of them.
    pub count: u32,
}

/// PCI devices that virtual machines may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PciDevices {
    /// Alias by which flavors ask for the devices.
    pub alias: String,
    /// Vendor, four hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Product, four hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Address, such as `0000:3b:00.0`; `*` stands for any part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Physical network that the devices are connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical_network: Option<String>,
}

/// A host aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Aggregate {
    /// Name of the aggregate.
    pub name: String,
    /// Its metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// A cell of Nova: its own database and message bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cell {
    /// Name of the cell; the first one is `cell1`.
    #[schemars(regex(pattern = DNS_LABEL), length(max = 32))]
    pub name: String,
    /// Database of the cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<crate::external::Backend>,
    /// Message bus of the cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messaging: Option<crate::external::Backend>,
}
