//! What the caller of this crate chooses, and where things lie.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};
use crate::instance::{Instance, Node};
use crate::subnets::{Prefix, Subnets};

/// A port of the host that leads to a port of the first node, where Kubernetes serves its NodePorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortMap {
    /// The host's address and port. Address 0.0.0.0 is every address of the host.
    pub listen: SocketAddrV4,
    /// The port of the node.
    pub node_port: u16,
}

impl PortMap {
    /// A NodePort under the same number on the loopback address.
    pub const fn loopback(port: u16) -> Self {
        Self { listen: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), node_port: port }
    }
}

/// An external network whose router is the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExternalNetwork {
    /// The host's address there, with the length of the network's prefix.
    pub router: Ipv4Net,
    /// Its tag on the link to the nodes; none is untagged.
    pub vlan: Option<u16>,
}

/// Images that nodes pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Images {
    /// The image layout in an image cache of `oaas-image`, which the read-only registry of the first node serves.
    pub cache: PathBuf,
    /// The image of the program that holds a pod's namespaces open, such as `oaas.local/pause@sha256:…`.
    pub pause: String,
}

/// What to bring up, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Which cluster.
    pub instance: Instance,
    /// What its addresses are cut out of, where they are not those that its name gives it.
    pub prefix: Option<Prefix>,
    /// How many nodes, from 1 to [`Node::MOST`].
    pub nodes: u8,
    /// Ports to publish on the host from the start; [`crate::publish_ports`] replaces them.
    pub ports: Vec<PortMap>,
    /// External networks of the clouds, whose router is the host, from the start; [`crate::route_external`] replaces them.
    pub external: Vec<ExternalNetwork>,
    /// Directory that holds one directory per instance. Must be on a disk with room for volumes and images.
    pub state_dir: PathBuf,
    /// Directory of what can be made again: the built programs, keyed by content.
    pub cache_dir: PathBuf,
    /// Where images come from.
    pub images: Images,
    /// The program that runs as a node's first process: one that hands `node-init …` to [`crate::init::main`] and
    /// `node-supervise …` to [`crate::supervise::main`]. Usually [`std::env::current_exe`].
    pub program: PathBuf,
}

impl Options {
    /// Where the files of this instance lie.
    pub fn layout(&self) -> Layout {
        Layout::new(&self.state_dir, &self.instance)
    }

    /// Its addresses.
    pub fn subnets(&self) -> Subnets {
        Subnets::of(&self.instance, self.prefix)
    }

    /// Its nodes.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = Node> + Clone {
        Node::all(self.nodes)
    }
}

/// Where the files of an instance lie on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// For an instance below a state directory.
    pub fn new(state_dir: &Path, instance: &Instance) -> Self {
        Self { root: state_dir.join(instance.as_str()) }
    }

    /// The directory that holds all of it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What was changed on the host.
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger.json")
    }

    /// What its addresses are cut out of, where somebody chose that.
    pub fn prefix(&self) -> PathBuf {
        self.root.join("prefix")
    }

    /// The prefix that the instance was made with; none where it was not made.
    pub fn standing_prefix(&self) -> Result<Option<Option<Prefix>>, FileError> {
        if !self.ledger().exists() {
            return Ok(None);
        }
        let text = files::read_if_there(&self.prefix())?;
        Ok(Some(text.and_then(|text| text.trim().parse().ok())))
    }

    /// Held while someone brings the instance up or down; its text is that process's id.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Keys and certificates; root alone reads them.
    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// How an administrator reaches the API server.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.root.join("admin.kubeconfig")
    }

    /// The programs of the embedded Kubernetes that this instance runs.
    pub fn kubernetes(&self) -> PathBuf {
        self.root.join("kubernetes")
    }

    /// Copies of the program that runs as the nodes' first process.
    pub fn programs(&self) -> PathBuf {
        self.root.join("programs")
    }

    /// What the nodes publish on the host.
    pub fn ports(&self) -> PathBuf {
        self.root.join("ports.json")
    }

    /// The external networks that the host is the router of.
    pub fn external(&self) -> PathBuf {
        self.root.join("external.json")
    }

    /// Everything of one node.
    pub fn node(&self, node: Node) -> NodeLayout {
        NodeLayout { root: self.root.join("nodes").join(node.to_string()) }
    }
}

/// Where the files of one node lie on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLayout {
    root: PathBuf,
}

impl NodeLayout {
    /// The directory that holds all of it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the node sees as `/var`.
    pub fn var(&self) -> PathBuf {
        self.root.join("var")
    }

    /// The node's configuration, which it sees as [`inside::CONFIG`].
    pub fn config(&self) -> PathBuf {
        self.root.join("config")
    }

    /// The logs of the node's processes, which it sees as [`inside::LOGS`].
    pub fn logs(&self) -> PathBuf {
        self.var().join("log/oaas")
    }

    /// How the node's first process is made.
    pub fn spec(&self) -> PathBuf {
        self.root.join("spec.json")
    }

    /// Which process is the node's first one.
    pub fn process(&self) -> PathBuf {
        self.root.join("process.json")
    }
}

/// Paths as a node's processes see them.
pub mod inside {
    /// The node's configuration.
    pub const CONFIG: &str = "/run/oaas/config";
    /// Copies of the program that runs as the node's first process; `current` is the one to use.
    pub const PROGRAMS: &str = "/run/oaas/programs";
    /// The built programs, one directory per key.
    pub const KUBERNETES: &str = "/run/oaas/kubernetes";
    /// The image cache.
    pub const IMAGES: &str = "/run/oaas/images";
    /// The logs of the node's processes.
    pub const LOGS: &str = "/var/log/oaas";
    /// What the supervisor knows of its processes; lives as long as the node's first process.
    pub const SUPERVISOR: &str = "/run/oaas/supervisor.json";
    /// The directories of local volumes.
    pub const VOLUMES: &str = "/var/lib/oaas-volumes";
}
