//! What is found about a machine: what is in the way or worth knowing, and what to do about it.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use oaas_feedback::{Explain, Kind};
use snafu::Snafu;

use crate::subnets::Prefix;
use crate::versions::OLDEST_GO;

/// How many files a process must be allowed to open.
pub(crate) const OPEN_FILES: u64 = 8_192;
/// How many it should be allowed to open.
pub(crate) const OPEN_FILES_WELL: u64 = 65_536;

/// A tool that makes packet rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Docker, through its chain for users' rules.
    Docker,
    /// The uncomplicated firewall.
    Ufw,
    /// firewalld.
    Firewalld,
    /// Someone else.
    Other,
}

/// Something about the machine that is in the way, or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Snafu)]
pub enum Finding {
    /// We lack rights.
    #[snafu(display("an embedded cluster needs root"))]
    NotRoot,
    /// Too little memory.
    #[snafu(display("the machine has {} MiB of memory; {nodes} node(s) need {} MiB", have >> 20, need >> 20))]
    Memory {
        /// What it has, in bytes.
        have: u64,
        /// What it needs, in bytes.
        need: u64,
        /// For how many nodes.
        nodes: u8,
    },
    /// Too little room on a disk.
    #[snafu(display("{} MiB are free for {}; {} MiB are needed", have >> 20, path.display(), need >> 20))]
    Disk {
        /// Where.
        path: PathBuf,
        /// What is free, in bytes.
        have: u64,
        /// What is needed, in bytes.
        need: u64,
    },
    /// Programs or libraries are missing that Debian has.
    #[snafu(display("missing: {}", packages.join(", ")))]
    Packages {
        /// The packages to install.
        packages: Vec<&'static str>,
    },
    /// No Go to build with.
    #[snafu(display("Go is needed to build Kubernetes and is not in PATH"))]
    NoGo,
    /// Too old a Go.
    #[snafu(display("Go {}.{} is too old to build Kubernetes", found.0, found.1))]
    OldGo {
        /// Major and minor version.
        found: (u32, u32),
    },
    /// The kernel lacks a file system.
    #[snafu(display("the kernel has no {name} file system"))]
    FileSystem {
        /// Which.
        name: &'static str,
    },
    /// No control groups.
    #[snafu(display("no control groups are mounted in /sys/fs/cgroup"))]
    NoCgroups,
    /// Too few open files.
    #[snafu(display("a process may open {have} files at most; nodes should be allowed {OPEN_FILES_WELL}"))]
    OpenFiles {
        /// How many.
        have: u64,
    },
    /// `CAP_SYS_RESOURCE` is missing.
    #[snafu(display(
        "this machine grants no CAP_SYS_RESOURCE: the kernel may choose Kubernetes itself when memory runs out"
    ))]
    OomScore,
    /// A port is taken.
    #[snafu(display("port {port} of {address} is taken{}", by(owner.as_ref())))]
    Port {
        /// The address that was asked for.
        address: Ipv4Addr,
        /// The port.
        port: u16,
        /// Who has it, where it can be told.
        owner: Option<(String, i32)>,
    },
    /// A port is published by another instance.
    #[snafu(display(
        "port {port} of {address} is published by another embedded cluster (nftables table {table})"
    ))]
    Published {
        /// The address that was asked for.
        address: Ipv4Addr,
        /// The port.
        port: u16,
        /// The other's table.
        table: String,
    },
    /// A link with a name of ours is not ours.
    #[snafu(display("a link named {name} is there and belongs to someone else"))]
    Link {
        /// Its name.
        name: String,
    },
    /// A subnet of ours is in use.
    #[snafu(display("{subnet} is needed and {other} on link {link} overlaps with it"))]
    Subnet {
        /// Ours.
        subnet: Ipv4Net,
        /// Theirs.
        other: Ipv4Net,
        /// Their link.
        link: String,
        /// Other addresses that are free here, if ours are those of the instance.
        instead: Option<Prefix>,
    },
    /// A resolver of the machine has an address that is one of ours inside of nodes.
    #[snafu(display(
        "the machine's DNS server {server} lies in {subnet}, which {whose} have here: no name would resolve"
    ))]
    Resolver {
        /// The server.
        server: Ipv4Addr,
        /// Ours.
        subnet: Ipv4Net,
        /// Whose.
        whose: &'static str,
        /// Other addresses that are free here.
        instead: Option<Prefix>,
    },
    /// What pods and Services have for addresses lies elsewhere too.
    #[snafu(display(
        "{other} on link {link} overlaps with {subnet}, which {whose} have here: they do not reach what lies there"
    ))]
    Hidden {
        /// Ours.
        subnet: Ipv4Net,
        /// Whose.
        whose: &'static str,
        /// Theirs.
        other: Ipv4Net,
        /// Their link.
        link: String,
        /// Other addresses that are free here.
        instead: Option<Prefix>,
    },
    /// A wider network in use covers a subnet of ours.
    #[snafu(display(
        "{other} on link {link} covers {subnet}, which is used here: what lies there behind {link} is not reached meanwhile"
    ))]
    Covered {
        /// Ours.
        subnet: Ipv4Net,
        /// Theirs.
        other: Ipv4Net,
        /// Their link.
        link: String,
        /// Other addresses that are free here, if ours are those of the instance.
        instead: Option<Prefix>,
    },
    /// Forwarded packets are dropped.
    #[snafu(display("{}{} drops packets that the host forwards for the cluster", tool_name(*tool), in_chain(chain.as_ref())))]
    Firewall {
        /// Who does.
        tool: Tool,
        /// The chain of nftables that does, where it is one.
        chain: Option<String>,
        /// What lets them pass.
        command: String,
    },
}

