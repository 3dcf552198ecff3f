//! Networks, routers and security groups as items.
//!
//! Source: Networking API v2.0 (api-ref of neutron-lib). Names are not unique there; what carries our mark goes before
//! what does not.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::lookup::find_network;
use super::spec::{Content, Direction, Ipv6Mode, Network, NetworkType, Router, Rule, SecurityGroup, Subnet};
use crate::MARKER;
use crate::engine::{
    Absent, CallTemplate, Correction, Fields, Fixed, Item, Key, Kind, Look, Method, Piece, Shape, Step,
    Template, fields, id_of,
};
use crate::identity::{Builder, bare};
use crate::service::Service;

pub(super) fn network_key(network: &Network) -> Key {
    Key::new(Kind::Network, [network.project.to_string(), network.name.clone()])
}

pub(super) fn subnet_key(network: &Network, subnet: &str) -> Key {
    Key::new(Kind::Subnet, [network.project.to_string(), network.name.clone(), subnet.to_owned()])
}

pub(super) fn interface_key(router: &Router, subnet: &str) -> Key {
    Key::new(Kind::RouterInterface, [router.project.to_string(), router.name.clone(), subnet.to_owned()])
}

/// Where things of one kind are in the API.
struct Rest {
    path: &'static str,
    plural: &'static str,
    singular: &'static str,
}

fn call<const N: usize>(method: Method, path: [Piece; N]) -> CallTemplate {
    CallTemplate::new(Service::Network, method, path)
}

/// A thing with the usual collection: POST to create, PUT to change.
fn simple(
    key: Key,
    rest: &Rest,
    look: CallTemplate,
    identify: Vec<Fields>,
    initial: Fields,
    declared: Fields,
) -> Item {
    let put = call(Method::Put, [format!("{}/", rest.path).into(), Piece::from(&key)]);
    let declared = if declared.is_empty() {
        Vec::new()
    } else {
        vec![Correction { fields: declared, call: put, shape: Shape::Wrapped(rest.singular) }]
    };
    let post = call(Method::Post, [rest.path.into()]).body(Shape::Wrapped(rest.singular), initial);
    Item {
        look: Look::List { call: look, field: rest.plural, inner: None },
        identify,
        declared,
        absent: Absent::Create(vec![Step::Call { call: post, id: Some(format!("/{}/id", rest.singular)) }]),
        facts: vec![("id", "/id".into())],
        ..bare(key)
    }
}

fn delete(rest: &Rest, key: &Key) -> CallTemplate {
    call(Method::Delete, [format!("{}/", rest.path).into(), Piece::from(key)])
}

fn with_mark(identify: &Fields) -> Vec<Fields> {
    let mut marked = identify.clone();
    marked.insert("description".to_owned(), Template::Mentions(MARKER.to_owned()));
    vec![marked, identify.clone()]
}

pub(super) fn network(network: &Network, builder: &mut Builder) {
    let project = builder.project_ref(&network.project);
    let rest = Rest { path: "/v2.0/networks", plural: "networks", singular: "network" };
    let key = network_key(network);
    let name = Template::from(network.name.as_str());
    let identify = fields([("name", name), ("project_id", id_of(&project))]);
    let mut declared =
        fields([("shared", network.shared.into()), ("router:external", network.external.into())]);
    if let Some(mtu) = network.mtu {
        declared.insert("mtu".to_owned(), mtu.into());
    }
    let mut fixed = Fields::new();
    if let Some(provider) = &network.provider {
        let kind = match provider.network_type {
            NetworkType::Flat => "flat",
            NetworkType::Vlan => "vlan",
        };
        fixed.insert("provider:network_type".to_owned(), kind.into());
        fixed.insert("provider:physical_network".to_owned(), provider.physical_network.as_str().into());
        if let Some(id) = provider.segmentation_id {
            fixed.insert("provider:segmentation_id".to_owned(), id.into());
        }
    }
    let mut initial = identify.clone();
    initial.extend(declared.clone());
    initial.extend(fixed.clone());
    initial.insert("description".to_owned(), MARKER.into());
    let look = call(Method::Get, [rest.path.into()]).query("name", network.name.as_str());
    let item = simple(key, &rest, look, with_mark(&identify), initial, declared);
    let sole = Some(delete(&rest, &item.key));
    builder.push(Item { fixed: Fixed { fields: fixed, replace: None }, sole, ..item });
    for subnet in &network.subnets {
        builder.push(self::subnet(network, subnet, &project));
    }
}

