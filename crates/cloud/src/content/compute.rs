//! Flavors, keypairs and servers as items.
//!
//! Source: Compute API v2.1 (api-ref of nova): "Flavors", "Flavors extra-specs", "Keypairs", "Servers"; Networking API
//! v2.0: "Ports", "Floating IPs".

use std::collections::BTreeSet;

use base64::Engine;
use serde_json::json;

use super::given::Given;
use super::image::image_key;
use super::lookup::{exact_pattern, find_network, login_needs};
use super::network::{interface_key, network_key, subnet_key};
use super::spec::{Content, Flavor, Keypair, Server};
use crate::MARKER;
use crate::engine::{
    Absent, Actor, CallTemplate, Correction, Fields, Fixed, Gate, Item, Judge, Key, Kind, Look, Method,
    Piece, Shape, Step, Template, fields, id_of,
};
use crate::identity::{Builder, bare};
use crate::service::Service;

fn call<const N: usize>(service: Service, method: Method, path: [Piece; N]) -> CallTemplate {
    CallTemplate::new(service, method, path)
}

fn flavor_key(name: &str) -> Key {
    Key::new(Kind::Flavor, [name])
}

fn keypair_key(user: &str, name: &str) -> Key {
    Key::new(Kind::Keypair, [user, name])
}

/// A flavor. Nova cannot change one: when ours differs, it is deleted and made anew under the same id; servers carry
/// a copy of the flavor that they were made with.
pub(super) fn flavor(flavor: &Flavor) -> Item {
    let key = flavor_key(&flavor.name);
    let mut size = fields([
        ("ram", flavor.ram_mib.into()),
        ("vcpus", flavor.vcpus.into()),
        ("disk", flavor.disk_gib.into()),
        ("os-flavor-access:is_public", flavor.public.into()),
    ]);
    if let Some(gib) = flavor.ephemeral_gib {
        size.insert("OS-FLV-EXT-DATA:ephemeral".to_owned(), gib.into());
    }
    let mut initial = size.clone();
    let mut fixed = size;
    if let Some(mib) = flavor.swap_mib {
        initial.insert("swap".to_owned(), mib.into());
        // Before microversion 2.75 no swap is shown as an empty string.
        fixed.insert("swap".to_owned(), if mib == 0 { "".into() } else { mib.into() });
    }
    if let Some(id) = &flavor.id {
        fixed.insert("id".to_owned(), id.as_str().into());
    }
    // Without an id Nova makes one; "auto" is a word of its command line only.
    if let Some(id) = &flavor.id {
        initial.insert("id".to_owned(), id.as_str().into());
    }
    initial.insert("name".to_owned(), flavor.name.as_str().into());
    initial.insert("description".to_owned(), MARKER.into());

    let own = |rest: &str| [Piece::from("/v2.1/flavors/"), Piece::from(&key), Piece::from(rest)];
    let post = call(Service::Compute, Method::Post, ["/v2.1/flavors".into()])
        .body(Shape::Wrapped("flavor"), initial);
    let mut steps = vec![Step::Call { call: post, id: Some("/flavor/id".to_owned()) }];
    let mut declared = Vec::new();
    if !flavor.extra_specs.is_empty() {
        let specs: Fields =
            flavor.extra_specs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let specs = fields([("extra_specs", Template::Map(specs))]);
        let set = call(Service::Compute, Method::Post, own("/os-extra_specs"));
        steps.push(Step::Call { call: set.clone().body(Shape::Bare, specs.clone()), id: None });
        declared.push(Correction { fields: specs, call: set, shape: Shape::Bare });
    }
    let look =
        call(Service::Compute, Method::Get, ["/v2.1/flavors/detail".into()]).query("is_public", "None");
    Item {
        look: Look::List { call: look, field: "flavors", inner: None },
        identify: vec![fields([("name", flavor.name.as_str().into())])],
        fixed: Fixed { fields: fixed, replace: Some(call(Service::Compute, Method::Delete, own(""))) },
        declared,
        absent: Absent::Create(steps),
        facts: vec![("id", "/id".into())],
        ..bare(key.clone())
    }
}

