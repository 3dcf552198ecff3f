//! The configuration of the roles that work on a node, and of the checks that ask their daemons.
//!
//! Open vSwitch's and OVN's programs look names up by themselves and know no search domains: every host name here is a
//! full one, such as `ovn-sb-0.ovn-sb.demo.svc.cluster.local`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::program::Program;
use crate::tls::TlsFiles;

/// A role that works on a node.
// There is one of them per process.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    /// A member of OVN's northbound or southbound database cluster.
    Ovsdb(Ovsdb),
    /// Open vSwitch of a node: its database and its switch.
    OpenVswitch(OpenVswitch),
    /// OVN's controller of a node.
    OvnController(OvnController),
    /// libvirt of a node.
    Libvirt(Libvirt),
    /// nova-compute of a node.
    NovaCompute(NovaCompute),
    /// What fills OVN's northbound database anew after it was lost.
    OvnFiller(OvnFiller),
}

/// Which of OVN's databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OvnDatabase {
    /// Northbound: what is wanted.
    Nb,
    /// Southbound: what the nodes' controllers do.
    Sb,
}

impl OvnDatabase {
    /// The schema's name.
    pub const fn schema(self) -> &'static str {
        match self {
            Self::Nb => "OVN_Northbound",
            Self::Sb => "OVN_Southbound",
        }
    }

    /// The short name, as OVN's files and sockets have it.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Nb => "nb",
            Self::Sb => "sb",
        }
    }

    /// The file with the schema, in Debian's package.
    pub fn schema_file(self) -> String {
        format!("/usr/share/ovn/ovn-{}.ovsschema", self.short())
    }

    /// The port that clients connect to.
    pub const fn client_port(self) -> u16 {
        match self {
            Self::Nb => 6641,
            Self::Sb => 6642,
        }
    }

    /// The port that members talk to each other on.
    pub const fn cluster_port(self) -> u16 {
        match self {
            Self::Nb => 6643,
            Self::Sb => 6644,
        }
    }

    /// The port on which a database is filled that is new or was lost; it is open for that long alone.
    pub const fn filler_port(self) -> u16 {
        match self {
            Self::Nb => 6645,
            Self::Sb => 6646,
        }
    }

    /// The control socket, in the directory of sockets; the names are those that OVN's own tools look for.
    pub fn control_socket(self, run_directory: &Path) -> PathBuf {
        run_directory.join(format!("ovn{}_db.ctl", self.short()))
    }

    /// The socket for clients of the pod itself.
    pub fn client_socket(self, run_directory: &Path) -> PathBuf {
        run_directory.join(format!("ovn{}_db.sock", self.short()))
    }
}

/// A member of OVN's northbound or southbound database cluster (RAFT, also with one member).
///
/// Members are the pods of a StatefulSet with parallel pod management; their ordinal is the number at the end of the
/// host name. They ask each other's agents on the health port, so that port must be reachable among members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ovsdb {
    /// Which database.
    pub database: OvnDatabase,
    /// The StatefulSet's name, such as `ovn-nb`.
    pub name: String,
    /// Full DNS name of the headless Service, such as `ovn-nb.demo.svc.cluster.local`. The Service publishes members
    /// that are not ready.
    pub service: String,
    /// How many members there are to be.
    pub replicas: u32,
    /// This server's key and certificate, and the CA that clients' and members' certificates must be signed by.
    #[serde(default)]
    pub tls: TlsFiles,
    /// The volume.
    #[serde(default = "ovn_data")]
    pub directory: PathBuf,
    /// Sockets of this pod.
    #[serde(default = "ovn_run")]
    pub run_directory: PathBuf,
    /// Milliseconds without a leader until an election.
    #[serde(default = "default_election_ms")]
    pub election_ms: u64,
    /// Milliseconds of silence after which a client is asked for a sign of life; 0 never asks.
    #[serde(default = "default_client_probe_ms")]
    pub client_probe_ms: u64,
    /// Whether the cloud never ran: an empty volume is no loss then.
    #[serde(default = "yes")]
    pub new_cloud: bool,
    /// Where its content comes from where it is lost.
    #[serde(default)]
    pub content: Content,
}

const fn yes() -> bool {
    true
}

/// Where a database's content comes from where it is lost with its volumes. Whoever may write it comes in by
/// [`OvnDatabase::filler_port`]; what clients make of an empty one would be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// From nowhere else: a person has to restore it.
    #[default]
    Own,
    /// From northd, before any other client may see it. Of the southbound database.
    Northd,
    /// From an [`OvnFiller`], before any client may see it. Of the northbound database.
    Filler,
}

/// Fills OVN's northbound database anew from where all of it is known, after its volumes were lost. It asks each member on
/// [`OvnDatabase::filler_port`], which is open only where there is something to fill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OvnFiller {
    /// Full names of the database's members.
    pub members: Vec<String>,
    /// Key and certificate towards them, and their CA.
    #[serde(default)]
    pub tls: TlsFiles,
    /// What writes the content, and ends with 0 once all of it is written.
    pub program: Program,
    /// Seconds that it may take.
    #[serde(default = "default_filling_seconds")]
    pub seconds: u64,
}

