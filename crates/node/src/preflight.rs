//! Is this machine fit for an embedded cluster? Looks, judges, and says what to do.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use oaas_feedback::{Explain, Kind, Task};
use snafu::Snafu;

use crate::artefacts::OLDEST_GO;
use crate::command::{self, CommandError};
use crate::instance::Network;
use crate::observe::{Firewall, Host, Tool};
use crate::options::Options;

/// Programs that nodes are made with, and their Debian packages. The first build needs the last two also.
pub(crate) const PROGRAMS: [(&str, &str); 8] = [
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("sysctl", "procps"),
    ("sha256sum", "coreutils"),
    ("modprobe", "kmod"),
    ("gcc", "gcc"),
    ("pkg-config", "pkg-config"),
];
const FOR_BUILDING: [&str; 2] = ["gcc", "pkg-config"];

/// Memory for Kubernetes alone on one node, in bytes.
const MEMORY: u64 = 2 << 30;
/// Memory for each further node, in bytes.
const MEMORY_PER_NODE: u64 = 512 << 20;
/// Room for etcd, images in the nodes' stores and logs, in bytes.
const STATE: u64 = 4 << 30;
/// Room for the programs, and for building them, in bytes.
const CACHE: u64 = 1 << 30;
const CACHE_FOR_BUILDING: u64 = 6 << 30;
/// How many files a process must be allowed to open, and how many it should be.
const OPEN_FILES: u64 = 8_192;
const OPEN_FILES_WELL: u64 = 65_536;

/// The Debian package that has a program.
pub(crate) fn package_of(program: &str) -> Option<&'static str> {
    PROGRAMS.iter().find(|(name, _)| *name == program).map(|(_, package)| *package)
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
            Self::OomScore => true,
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
            Self::Subnet { .. } => {
                "choose another instance name (its subnets derive from it) or change that link".into()
            }
            Self::Firewall { command, .. } => format!("let them pass: {command}"),
        })
    }
}

/// All findings about a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of importance.
    pub findings: Vec<Finding>,
}

impl Report {
    /// What is in the way, apart from packages that [`install`] can install.
    pub fn refusals(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| !finding.is_warning() && !matches!(finding, Finding::Packages { .. }))
    }

    /// What is only worth knowing.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.is_warning())
    }

    /// Debian packages that are missing.
    pub fn packages(&self) -> &[&'static str] {
        self.findings
            .iter()
            .find_map(|finding| match finding {
                Finding::Packages { packages } => Some(packages.as_slice()),
                _ => None,
            })
            .unwrap_or_default()
    }

    /// What is in the way, with the packages that [`install`] can install.
    pub fn obstacles(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| !finding.is_warning())
    }

    /// Fails with the first finding that is in the way, if any.
    pub fn require_fit(&self) -> Result<(), Finding> {
        self.obstacles().next().cloned().map_or(Ok(()), Err)
    }
}

/// Do we have all rights? Told before anything is looked at or written.
pub fn require_root() -> Result<(), Finding> {
    if crate::observe::is_root() { Ok(()) } else { Err(Finding::NotRoot) }
}

/// Look at the machine and judge it.
pub async fn preflight(options: &Options) -> Report {
    check(&crate::observe::observe(options).await, options)
}

/// Install Debian packages. Say what before calling this.
pub async fn install(packages: &[&str], task: &Task) -> Result<(), CommandError> {
    task.status(format!("installs {}", packages.join(", ")));
    let install = async |refresh: bool| {
        if refresh {
            command::run("apt-get", &["-q", "-o", "DPkg::Lock::Timeout=600", "update"]).await?;
        }
        let mut arguments =
            vec!["-q", "-y", "-o", "DPkg::Lock::Timeout=600", "install", "--no-install-recommends"];
        arguments.extend(packages);
        command::run("apt-get", &arguments).await
    };
    // Lists of packages may be missing or old; to fetch them first every time costs more than to fail once.
    if install(false).await.is_err() {
        install(true).await?;
    }
    Ok(())
}

/// Judge a machine: pure.
pub fn check(host: &Host, options: &Options) -> Report {
    let mut findings = Vec::new();
    if !host.is_root {
        // Everything else would be judged by what is hidden from us.
        return Report { findings: vec![Finding::NotRoot] };
    }
    let packages = missing_packages(host);
    if !packages.is_empty() {
        findings.push(Finding::Packages { packages });
    }
    if !host.is_built {
        match host.go {
            None => findings.push(Finding::NoGo),
            Some(found) if found < OLDEST_GO => findings.push(Finding::OldGo { found }),
            Some(_) => {}
        }
    }
    for name in ["overlay", "tmpfs"] {
        // A module that is not loaded yet is not listed; `up` loads it if there is one.
        if !host.file_systems.contains(name) && !may_load(host) {
            findings.push(Finding::FileSystem { name });
        }
    }
    if host.hierarchies.is_none() {
        findings.push(Finding::NoCgroups);
    }
    findings.extend(rooms(host, options));
    // With that capability nodes raise the limit themselves.
    if host.open_files < OPEN_FILES_WELL && !host.may_lower_oom_score {
        findings.push(Finding::OpenFiles { have: host.open_files });
    }
    findings.extend(networks(host, options));
    findings.extend(ports(host, options));
    findings.extend(host.firewalls.iter().filter_map(|firewall| firewall_finding(firewall, options)));
    if !host.may_lower_oom_score {
        findings.push(Finding::OomScore);
    }
    Report { findings }
}