fn subnet(network: &Network, subnet: &Subnet, project: &Key) -> Item {
    let rest = Rest { path: "/v2.0/subnets", plural: "subnets", singular: "subnet" };
    let of_network = id_of(&network_key(network));
    let by_name = fields([("network_id", of_network.clone()), ("name", subnet.name.as_str().into())]);
    // `check` has parsed it.
    let range = subnet.cidr.parse::<ipnet::IpNet>().map(|range| range.trunc());
    let cidr = range.map_or_else(|_| subnet.cidr.clone(), |range| range.to_string());
    let version = if cidr.contains(':') { 6 } else { 4 };
    let by_cidr = fields([("network_id", of_network), ("cidr", cidr.as_str().into())]);

    let mut declared = fields([("enable_dhcp", subnet.dhcp.into())]);
    if let Some(gateway) = subnet.gateway {
        declared.insert("gateway_ip".to_owned(), gateway.to_string().into());
    }
    if !subnet.dns.is_empty() {
        let servers: Vec<String> = subnet.dns.iter().map(IpAddr::to_string).collect();
        declared.insert("dns_nameservers".to_owned(), json!(servers).into());
    }
    if !subnet.pools.is_empty() {
        let pools = subnet.pools.iter().map(|pool| json!({"start": pool.start, "end": pool.end}));
        declared.insert("allocation_pools".to_owned(), Value::Array(pools.collect()).into());
    }
    let mut fixed = fields([("cidr", cidr.as_str().into()), ("ip_version", version.into())]);
    if let Some(mode) = subnet.ipv6_mode {
        let mode = match mode {
            Ipv6Mode::Slaac => "slaac",
            Ipv6Mode::Dhcpv6Stateless => "dhcpv6-stateless",
            Ipv6Mode::Dhcpv6Stateful => "dhcpv6-stateful",
        };
        fixed.insert("ipv6_ra_mode".to_owned(), mode.into());
        fixed.insert("ipv6_address_mode".to_owned(), mode.into());
    }
    let mut initial = by_name.clone();
    initial.extend(declared.clone());
    initial.extend(fixed.clone());
    initial.insert("project_id".to_owned(), id_of(project));
    initial.insert("description".to_owned(), MARKER.into());
    let look = call(Method::Get, [rest.path.into()]).query("network_id", &network_key(network));
    let item =
        simple(subnet_key(network, &subnet.name), &rest, look, vec![by_name, by_cidr], initial, declared);
    Item { fixed: Fixed { fields: fixed, replace: None }, ..item }
}

pub(super) fn router(router: &Router, content: &Content, builder: &mut Builder) {
    let project = builder.project_ref(&router.project);
    let rest = Rest { path: "/v2.0/routers", plural: "routers", singular: "router" };
    let key = Key::new(Kind::Router, [router.project.to_string(), router.name.clone()]);
    let identify = fields([("name", router.name.as_str().into()), ("project_id", id_of(&project))]);
    let mut declared = Fields::new();
    let gateway = router.gateway.as_ref().and_then(|name| find_network(content, name, &router.project));
    if let Some(network) = gateway {
        let mut gateway = fields([("network_id", id_of(&network_key(network)))]);
        if let Some(snat) = router.snat {
            gateway.insert("enable_snat".to_owned(), snat.into());
        }
        declared.insert("external_gateway_info".to_owned(), Template::Map(gateway));
    }
    let mut initial = identify.clone();
    initial.extend(declared.clone());
    initial.insert("description".to_owned(), MARKER.into());
    let look = call(Method::Get, [rest.path.into()]).query("name", router.name.as_str());
    let mut item = simple(key.clone(), &rest, look, with_mark(&identify), initial, declared);
    // A gateway gets its address from a subnet of the external network.
    let subnets =
        gateway.into_iter().flat_map(|network| network.subnets.iter().map(move |subnet| (network, subnet)));
    item.needs.extend(subnets.map(|(network, subnet)| subnet_key(network, &subnet.name)));
    item.sole = Some(delete(&rest, &key));
    item.facts.push(("address", "/external_gateway_info/external_fixed_ips/0/ip_address".into()));
    builder.push(item);
    for interface in &router.interfaces {
        let Some((network, subnet)) = interface.split_once('/') else { continue };
        let Some(network) = find_network(content, network, &router.project) else { continue };
        builder.push(router_interface(router, &key, interface, &subnet_key(network, subnet)));
    }
}