const fn default_filling_seconds() -> u64 {
    3600
}

fn ovn_data() -> PathBuf {
    "/var/lib/ovn".into()
}

fn ovn_run() -> PathBuf {
    "/run/ovn".into()
}

const fn default_election_ms() -> u64 {
    2000
}

const fn default_client_probe_ms() -> u64 {
    60_000
}

/// What moves packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Datapath {
    /// The kernel's module.
    System,
    /// Open vSwitch's own, in user space.
    Netdev,
}

/// How the datapath is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatapathChoice {
    /// `system` where the kernel can, else `netdev`.
    #[default]
    Auto,
    /// The kernel's, or fail.
    System,
    /// In user space.
    Netdev,
}

/// Open vSwitch of a node. Runs as root on the node's network, with `NODE_NAME` in its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenVswitch {
    /// Every member of the southbound database, such as `ssl:ovn-sb-0.ovn-sb.demo.svc.cluster.local:6642`.
    pub southbound: Vec<String>,
    /// Directory with `<node name>.json`, a [`NodeNetwork`] each.
    #[serde(default = "nodes")]
    pub nodes: PathBuf,
    /// How the datapath is chosen.
    #[serde(default)]
    pub datapath: DatapathChoice,
    /// The node's directory for the database.
    #[serde(default = "vswitch_data")]
    pub directory: PathBuf,
    /// The node's directory for sockets.
    #[serde(default = "vswitch_run")]
    pub run_directory: PathBuf,
    /// Further `external-ids` of the switch.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub external_ids: BTreeMap<String, String>,
}

fn nodes() -> PathBuf {
    "/etc/oaas/nodes".into()
}

fn vswitch_data() -> PathBuf {
    "/var/lib/openvswitch".into()
}

fn vswitch_run() -> PathBuf {
    "/run/openvswitch".into()
}

/// How a node is wired: the content of `/etc/oaas/nodes/<node name>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NodeNetwork {
    /// The interface that tunnels to other nodes leave through. Best one that nothing else uses: with the userspace
    /// datapath it becomes a port of a bridge that takes its addresses over.
    pub tunnel_interface: String,
    /// The address of tunnels, where the interface has more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel_address: Option<std::net::IpAddr>,
    /// Physical network (as Neutron names it) to interface. The interface becomes a port of the bridge
    /// `br-<physical network>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub physical_networks: BTreeMap<String, String>,
    /// Whether routers' gateways may be placed here.
    #[serde(default)]
    pub gateway: bool,
}

/// OVN's controller of a node. Runs as root on the node's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OvnController {
    /// Key and certificate towards the southbound database, and its CA.
    #[serde(default)]
    pub tls: TlsFiles,
    /// The node's directory with Open vSwitch's sockets.
    #[serde(default = "vswitch_run")]
    pub vswitch_run_directory: PathBuf,
    /// Sockets of this pod.
    #[serde(default = "ovn_run")]
    pub run_directory: PathBuf,
}

/// How guests are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VirtType {
    /// By the processor, through the kernel.
    Kvm,
    /// Emulated by QEMU (TCG).
    Qemu,
}

/// How the virtualisation type is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VirtTypeChoice {
    /// `kvm` where a probe boots a real guest under it, else `qemu`.
    #[default]
    Auto,
    /// KVM, or fail.
    Kvm,
    /// Emulation.
    Qemu,
}

/// libvirt of a node. Runs as root, privileged, in the node's PID and network namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Libvirt {
    /// How the virtualisation type is chosen.
    #[serde(default)]
    pub virt_type: VirtTypeChoice,
    /// A disk whose guest writes `GUEST-UP` to its first serial port; what the probe boots. Without the file the probe
    /// chooses `qemu`.
    #[serde(default = "guest_disk")]
    pub guest_disk: PathBuf,
    /// Seconds that the probe's guest has.
    #[serde(default = "default_probe_seconds")]
    pub probe_seconds: u64,
    /// The user that guests' processes run as.
    #[serde(default = "default_guest_user")]
    pub guest_user: String,
    /// `oom_score_adj` of guests' processes (-1000 to 1000).
    #[serde(default = "default_oom_score_adj")]
    pub oom_score_adj: i32,
    /// The cgroup of the node that guests' processes are moved to, out of this pod's.
    #[serde(default = "default_cgroup")]
    pub cgroup: String,
    /// The node's directory with Open vSwitch's sockets; the agent asks there for the datapath.
    #[serde(default = "vswitch_run")]
    pub vswitch_run_directory: PathBuf,
    /// Where and as whom other nodes' libvirts may connect to migrate guests; nothing listens when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<Migration>,
    /// Key, certificate and CA of guests' consoles (VNC): they are reached by TLS alone, by whoever shows a certificate of
    /// the same CA. A newer certificate is taken while guests run. Without them consoles are open to whoever reaches the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<TlsFiles>,
}

fn guest_disk() -> PathBuf {
    "/usr/share/oaas/guest/oaas-guest.qcow2".into()
}