fn by(owner: Option<&(String, i32)>) -> String {
    owner.map(|(name, pid)| format!(" by {name} (process {pid})")).unwrap_or_default()
}

fn in_chain(chain: Option<&String>) -> String {
    chain.map(|chain| format!(" (nftables chain {chain})")).unwrap_or_default()
}

const fn tool_name(tool: Tool) -> &'static str {
    match tool {
        Tool::Docker => "Docker's firewall",
        Tool::Ufw => "ufw",
        Tool::Firewalld => "firewalld",
        Tool::Other => "a packet filter",
    }
}

impl Finding {
    /// Is it only worth knowing, not in the way?
    pub fn is_warning(&self) -> bool {
        match self {
            Self::OomScore | Self::Covered { .. } | Self::Hidden { .. } => true,
            Self::OpenFiles { have } => *have >= OPEN_FILES,
            _ => false,
        }
    }
}

impl Explain for Finding {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotRoot => "run it with sudo".into(),
            Self::Memory { nodes: 1, .. } => "use a machine with more memory".into(),
            Self::Memory { .. } => "use fewer nodes (--nodes) or a machine with more memory".into(),
            Self::Disk { path, .. } => format!(
                "make room on the disk of {}, or choose another place (OAAS_STATE_DIR, OAAS_CACHE_DIR)",
                path.display()
            ),
            Self::Packages { packages } => format!("install them: apt-get install {}", packages.join(" ")),
            Self::NoGo | Self::OldGo { .. } => {
                format!("install Go {}.{} or newer and put `go` into PATH", OLDEST_GO.0, OLDEST_GO.1)
            }
            Self::FileSystem { name } => format!("load it: modprobe {name}; or use a kernel that has it"),
            Self::NoCgroups => "mount them: mount -t cgroup2 cgroup2 /sys/fs/cgroup".into(),
            Self::OpenFiles { .. } => format!("raise the limit: ulimit -Hn {OPEN_FILES_WELL}"),
            Self::OomScore => "keep some memory free; nothing else to do".into(),
            Self::Port { owner: Some((_, pid)), port, .. } => {
                format!("end that process (kill {pid}) or publish another port than {port}")
            }
            Self::Port { port, .. } => {
                format!("free it (ss -ltnp 'sport = :{port}' says who has it) or publish another port")
            }
            Self::Published { .. } => {
                "publish another port, or take the other cluster down: oaas --instance NAME down".into()
            }
            Self::Link { name } => format!(
                "see what it is: ip -d link show {name}; remove it if it is left over: ip link delete {name}; or choose another instance name"
            ),
            Self::Subnet { instead: Some(prefix), link, .. } => {
                format!(
                    "take other addresses for the cluster: oaas up --prefix {prefix}; or change the link {link}"
                )
            }
            Self::Subnet { link, .. } => {
                format!("take another network in the resource (network.external), or change the link {link}")
            }
            Self::Covered { instead: Some(prefix), .. } | Self::Hidden { instead: Some(prefix), .. } => {
                format!(
                    "nothing, unless you need it: a new cluster takes other addresses by oaas up --prefix {prefix}"
                )
            }
            Self::Covered { .. } => {
                "nothing, unless you need it: take another network in the resource (network.external)".into()
            }
            Self::Hidden { .. } => {
                "nothing, unless you need it: choose other addresses with oaas up --prefix".into()
            }
            Self::Resolver { instead: Some(prefix), .. } => {
                format!(
                    "take other addresses for the cluster: oaas up --prefix {prefix}; or use another DNS server"
                )
            }
            Self::Resolver { .. } => {
                "take other addresses for the cluster (oaas up --prefix), or use another DNS server".into()
            }
            Self::Firewall { command, .. } => format!("let them pass: {command}"),
        })
    }
}