fn router_interface(router: &Router, router_key: &Key, name: &str, subnet: &Key) -> Item {
    let leg = Template::Has(Box::new(Template::Map(fields([("subnet_id", id_of(subnet))]))));
    // Owners are network:router_interface and its kinds for distributed and highly available routers; the gateway's
    // port is network:router_gateway.
    let owner = Template::Mentions("interface".to_owned());
    let put =
        call(Method::Put, ["/v2.0/routers/".into(), Piece::from(router_key), "/add_router_interface".into()])
            .body(Shape::Bare, fields([("subnet_id", id_of(subnet))]));
    let look = call(Method::Get, ["/v2.0/ports".into()]).query("device_id", router_key);
    Item {
        look: Look::List { call: look, field: "ports", inner: None },
        identify: vec![fields([("device_owner", owner), ("fixed_ips", leg)])],
        absent: Absent::Create(vec![Step::Call { call: put, id: Some("/port_id".to_owned()) }]),
        ..bare(interface_key(router, name))
    }
}

pub(super) fn security_group(group: &SecurityGroup, builder: &mut Builder) {
    let project = builder.project_ref(&group.project);
    let rest = Rest { path: "/v2.0/security-groups", plural: "security_groups", singular: "security_group" };
    let key = Key::new(Kind::SecurityGroup, [group.project.to_string(), group.name.clone()]);
    let identify = fields([("name", group.name.as_str().into()), ("project_id", id_of(&project))]);
    let mut initial = identify.clone();
    initial.insert("description".to_owned(), MARKER.into());
    // Asking for the groups of a project makes Neutron create its default group.
    let look = call(Method::Get, [rest.path.into()]).query("project_id", &project);
    let mut item = simple(key.clone(), &rest, look, vec![identify], initial, Fields::new());
    if group.name == "default" {
        item.absent = Absent::Wait("Neutron has not made the default group of the project yet".to_owned());
    } else {
        item.sole = Some(delete(&rest, &key));
    }
    builder.push(item);
    for rule in &group.rules {
        builder.push(self::rule(group, rule, &key, &project));
    }
}

/// A rule in words, which also is its name.
fn words(rule: &Rule) -> String {
    let direction = match rule.direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    };
    let protocol = rule.protocol.as_deref().unwrap_or("any");
    let ports = match (rule.port, rule.port_end) {
        (Some(first), Some(last)) if first != last => format!(" {first}-{last}"),
        (Some(port), _) => format!(" {port}"),
        (None, _) => String::new(),
    };
    let remote = rule.remote.as_deref().unwrap_or("0.0.0.0/0");
    format!("{direction} {protocol}{ports} {remote}")
}

fn rule(group: &SecurityGroup, rule: &Rule, group_key: &Key, project: &Key) -> Item {
    let rest = Rest {
        path: "/v2.0/security-group-rules",
        plural: "security_group_rules",
        singular: "security_group_rule",
    };
    let remote = rule.remote.as_deref().unwrap_or("0.0.0.0/0");
    let direction = match rule.direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    };
    let null = || Template::Value(Value::Null);
    let protocol = rule.protocol.as_ref().map_or_else(null, |protocol| protocol.to_lowercase().into());
    let last = rule.port_end.or(rule.port);
    let identify = fields([
        ("direction", direction.into()),
        ("ethertype", if remote.contains(':') { "IPv6" } else { "IPv4" }.into()),
        ("protocol", protocol),
        ("port_range_min", rule.port.map_or_else(null, Template::from)),
        ("port_range_max", last.map_or_else(null, Template::from)),
        ("remote_ip_prefix", remote.into()),
        ("remote_group_id", null()),
    ]);
    let mut alternatives = vec![identify.clone()];
    if matches!(remote, "0.0.0.0/0" | "::/0") {
        // No prefix and the prefix of everything are the same to Neutron, which refuses the second as there already.
        let mut anywhere = identify.clone();
        anywhere.insert("remote_ip_prefix".to_owned(), null());
        alternatives.push(anywhere);
    }
    let mut initial: Fields = identify.into_iter().filter(|(_, value)| *value != null()).collect();
    initial.insert("security_group_id".to_owned(), id_of(group_key));
    initial.insert("project_id".to_owned(), id_of(project));
    initial.insert("description".to_owned(), MARKER.into());
    let key = Key::new(Kind::SecurityGroupRule, [group.project.to_string(), group.name.clone(), words(rule)]);
    let look = call(Method::Get, [rest.path.into()]).query("security_group_id", group_key);
    let item = simple(key, &rest, look, alternatives, initial, Fields::new());
    Item { conflict_is_presence: true, ..item }
}
