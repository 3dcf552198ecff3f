//! What is wrong with a declaration, found before anything is touched.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use oaas_feedback::{brief, nearest};

use super::image::checksum;
use super::lookup::find_network;
use super::spec::{Content, Image, Network, NetworkType, Router, Rule, Server, Subnet};

/// One thing that is wrong: where, what, and the nearest right thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where in the declaration, such as `networks[ext-net].subnets[ext-subnet].pools[0]`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where we know.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", brief(&self.path), brief(&self.message))?;
        match &self.hint {
            Some(hint) => write!(formatter, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a declaration.
pub fn check(content: &Content) -> Vec<Problem> {
    let mut checker = Checker { content, problems: Vec::new() };
    checker.people();
    checker.flavors();
    checker.networks();
    for router in &content.routers {
        checker.router(router);
    }
    checker.groups();
    checker.keypairs();
    for image in &content.images {
        checker.image(image);
    }
    checker.unique("images", content.images.iter().map(|image| image.name.clone()));
    for server in &content.servers {
        checker.server(server);
    }
    checker.unique(
        "servers",
        content.servers.iter().map(|server| format!("{}/{}", server.project, server.name)),
    );
    checker.problems
}

struct Checker<'a> {
    content: &'a Content,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn say(&mut self, path: impl Into<String>, message: impl Into<String>, hint: Option<String>) {
        self.problems.push(Problem { path: path.into(), message: message.into(), hint });
    }

    /// Names are there, not too long (Keystone: 64 for domains and projects; elsewhere 255) and not twice.
    fn unique(&mut self, list: &str, names: impl Iterator<Item = String>) {
        let longest = if matches!(list, "domains" | "projects") { 64 } else { 255 };
        let mut seen = BTreeSet::new();
        for name in names {
            let tail = name.rsplit('/').next().unwrap_or_default();
            if tail.trim().is_empty() {
                self.say(list, "a name is empty", None);
            } else if tail.chars().count() > longest {
                self.say(
                    format!("{list}[{name}]"),
                    format!("the name has more than {longest} characters"),
                    None,
                );
            }
            if !seen.insert(name.clone()) {
                let hint = "keep one, or give the other a name of its own";
                self.say(format!("{list}[{name}]"), "it is declared twice", Some(hint.to_owned()));
            }
        }
    }

    fn people(&mut self) {
        let content = self.content;
        self.unique("domains", content.domains.iter().map(|domain| domain.name.clone()));
        self.unique("roles", content.roles.iter().cloned());
        self.unique("projects", content.projects.iter().map(|project| project.name.to_string()));
        self.unique("users", content.users.iter().map(|user| user.name.to_string()));
        self.unique("quotas", content.quotas.iter().map(|quota| quota.project.to_string()));
        let mut seen = BTreeSet::new();
        for role in &content.role_assignments {
            let path = format!("roleAssignments[{} of {}]", role.role, role.user);
            let targets = usize::from(role.project.is_some())
                + usize::from(role.domain.is_some())
                + usize::from(role.system);
            if targets != 1 {
                let message = format!("it has {targets} targets");
                self.say(
                    &path,
                    message,
                    Some("write exactly one of project, domain, system: true".to_owned()),
                );
            }
            if !seen.insert((&role.user, &role.role, &role.project, &role.domain, role.system)) {
                self.say(&path, "it is declared twice", Some("take one out".to_owned()));
            }
        }
        for quota in &content.quotas {
            for (name, limit) in quota.compute.iter().chain(&quota.network) {
                if *limit < -1 {
                    let path = format!("quotas[{}].{name}", quota.project);
                    self.say(path, format!("{limit} is no limit"), Some("-1 means no limit".to_owned()));
                }
            }
        }
    }

    fn flavors(&mut self) {
        let content = self.content;
        self.unique("flavors", content.flavors.iter().map(|flavor| flavor.name.clone()));
        let mut ids = BTreeSet::new();
        for flavor in &content.flavors {
            let path = format!("flavors[{}]", flavor.name);
            if flavor.vcpus == 0 || flavor.ram_mib == 0 {
                self.say(&path, "vcpus and ramMib are at least 1", None);
            }
            if let Some(id) = &flavor.id
                && !ids.insert(id)
            {
                self.say(&path, format!("another flavor has the id {id}, too"), None);
            }
        }
    }

    fn networks(&mut self) {
        let content = self.content;
        self.unique(
            "networks",
            content.networks.iter().map(|network| format!("{}/{}", network.project, network.name)),
        );
        let mut carried = BTreeSet::new();
        for network in &content.networks {
            let path = format!("networks[{}]", network.name);
            if let Some(provider) = &network.provider {
                let tag = provider.segmentation_id;
                match provider.network_type {
                    NetworkType::Vlan if !tag.is_some_and(|tag| (1..=4094).contains(&tag)) => {
                        self.say(
                            &path,
                            "a vlan network needs a segmentationId",
                            Some("1 to 4094".to_owned()),
                        );
                    }
                    NetworkType::Flat if tag.is_some() => {
                        let hint = "take segmentationId out, or write networkType: vlan";
                        self.say(&path, "a flat network has no segmentationId", Some(hint.to_owned()));
                    }
                    _ => {}
                }
                if !carried.insert((&provider.physical_network, tag)) {
                    let tag = tag.map_or_else(|| "untagged".to_owned(), |tag| format!("VLAN {tag}"));
                    let message = format!("another network is {tag} on {}, too", provider.physical_network);
                    self.say(&path, message, Some("give one of them a VLAN of its own".to_owned()));
                }
            }
            self.unique(&format!("{path}.subnets"), network.subnets.iter().map(|subnet| subnet.name.clone()));
            self.subnets(network, &path);
        }
    }

    fn subnets(&mut self, network: &Network, path: &str) {
        let mut ranges: Vec<(&str, IpNet)> = Vec::new();
        for subnet in &network.subnets {
            let path = format!("{path}.subnets[{}]", subnet.name);
            let Ok(range) = subnet.cidr.parse::<IpNet>() else {
                let hint = "write it like 172.16.0.0/24".to_owned();
                self.say(
                    format!("{path}.cidr"),
                    format!("{} is not a range of addresses", subnet.cidr),
                    Some(hint),
                );
                continue;
            };
            if range.trunc() != range {
                let hint = format!("write {}", range.trunc());
                self.say(
                    format!("{path}.cidr"),
                    format!("{} has bits beyond its prefix", subnet.cidr),
                    Some(hint),
                );
            }
            if let Some((other, _)) = ranges.iter().find(|(_, other)| overlap(other, &range)) {
                self.say(
                    format!("{path}.cidr"),
                    format!("{range} overlaps subnet {other} of the same network"),
                    None,
                );
            }
            ranges.push((&subnet.name, range));
            self.addresses(subnet, &range, &path);
        }
    }

    fn addresses(&mut self, subnet: &Subnet, range: &IpNet, path: &str) {
        let inside = |address: &IpAddr| range.contains(address);
        if let Some(gateway) = subnet.gateway
            && !inside(&gateway)
        {
            let hint = range.hosts().next().map(|first| format!("the first address is {first}"));
            self.say(format!("{path}.gateway"), format!("{gateway} is outside {range}"), hint);
        }
        let mut earlier: Vec<(IpAddr, IpAddr)> = Vec::new();
        for (index, pool) in subnet.pools.iter().enumerate() {
            let path = format!("{path}.pools[{index}]");
            for address in [pool.start, pool.end] {
                if !inside(&address) {
                    self.say(&path, format!("{address} is outside {range}"), None);
                }
            }
            if pool.start > pool.end {
                let hint = format!("write start {} and end {}", pool.end, pool.start);
                self.say(&path, format!("{} comes after {}", pool.start, pool.end), Some(hint));
            }
            if subnet.gateway.is_some_and(|gateway| (pool.start..=pool.end).contains(&gateway)) {
                self.say(
                    &path,
                    "the gateway's address is in it",
                    Some("leave the gateway out of the pool".to_owned()),
                );
            }
            if earlier.iter().any(|(start, end)| pool.start <= *end && *start <= pool.end) {
                self.say(&path, "it overlaps another pool", None);
            }
            earlier.push((pool.start, pool.end));
        }
        let v6 = matches!(range, IpNet::V6(_));
        if subnet.ipv6_mode.is_some() && !v6 {
            self.say(path, "ipv6Mode is for IPv6 ranges", Some("take it out".to_owned()));
        }
    }

    fn router(&mut self, router: &Router) {
        let content = self.content;
        let path = format!("routers[{}]", router.name);
        if content
            .routers
            .iter()
            .filter(|other| other.name == router.name && other.project == router.project)
            .count()
            > 1
        {
            self.say(&path, "it is declared twice", None);
        }
        let mut ranges: Vec<(String, IpNet)> = Vec::new();
        if let Some(name) = &router.gateway {
            match find_network(content, name, &router.project) {
                None => self.unknown(format!("{path}.gateway"), "network", name, &self.network_names()),
                Some(network) if !network.external => {
                    let hint = "write external: true there, or name an external network";
                    self.say(
                        format!("{path}.gateway"),
                        format!("network {name} is not external"),
                        Some(hint.to_owned()),
                    );
                }
                Some(network) => {
                    let parsed = network
                        .subnets
                        .iter()
                        .filter_map(|subnet| Some((name.clone(), subnet.cidr.parse().ok()?)));
                    ranges.extend(parsed);
                }
            }
        }
        for (index, interface) in router.interfaces.iter().enumerate() {
            let path = format!("{path}.interfaces[{index}]");
            let found = interface.split_once('/').and_then(|(network, subnet)| {
                let network = find_network(content, network, &router.project)?;
                network.subnets.iter().find(|declared| declared.name == subnet)
            });
            let Some(subnet) = found else {
                let named = content.networks.iter().flat_map(|network| {
                    network.subnets.iter().map(move |subnet| format!("{}/{}", network.name, subnet.name))
                });
                self.unknown(path, "subnet", interface, &named.collect::<Vec<_>>());
                continue;
            };
            let Ok(range) = subnet.cidr.parse::<IpNet>() else { continue };
            if let Some((other, _)) = ranges.iter().find(|(_, other)| overlap(other, &range)) {
                self.say(path, format!("{range} overlaps {other} on the same router"), None);
            }
            ranges.push((interface.clone(), range));
        }
    }

    fn groups(&mut self) {
        let content = self.content;
        self.unique(
            "securityGroups",
            content.security_groups.iter().map(|group| format!("{}/{}", group.project, group.name)),
        );
        for group in &content.security_groups {
            let mut seen = BTreeSet::new();
            for (index, rule) in group.rules.iter().enumerate() {
                let path = format!("securityGroups[{}].rules[{index}]", group.name);
                if !seen.insert(rule) {
                    self.say(&path, "the rule is there twice", Some("take one out".to_owned()));
                }
                self.rule(rule, &path);
            }
        }
    }

    fn rule(&mut self, rule: &Rule, path: &str) {
        if let Some(remote) = &rule.remote {
            match remote.parse::<IpNet>() {
                Err(_) => {
                    let hint = "write it like 0.0.0.0/0".to_owned();
                    self.say(
                        format!("{path}.remote"),
                        format!("{remote} is not a range of addresses"),
                        Some(hint),
                    );
                }
                Ok(range) if range.trunc().to_string() != *remote => {
                    let hint = format!("write {}", range.trunc());
                    self.say(
                        format!("{path}.remote"),
                        format!("{remote} is not in its plain form"),
                        Some(hint),
                    );
                }
                Ok(_) => {}
            }
        }
        let with_ports =
            matches!(rule.protocol.as_deref(), Some("tcp" | "udp" | "sctp" | "dccp" | "udplite"));
        if rule.port.is_some() && !with_ports {
            let hint = "write protocol: tcp or udp".to_owned();
            self.say(format!("{path}.port"), "only tcp, udp, sctp, dccp and udplite have ports", Some(hint));
        }
        match (rule.port, rule.port_end) {
            (None, Some(_)) => self.say(format!("{path}.portEnd"), "there is no port before it", None),
            (Some(first), Some(last)) if last < first => {
                self.say(format!("{path}.portEnd"), format!("{last} comes before {first}"), None);
            }
            _ => {}
        }
    }

    fn keypairs(&mut self) {
        let content = self.content;
        self.unique("keypairs", content.keypairs.iter().map(|pair| format!("{}/{}", pair.user, pair.name)));
        for pair in &content.keypairs {
            let path = format!("keypairs[{}]", pair.name);
            if pair.public_key.is_some() && pair.public_key_secret_ref.is_some() {
                self.say(
                    &path,
                    "it has publicKey and publicKeySecretRef",
                    Some("keep one of them".to_owned()),
                );
            }
            if pair.public_key.as_ref().is_some_and(|key| key.contains("PRIVATE KEY")) {
                let hint = "write the line of the .pub file; and take this key as known to others".to_owned();
                self.say(format!("{path}.publicKey"), "it is a private key", Some(hint));
            } else if pair.public_key.as_ref().is_some_and(|key| key.split_whitespace().count() < 2) {
                let hint = "write one line such as ssh-ed25519 AAAA… name".to_owned();
                self.say(format!("{path}.publicKey"), "it is not an SSH public key", Some(hint));
            }
        }
    }

    fn image(&mut self, image: &Image) {
        let path = format!("images[{}]", image.name);
        match (&image.file, &image.url) {
            (None, None) => self.say(&path, "it has no source", Some("write file or url".to_owned())),
            (Some(_), Some(_)) => {
                self.say(&path, "it has two sources", Some("write file or url, not both".to_owned()));
            }
            (None, Some(url)) => {
                if !url.starts_with("http://") && !url.starts_with("https://") {
                    let hint = "write http:// or https://, or use file".to_owned();
                    self.say(format!("{path}.url"), "it is not an http or https address", Some(hint));
                }
                if image.checksum.is_none() {
                    let hint = "write checksum: sha256:HEX, as the publisher of the image has it".to_owned();
                    self.say(&path, "an image from a url needs a checksum", Some(hint));
                }
            }
            (Some(file), None) if !file.starts_with('/') => {
                self.say(format!("{path}.file"), "it is not an absolute path", None);
            }
            (Some(_), None) => {}
        }
        if let Some(text) = &image.checksum
            && let Err(what) = checksum(text)
        {
            self.say(format!("{path}.checksum"), what, Some("write sha256:HEX or sha512:HEX".to_owned()));
        }
        // Names that Glance has for itself, beside those that the declaration has fields for.
        let taken = [
            "name",
            "id",
            "owner",
            "status",
            "visibility",
            "tags",
            "min_disk",
            "min_ram",
            "disk_format",
            "container_format",
            "os_hidden",
            "protected",
            "size",
            "checksum",
            "os_hash_value",
            "os_hash_algo",
        ];
        for name in image.properties.keys().filter(|name| taken.contains(&name.as_str())) {
            self.say(
                format!("{path}.properties.{name}"),
                "it is not a property but a field of the image",
                None,
            );
        }
    }

    fn server(&mut self, server: &Server) {
        let content = self.content;
        let path = format!("servers[{}]", server.name);
        let flavors: Vec<String> = content.flavors.iter().map(|flavor| flavor.name.clone()).collect();
        let images: Vec<String> = content.images.iter().map(|image| image.name.clone()).collect();
        let users: Vec<String> = content.users.iter().map(|user| user.name.to_string()).collect();
        let user = server.user.to_string();
        for (field, kind, name, names) in [
            ("flavor", "flavor", &server.flavor, &flavors),
            ("image", "image", &server.image, &images),
            ("user", "user", &user, &users),
        ] {
            if !names.contains(name) {
                self.unknown(format!("{path}.{field}"), kind, name, names);
            }
        }
        if let Some(keypair) = &server.keypair {
            let pairs =
                content.keypairs.iter().filter(|pair| pair.user == server.user).map(|pair| pair.name.clone());
            let pairs: Vec<String> = pairs.collect();
            if !pairs.contains(keypair) {
                self.unknown(format!("{path}.keypair"), "keypair of this user", keypair, &pairs);
            }
        }
        if server.networks.is_empty() {
            self.say(format!("{path}.networks"), "a server needs a network", None);
        }
        for name in &server.networks {
            if find_network(content, name, &server.project).is_none() {
                self.unknown(format!("{path}.networks"), "network", name, &self.network_names());
            }
        }
        if let Some(name) = &server.floating_ip_from
            && !find_network(content, name, &server.project).is_some_and(|network| network.external)
        {
            let external = content
                .networks
                .iter()
                .filter(|network| network.external)
                .map(|network| network.name.clone());
            self.unknown(
                format!("{path}.floatingIpFrom"),
                "external network",
                name,
                &external.collect::<Vec<_>>(),
            );
        }
        if server.user_data.as_ref().is_some_and(|text| text.len().div_ceil(3) * 4 > 65535) {
            // Compute API: user_data has at most 65535 characters of base64.
            self.say(format!("{path}.userData"), "it is longer than 49149 bytes", None);
        }
    }

    fn network_names(&self) -> Vec<String> {
        self.content.networks.iter().map(|network| network.name.clone()).collect()
    }

    fn unknown(&mut self, path: String, kind: &str, name: &str, names: &[String]) {
        let hint = match nearest(name, names) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None if names.is_empty() => "declare it in the same content".to_owned(),
            None => format!("there are {}", names.join(", ")),
        };
        self.say(path, format!("there is no {kind} {name}"), Some(hint));
    }
}

fn overlap(left: &IpNet, right: &IpNet) -> bool {
    left.contains(right) || right.contains(left)
}

#[cfg(test)]
mod tests;
