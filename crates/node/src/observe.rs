//! What is so on this machine: read, not judged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;

use crate::cgroup::Hierarchies;
use crate::command;
use crate::finding::Tool;
use crate::machine::{is_root, may_lower_oom_score, memory};
use crate::options::Options;

/// A machine, as far as it matters for an embedded cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Do we have all rights?
    pub is_root: bool,
    /// Memory in all, in bytes.
    pub memory: u64,
    /// Free room where the state directory and the cache are, in bytes, by path asked for.
    pub free: BTreeMap<PathBuf, u64>,
    /// Programs that are not in PATH.
    pub missing: BTreeSet<String>,
    /// Major and minor version of Go; none if it is not there.
    pub go: Option<(u32, u32)>,
    /// Are the programs of Kubernetes in the cache already?
    pub is_built: bool,
    /// Does the C compiler find libseccomp?
    pub has_libseccomp: bool,
    /// Does the C compiler find a static C library?
    pub has_static_libc: bool,
    /// Can the kernel load modules?
    pub has_modules: bool,
    /// File systems that the kernel knows.
    pub file_systems: BTreeSet<String>,
    /// Its control groups.
    pub hierarchies: Option<Hierarchies>,
    /// How many files a process may be allowed to open.
    pub open_files: u64,
    /// May scores of the out-of-memory killer be lowered?
    pub may_lower_oom_score: bool,
    /// Sockets that listen for TCP.
    pub listeners: Vec<Listener>,
    /// Links with their IPv4 addresses.
    pub links: BTreeMap<String, Vec<Ipv4Net>>,
    /// Routes, but the default ones: destination and link.
    pub routes: Vec<(Ipv4Net, String)>,
    /// DNS servers that nodes would ask: the machine's, without those on its loopback.
    pub resolvers: Vec<Ipv4Addr>,
    /// Links and tables that this instance's ledger names.
    pub own: BTreeSet<String>,
    /// Rules of packet filters, by who made them, if they drop forwarded packets by default.
    pub firewalls: Vec<Firewall>,
    /// Ports published by other instances: address and port, and the table that does.
    pub published: BTreeMap<(Ipv4Addr, u16), String>,
}

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address; 0.0.0.0 is all.
    pub address: Ipv4Addr,
    /// The port.
    pub port: u16,
    /// Name and id of a process that holds it, where they can be told.
    pub owner: Option<(String, i32)>,
}

/// Who drops forwarded packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    /// Which tool.
    pub tool: Tool,
    /// The chain of nftables whose policy it is, as nft names it: family, table, chain.
    pub chain: Option<String>,
    /// Its rules as text.
    pub rules: String,
}

/// Look at the machine.
pub async fn observe(options: &Options) -> Host {
    let layout = options.layout();
    let mut free = BTreeMap::new();
    for path in [&options.state_dir, &options.cache_dir] {
        if let Some(bytes) = free_bytes(path) {
            free.insert(path.clone(), bytes);
        }
    }
    let own: BTreeSet<String> = crate::ledger::host_changes(options)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|change| match change {
            crate::ledger::Change::Link { name } | crate::ledger::Change::Table { name } => Some(name),
            _ => None,
        })
        .collect();
    let go = command::run("go", &["env", "GOVERSION"]).await.ok();
    let rules = command::run("nft", &["-s", "list", "ruleset"]).await.unwrap_or_default();
    let legacy = command::run("iptables-legacy", &["-S"]).await.unwrap_or_default();
    let (open_files, _) = getrlimit(Resource::RLIMIT_NOFILE).map_or((0, 0), |(soft, hard)| (hard, soft));
    let file_systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    Host {
        is_root: is_root(),
        memory: memory(),
        free,
        missing: crate::packages::PROGRAMS
            .iter()
            .map(|(program, _)| *program)
            .filter(|program| !in_path(program))
            .map(str::to_owned)
            .collect(),
        go: go.and_then(|text| crate::versions::parse_go_version(text.trim())),
        is_built: crate::artefacts::is_built(&options.cache_dir).await,
        has_libseccomp: command::run("pkg-config", &["--exists", "libseccomp"]).await.is_ok(),
        has_static_libc: command::run("gcc", &["-print-file-name=libc.a"])
            .await
            .is_ok_and(|path| Path::new(path.trim()).is_absolute()),
        has_modules: Path::new("/proc/modules").exists(),
        file_systems: file_systems.split_whitespace().map(str::to_owned).collect(),
        hierarchies: fs::read_to_string("/proc/self/mountinfo")
            .ok()
            .and_then(|text| Hierarchies::from_mountinfo(&text)),
        open_files,
        may_lower_oom_score: may_lower_oom_score(),
        listeners: listeners(),
        links: links(&command::run("ip", &["-j", "address"]).await.unwrap_or_default()),
        routes: routes(&command::run("ip", &["-4", "-j", "route"]).await.unwrap_or_default()),
        resolvers: crate::config::reachable_servers(&resolv_conf()),
        published: published(&rules, &options.instance.table()),
        firewalls: firewalls(&rules, &legacy),
        own: if layout.root().exists() { own } else { BTreeSet::new() },
    }
}