const fn default_probe_seconds() -> u64 {
    20
}

fn default_guest_user() -> String {
    "libvirt-qemu".to_owned()
}

/// The first to go where memory is short: a guest is one tenant's, a database everybody's.
const fn default_oom_score_adj() -> i32 {
    1000
}

fn default_cgroup() -> String {
    "machine".to_owned()
}

/// How guests migrate: libvirt over TLS with client certificates, and so QEMU's own streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// Key, certificate and CA, of which all nodes' libvirts have the same or equal ones.
    #[serde(default)]
    pub tls: TlsFiles,
    /// Distinguished names of client certificates that may connect, as libvirt's `tls_allowed_dn_list` has them
    /// (`*` is a wildcard). The cloud's CA signs for other components too, so this list must not be empty.
    pub allowed: Vec<String>,
}

/// nova-compute of a node. Runs as root on the node's network, with `NODE_NAME` and `NODE_ADDRESS` in its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NovaCompute {
    /// Program and arguments. Two files are added: before all others what suits the node where nothing is said, and after
    /// them what only the node can say of itself.
    #[serde(default = "default_compute_command")]
    pub command: Vec<String>,
    /// Where what only the node can say of itself is written; what suits it stands beside it in `nova-defaults.conf`.
    #[serde(default = "default_compute_file")]
    pub node_file: PathBuf,
    /// Nova's state directory (`state_path`), of the node.
    #[serde(default = "nova_state")]
    pub state_directory: PathBuf,
    /// The node's directory with libvirt's socket.
    #[serde(default = "libvirt_run")]
    pub libvirt_run_directory: PathBuf,
    /// The port of the message bus.
    #[serde(default = "default_bus_port")]
    pub bus_port: u16,
    /// The CA that the message bus is verified by.
    #[serde(default = "default_ca")]
    pub ca: PathBuf,
}

impl NovaCompute {
    /// The service's configuration: the first file that its command names.
    pub fn config_file(&self) -> PathBuf {
        let mut words = self.command.iter().skip_while(|word| *word != "--config-file").skip(1);
        words.next().map_or_else(|| DEFAULT_COMPUTE_CONFIG.into(), PathBuf::from)
    }
}

/// Nova's configuration.
const DEFAULT_COMPUTE_CONFIG: &str = "/etc/nova/nova.conf";

const fn default_bus_port() -> u16 {
    5671
}

fn default_ca() -> PathBuf {
    TlsFiles::default().ca
}

fn default_compute_command() -> Vec<String> {
    ["nova-compute", "--config-file", DEFAULT_COMPUTE_CONFIG].map(str::to_owned).to_vec()
}

fn default_compute_file() -> PathBuf {
    "/run/oaas/nova-node.conf".into()
}

fn nova_state() -> PathBuf {
    "/var/lib/nova".into()
}

fn libvirt_run() -> PathBuf {
    "/run/libvirt".into()
}

/// A question to a daemon of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeProbe {
    /// A program of Open vSwitch or OVN answers a command on its control socket.
    Unixctl(UnixctlProbe),
    /// This member of an OVN database is in touch with its cluster's leader.
    OvnCluster(OvnClusterProbe),
    /// The content of this OVN database is whole: it was not lost, or has been made anew.
    OvnContent(OvnClusterProbe),
    /// northd has done to the southbound database what the northbound one wants.
    OvnInStep(OvnInStepProbe),
    /// A bridge exists in Open vSwitch and its datapath works.
    Bridge(BridgeProbe),
}

/// A program of Open vSwitch or OVN answers a command on its control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnixctlProbe {
    /// The control socket.
    pub socket: PathBuf,
    /// The command, such as `version` or `connection-status`.
    pub command: String,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// The answer, white space around it aside, must be one of these; any is good when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<String>,
}

/// This member of an OVN database is in touch with its cluster's leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OvnClusterProbe {
    /// Which database.
    pub database: OvnDatabase,
    /// Sockets of this pod.
    #[serde(default = "ovn_run")]
    pub run_directory: PathBuf,
}

/// northd has done to the southbound database what the northbound one wants (`sb_cfg` follows `nb_cfg`), or goes on doing
/// it. Asks with `ovn-nbctl`, whose environment says where the database is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OvnInStepProbe {
    /// Milliseconds within which it must have come further. Keep it below the check's own time-out.
    #[serde(default = "default_step_ms")]
    pub within_ms: u64,
}

const fn default_step_ms() -> u64 {
    5000
}

/// A bridge exists in Open vSwitch and its datapath works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeProbe {
    /// The bridge's name.
    #[serde(default = "integration_bridge")]
    pub name: String,
    /// The node's directory with Open vSwitch's sockets.
    #[serde(default = "vswitch_run")]
    pub run_directory: PathBuf,
}

/// The bridge that guests are connected to; Neutron's and OVN's own name for it.
pub const INTEGRATION_BRIDGE: &str = "br-int";

fn integration_bridge() -> String {
    INTEGRATION_BRIDGE.to_owned()
}
