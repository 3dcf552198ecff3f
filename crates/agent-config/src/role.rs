//! What the agent runs.

use serde::{Deserialize, Serialize};

use crate::database::Mariadb;
use crate::messaging::Rabbitmq;
use crate::node::NodeRole;
use crate::process::{Family, Process};
use crate::schema::LoadSchema;

/// What the agent runs.
// The roles differ much in size, but there is one of them per process.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Any process that needs no more than preparation, signals and probes.
    Process(Process),
    /// Programs in Python that are forked from one process.
    Family(Family),
    /// A MariaDB server, a member of a Galera cluster of any odd size.
    Mariadb(Mariadb),
    /// A `RabbitMQ` server, a member of a cluster of any odd size.
    Rabbitmq(Rabbitmq),
    /// Loads one service's schemas into its databases and ensures its accounts; exits 0 when done.
    LoadSchema(LoadSchema),
    /// A role that works on a node: OVN, Open vSwitch, libvirt, nova-compute.
    Node(NodeRole),
}