/// The text of the machine's list of DNS servers. systemd-resolved keeps the real one elsewhere.
pub fn resolv_conf() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let text = read("/etc/resolv.conf");
    if crate::config::reachable_servers(&text).is_empty() {
        read("/run/systemd/resolve/resolv.conf")
    } else {
        text
    }
}

fn in_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// Free room for root where a path is or will be.
fn free_bytes(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|ancestor| ancestor.exists())?;
    let found = statvfs(there).ok()?;
    Some(found.blocks_available() * found.fragment_size())
}

fn listeners() -> Vec<Listener> {
    let mut found = Vec::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        found.extend(parse_listeners(&fs::read_to_string(file).unwrap_or_default()));
    }
    let owners = socket_owners();
    found
        .into_iter()
        .map(|(address, port, inode)| Listener { address, port, owner: owners.get(&inode).cloned() })
        .collect()
}

/// Address, port and inode of the listening sockets in the text of `/proc/net/tcp` or `tcp6`. IPv6 ones that take
/// IPv4 too count as all addresses.
fn parse_listeners(text: &str) -> Vec<(Ipv4Addr, u16, u64)> {
    const LISTEN: &str = "0A";
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (&local, &state, &inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
            let (address, port) = local.split_once(':')?;
            if state != LISTEN {
                return None;
            }
            let address = if address.len() == 8 {
                Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.swap_bytes())
            } else if address.chars().all(|c| c == '0') {
                Ipv4Addr::UNSPECIFIED
            } else {
                return None;
            };
            Some((address, u16::from_str_radix(port, 16).ok()?, inode.parse().ok()?))
        })
        .collect()
}

/// Names and ids of processes by the inodes of their sockets.
fn socket_owners() -> BTreeMap<u64, (String, i32)> {
    let mut owners = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let name = || fs::read_to_string(process.path().join("comm")).unwrap_or_default().trim().to_owned();
        for handle in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(link) = fs::read_link(handle.path()) else { continue };
            let inode =
                link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                owners.entry(inode).or_insert_with(|| (name(), pid));
            }
        }
    }
    owners
}

fn links(json: &str) -> BTreeMap<String, Vec<Ipv4Net>> {
    let list: Vec<serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    list.iter()
        .filter_map(|link| {
            let name = link["ifname"].as_str()?.to_owned();
            let addresses = link["addr_info"].as_array().map(Vec::as_slice).unwrap_or_default();
            let net = |address: &serde_json::Value| {
                let prefix = u8::try_from(address["prefixlen"].as_u64()?).ok()?;
                Ipv4Net::new(address["local"].as_str()?.parse().ok()?, prefix).ok()
            };
            Some((name, addresses.iter().filter_map(net).collect()))
        })
        .collect()
}

fn routes(json: &str) -> Vec<(Ipv4Net, String)> {
    let list: Vec<serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    list.iter()
        .filter_map(|route| {
            let destination = route["dst"].as_str()?;
            let net = destination
                .parse()
                .ok()
                .or_else(|| Some(Ipv4Net::from(destination.parse::<Ipv4Addr>().ok()?)))?;
            Some((net, route["dev"].as_str()?.to_owned()))
        })
        .collect()
}

/// Who drops forwarded packets by default, in the text of `nft list ruleset` and `iptables-legacy -S`.
fn firewalls(nft: &str, legacy: &str) -> Vec<Firewall> {
    let chain = dropping_chain(nft);
    let drops_in_legacy = legacy.lines().any(|line| line.trim() == "-P FORWARD DROP");
    let all = format!("{nft}\n{legacy}");
    let firewalld = nft.contains("table inet firewalld");
    if chain.is_none() && !drops_in_legacy && !firewalld {
        return Vec::new();
    }
    let tool = if firewalld {
        Tool::Firewalld
    } else if all.contains("ufw-") {
        Tool::Ufw
    } else if all.contains("DOCKER-USER") {
        Tool::Docker
    } else {
        Tool::Other
    };
    vec![Firewall { tool, chain, rules: all }]
}