/// A keypair. An administrator may make one for another user (`user_id`, microversion 2.10). Keypairs carry no mark:
/// one with another key is replaced only when a ledger says that it is ours.
pub(super) fn keypair(keypair: &Keypair, given: &Given, builder: &mut Builder) {
    let user = builder.user_ref(&keypair.user);
    let key = keypair_key(&keypair.user.to_string(), &keypair.name);
    let of_given = || given.public_keys.get(&(keypair.user.clone(), keypair.name.clone()));
    let public_key = keypair.public_key.as_ref().or_else(of_given).map(|key| key.trim().to_owned());
    let look = call(Service::Compute, Method::Get, ["/v2.1/os-keypairs".into()]).query("user_id", &user);
    let mut item = Item {
        look: Look::List { call: look, field: "keypairs", inner: Some("keypair") },
        identify: vec![fields([("name", keypair.name.as_str().into())])],
        id: "/name",
        absent: Absent::Wait("its public key was not given".to_owned()),
        facts: vec![("fingerprint", "/fingerprint".into())],
        ..bare(key)
    };
    if let Some(public_key) = public_key {
        let fixed = fields([("public_key", public_key.as_str().into())]);
        let initial = fields([
            ("name", keypair.name.as_str().into()),
            ("type", "ssh".into()),
            ("public_key", public_key.as_str().into()),
            ("user_id", id_of(&user)),
        ]);
        let post = call(Service::Compute, Method::Post, ["/v2.1/os-keypairs".into()])
            .body(Shape::Wrapped("keypair"), initial);
        let path = format!("/v2.1/os-keypairs/{}", keypair.name);
        let delete = call(Service::Compute, Method::Delete, [path.into()]).query("user_id", &user);
        item.fixed = Fixed { fields: fixed, replace: Some(delete) };
        item.absent = Absent::Create(vec![Step::Call { call: post, id: Some("/keypair/name".to_owned()) }]);
    }
    builder.push(item);
}