/// Can the kernel load modules at all?
fn may_load(host: &Host) -> bool {
    host.has_modules && !host.missing.contains("modprobe")
}

fn missing_packages(host: &Host) -> Vec<&'static str> {
    let mut packages: Vec<&'static str> = PROGRAMS
        .iter()
        .filter(|(program, _)| host.missing.contains(*program))
        .filter(|(program, _)| !(host.is_built && FOR_BUILDING.contains(program)))
        .filter(|(program, _)| host.has_modules || *program != "modprobe")
        .map(|(_, package)| *package)
        .collect();
    if !host.is_built && !host.has_libseccomp {
        packages.push("libseccomp-dev");
    }
    if !host.is_built && !host.has_static_libc {
        packages.push("libc6-dev");
    }
    packages.sort_unstable();
    packages
}

fn rooms(host: &Host, options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    let need = MEMORY + MEMORY_PER_NODE * u64::from(options.nodes.saturating_sub(1));
    if host.memory < need {
        findings.push(Finding::Memory { have: host.memory, need, nodes: options.nodes });
    }
    let cache = if host.is_built { CACHE } else { CACHE_FOR_BUILDING };
    for (path, need) in [(&options.state_dir, STATE), (&options.cache_dir, cache)] {
        if let Some(&have) = host.free.get(path)
            && have < need
        {
            findings.push(Finding::Disk { path: path.clone(), have, need });
        }
    }
    findings
}

fn networks(host: &Host, options: &Options) -> Vec<Finding> {
    let instance = &options.instance;
    let mut names: Vec<String> = Network::ALL.iter().map(|network| instance.bridge(*network)).collect();
    for node in options.nodes() {
        names.extend(Network::ALL.iter().map(|network| instance.host_end(node, *network)));
    }
    let mut findings: Vec<Finding> = names
        .iter()
        .filter(|name| host.links.contains_key(*name) && !host.own.contains(*name))
        .map(|name| Finding::Link { name: name.clone() })
        .collect();

    let subnets = instance.subnets();
    let addressed = host.links.iter().flat_map(|(link, nets)| nets.iter().map(move |net| (*net, link)));
    let routed = host.routes.iter().map(|(net, link)| (*net, link));
    let mut seen = Vec::new();
    for (other, link) in addressed.chain(routed) {
        // The whole of IPv4 overlaps with everything and is in nobody's way.
        if names.contains(link) || other.prefix_len() == 0 {
            continue;
        }
        for subnet in [subnets.management, subnets.external] {
            let overlap = subnet.contains(&other.addr()) || other.contains(&subnet.addr());
            if overlap && !seen.contains(&(subnet, link)) {
                seen.push((subnet, link));
                findings.push(Finding::Subnet { subnet, other: other.trunc(), link: link.clone() });
            }
        }
    }
    findings
}

fn ports(host: &Host, options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    let overlap = |a: Ipv4Addr, b: Ipv4Addr| a == b || a.is_unspecified() || b.is_unspecified();
    for map in &options.ports {
        let (address, port) = (*map.listen.ip(), map.listen.port());
        if let Some(taken) =
            host.listeners.iter().find(|one| one.port == port && overlap(one.address, address))
        {
            findings.push(Finding::Port { address, port, owner: taken.owner.clone() });
        } else if let Some((_, table)) =
            host.published.iter().find(|((other, number), _)| *number == port && overlap(*other, address))
        {
            findings.push(Finding::Published { address, port, table: table.clone() });
        }
    }
    findings
}

fn firewall_finding(firewall: &Firewall, options: &Options) -> Option<Finding> {
    let bridges = [Network::Management, Network::External].map(|network| options.instance.bridge(network));
    // Someone who followed the hint, or knew it, has a rule that names our bridge.
    if bridges.iter().all(|bridge| firewall.rules.contains(bridge.as_str())) {
        return None;
    }
    let each =
        |make: fn(&str) -> String| bridges.iter().map(|bridge| make(bridge)).collect::<Vec<_>>().join("; ");
    let command = match firewall.tool {
        Tool::Docker => each(|link| {
            format!(
                "iptables -I DOCKER-USER -i {link} -j ACCEPT; iptables -I DOCKER-USER -o {link} -j ACCEPT"
            )
        }),
        Tool::Ufw => each(|link| format!("ufw route allow in on {link}; ufw route allow out on {link}")),
        Tool::Firewalld => {
            each(|link| format!("firewall-cmd --permanent --zone=trusted --add-interface={link}"))
                + "; firewall-cmd --reload"
        }
        Tool::Other => match &firewall.chain {
            Some(chain) => {
                let links = bridges.iter().map(|link| format!("\"{link}\"")).collect::<Vec<_>>().join(", ");
                let rule = |end| format!("nft 'insert rule {chain} {end} {{ {links} }} accept'");
                format!("{}; {}", rule("iifname"), rule("oifname"))
            }
            None => each(|link| {
                let rule = |end| format!("iptables-legacy -I FORWARD {end} {link} -j ACCEPT");
                format!("{}; {}", rule("-i"), rule("-o"))
            }),
        },
    };
    Some(Finding::Firewall { tool: firewall.tool, chain: firewall.chain.clone(), command })
}

#[cfg(test)]
mod tests;