/// The chain that drops forwarded packets by default, in the text of `nft list ruleset`.
fn dropping_chain(nft: &str) -> Option<String> {
    let (mut table, mut chain) = ("", "");
    for line in nft.lines().map(str::trim) {
        let opened = |kind: &str| line.strip_prefix(kind).and_then(|rest| rest.strip_suffix(" {"));
        table = opened("table ").unwrap_or(table);
        chain = opened("chain ").unwrap_or(chain);
        if line.contains("hook forward") && line.contains("policy drop") {
            return Some(format!("{table} {chain}"));
        }
    }
    None
}

/// Ports that tables of other instances publish, in the text of `nft list ruleset`.
fn published(rules: &str, own_table: &str) -> BTreeMap<(Ipv4Addr, u16), String> {
    let mut found = BTreeMap::new();
    let mut table = String::new();
    for line in rules.lines() {
        if let Some(rest) = line.strip_prefix("table ip ") {
            rest.trim_end_matches(" {").clone_into(&mut table);
        }
        if !(table == "oaas" || table.starts_with("oaas_")) || table == own_table {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some(at) = words.windows(2).position(|pair| pair == ["tcp", "dport"]) {
            let address = match words.as_slice() {
                ["ip", "daddr", address, ..] => address.parse().ok(),
                ["fib", ..] => Some(Ipv4Addr::UNSPECIFIED),
                _ => None,
            };
            let port = words.get(at + 2).and_then(|port| port.parse().ok());
            if let (Some(address), Some(port)) = (address, port) {
                found.insert((address, port), table.clone());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                    0: 0100007F:7580 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1\n\
                    1: 0100007F:7581 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 4243 1\n";
        assert_eq!(parse_listeners(text), [(Ipv4Addr::LOCALHOST, 30080, 4242)]);
        let six = "head\n0: 00000000000000000000000000000000:0016 0:0 0A 0:0 0:0 0 0 0 7 1\n";
        assert_eq!(parse_listeners(six), [(Ipv4Addr::UNSPECIFIED, 22, 7)]);
    }

    #[test]
    fn links_and_routes_of_iproute2() {
        let text = r#"[{"ifname":"eth0","addr_info":[{"local":"192.0.2.2","prefixlen":24},{"local":"fe80::1","prefixlen":64}]},{"ifname":"x"}]"#;
        assert_eq!(links(text)["eth0"], ["192.0.2.2/24".parse::<Ipv4Net>().unwrap()]);
        assert!(links(text)["x"].is_empty());
        let text = r#"[{"dst":"default","dev":"eth0"},{"dst":"10.87.0.0/24","dev":"br"},{"dst":"10.1.1.1","dev":"y"}]"#;
        let found: Vec<String> = routes(text).iter().map(|(net, link)| format!("{net} {link}")).collect();
        assert_eq!(found, ["10.87.0.0/24 br", "10.1.1.1/32 y"]);
    }

    #[test]
    fn firewalls_are_told_apart() {
        let docker = "table ip filter {\n chain FORWARD {\n  type filter hook forward priority filter; policy drop;\n  jump DOCKER-USER\n }\n}";
        assert_eq!(firewalls(docker, "")[0].tool, Tool::Docker);
        let own = "table inet mine {\n\tchain input {\n\t}\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}";
        let found = &firewalls(own, "")[0];
        assert_eq!((found.tool, found.chain.as_deref()), (Tool::Other, Some("inet mine forward")));
        assert_eq!(firewalls("", "-P FORWARD DROP\n-N ufw-before-forward\n")[0].tool, Tool::Ufw);
        assert_eq!(firewalls("table inet firewalld {\n}", "")[0].tool, Tool::Firewalld);
        assert!(
            firewalls("table ip x { chain y { type filter hook forward priority 0; policy accept; } }", "")
                .is_empty()
        );
    }

    #[test]
    fn ports_of_other_instances() {
        let rules = "table ip oaas {\n\tchain published {\n\t\tip daddr 127.0.0.1 tcp dport 30080 dnat to 10.87.0.11:30080\n\t\tfib daddr type local tcp dport 8443 dnat to 10.87.0.11:30443\n\t}\n}\n";
        assert!(published(rules, "oaas").is_empty());
        let found = published(rules, "oaas_two");
        assert_eq!(found[&(Ipv4Addr::LOCALHOST, 30080)], "oaas");
        assert!(found.contains_key(&(Ipv4Addr::UNSPECIFIED, 8443)));
    }
}