/// A server, its port, and its floating IP.
pub(super) fn server(server: &Server, content: &Content, builder: &mut Builder) {
    let project = builder.project_ref(&server.project);
    let key = Key::new(Kind::Server, [server.project.to_string(), server.name.clone()]);
    let networks: Vec<_> =
        server.networks.iter().filter_map(|name| find_network(content, name, &server.project)).collect();

    let nics = networks.iter().map(|network| Template::Map(fields([("uuid", id_of(&network_key(network)))])));
    let mut initial = fields([
        ("name", server.name.as_str().into()),
        ("flavorRef", id_of(&flavor_key(&server.flavor))),
        ("imageRef", id_of(&image_key(&server.image))),
        ("networks", Template::List(nics.collect())),
        ("metadata", json!({"managed-by": "oaas"}).into()),
    ]);
    let mut needs = login_needs(content, &server.user, &server.project);
    for network in &networks {
        needs.extend(network.subnets.iter().map(|subnet| subnet_key(network, &subnet.name)));
    }
    if let Some(name) = &server.keypair {
        initial.insert("key_name".to_owned(), name.as_str().into());
        needs.insert(keypair_key(&server.user.to_string(), name));
    }
    if !server.security_groups.is_empty() {
        let groups: Vec<_> = server.security_groups.iter().map(|name| json!({"name": name})).collect();
        initial.insert("security_groups".to_owned(), json!(groups).into());
    }
    if let Some(text) = &server.user_data {
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        initial.insert("user_data".to_owned(), encoded.into());
    }
    if let Some(drive) = server.config_drive {
        initial.insert("config_drive".to_owned(), drive.into());
    }
    if let Some(zone) = &server.availability_zone {
        initial.insert("availability_zone".to_owned(), zone.as_str().into());
    }
    let flavor = content.flavors.iter().find(|flavor| flavor.name == server.flavor);
    let gate = flavor.map(|flavor| Gate::Room {
        vcpus: flavor.vcpus,
        ram_mib: flavor.ram_mib,
        disk_gib: flavor.disk_gib
            + flavor.ephemeral_gib.unwrap_or(0)
            + flavor.swap_mib.unwrap_or(0).div_ceil(1024),
    });
    let create = call(Service::Compute, Method::Post, ["/v2.1/servers".into()])
        .body(Shape::Wrapped("server"), initial);
    let look = call(Service::Compute, Method::Get, ["/v2.1/servers/detail".into()])
        .query("name", exact_pattern(&server.name));
    // Nova lists the fixed addresses of a network before its floating ones (`ViewBuilder.index` of its addresses).
    let address = networks.first().map(|network| {
        let name = network.name.replace('~', "~0").replace('/', "~1");
        ("address", format!("/addresses/{name}/0/addr").into())
    });
    builder.push(Item {
        actor: Actor::User { user: server.user.clone(), project: server.project.clone() },
        needs,
        gates: gate.into_iter().collect(),
        look: Look::List { call: look, field: "servers", inner: None },
        identify: vec![fields([("name", server.name.as_str().into())])],
        absent: Absent::Create(vec![Step::Call { call: create, id: Some("/server/id".to_owned()) }]),
        judge: Judge::Server,
        facts: [("id", "/id".into()), ("status", "/status".into())].into_iter().chain(address).collect(),
        ..bare(key.clone())
    });
    if let (Some(external), Some(network)) = (&server.floating_ip_from, networks.first())
        && let Some(external) = find_network(content, external, &server.project)
    {
        let port =
            Key::new(Kind::Port, [server.project.to_string(), server.name.clone(), network.name.clone()]);
        let look = call(Service::Network, Method::Get, ["/v2.0/ports".into()])
            .query("device_id", &key)
            .query("network_id", &network_key(network));
        builder.push(Item {
            look: Look::List { call: look, field: "ports", inner: None },
            absent: Absent::Wait(format!("server {} has no port on {} yet", server.name, network.name)),
            facts: vec![("address", "/fixed_ips/0/ip_address".into()), ("host", "/binding:host_id".into())],
            ..bare(port.clone())
        });
        let legs = content.routers.iter().flat_map(|router| {
            let prefix = format!("{}/", network.name);
            router
                .interfaces
                .iter()
                .filter(move |leg| leg.starts_with(&prefix))
                .map(move |leg| interface_key(router, leg))
        });
        builder.push(floating_ip(server, &port, &network_key(external), &project, legs.collect()));
    }
}

/// A floating IP at a server's port: the one that is there, else one of ours that is free, else a new one.
fn floating_ip(server: &Server, port: &Key, external: &Key, project: &Key, legs: BTreeSet<Key>) -> Item {
    let key = Key::new(Kind::FloatingIp, [server.project.to_string(), server.name.clone()]);
    let text = format!("of server {} ({MARKER})", server.name);
    let here = fields([("port_id", id_of(port))]);
    let free = fields([
        ("floating_network_id", id_of(external)),
        ("description", text.as_str().into()),
        ("port_id", serde_json::Value::Null.into()),
    ]);
    let mut initial = free.clone();
    initial.extend(here.clone());
    initial.insert("project_id".to_owned(), id_of(project));
    let create = call(Service::Network, Method::Post, ["/v2.0/floatingips".into()])
        .body(Shape::Wrapped("floatingip"), initial);
    let put = call(Service::Network, Method::Put, ["/v2.0/floatingips/".into(), Piece::from(&key)]);
    let look = call(Service::Network, Method::Get, ["/v2.0/floatingips".into()]).query("project_id", project);
    Item {
        // Neutron refuses one for a network that no router connects.
        needs: legs,
        look: Look::List { call: look, field: "floatingips", inner: None },
        identify: vec![here.clone(), free],
        declared: vec![Correction { fields: here, call: put, shape: Shape::Wrapped("floatingip") }],
        absent: Absent::Create(vec![Step::Call { call: create, id: Some("/floatingip/id".to_owned()) }]),
        facts: vec![("id", "/id".into()), ("address", "/floating_ip_address".into())],
        ..bare(key)
    }
}
