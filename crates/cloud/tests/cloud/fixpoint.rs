//! Whatever happens to a cloud, passes bring it back to what is declared.

use std::collections::BTreeMap;

use oaas_cloud::content::demo;
use oaas_cloud::content::spec::{Content, Flavor};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::keeping::{Local, of, settle};

/// Something that happens to a cloud.
#[derive(Debug, Clone)]
enum Event {
    /// Somebody removes one of ours.
    Remove(&'static str, usize),
    /// Somebody changes a declared field.
    Change(&'static str, &'static str, usize),
    /// Somebody has something of their own.
    Foreign(&'static str, u8),
    /// Somebody changes the password.
    Password,
}

const REMOVABLE: [&str; 12] = [
    "projects",
    "users",
    "role_assignments",
    "flavors",
    "networks",
    "subnets",
    "routers",
    "security-group-rules",
    "keypairs",
    "images",
    "servers",
    "floatingips",
];

fn event() -> impl Strategy<Value = Event> {
    let changes = [
        ("users", "enabled"),
        ("networks", "shared"),
        ("subnets", "enable_dhcp"),
        ("subnets", "allocation_pools"),
        ("routers", "external_gateway_info"),
        ("images", "visibility"),
        ("images", "min_ram"),
    ];
    prop_oneof![
        (prop::sample::select(REMOVABLE.to_vec()), any::<usize>())
            .prop_map(|(kind, at)| Event::Remove(kind, at)),
        (prop::sample::select(changes.to_vec()), any::<usize>())
            .prop_map(|((kind, field), at)| Event::Change(kind, field, at)),
        (prop::sample::select(REMOVABLE.to_vec()), any::<u8>())
            .prop_map(|(kind, name)| Event::Foreign(kind, name)),
        Just(Event::Password),
    ]
}

fn is_foreign(object: &Value) -> bool {
    object["id"].as_str().is_some_and(|id| id.starts_with("foreign"))
}

fn happen(local: &Local, event: &Event, number: usize) {
    local.cloud(|cloud| match event {
        Event::Remove(kind, at) => {
            let ours: Vec<Value> =
                cloud.all(kind).iter().filter(|object| !is_foreign(object)).cloned().collect();
            // The administrator stays.
            let ours: Vec<Value> = ours
                .into_iter()
                .filter(|object| {
                    !matches!(object["id"].as_str(), Some("p-admin" | "u-admin"))
                        && object["role"]["id"] != "r-admin"
                })
                .collect();
            if let Some(gone) = ours.get(at.checked_rem(ours.len()).unwrap_or(0)) {
                cloud.remove(kind, |object| object == gone);
                let id = &gone["id"];
                // What hangs on it goes with it, as in the real services.
                let hangs = [
                    "network_id",
                    "device_id",
                    "security_group_id",
                    "user_id",
                    "project_id",
                    "floating_network_id",
                ];
                for other in [
                    "subnets",
                    "ports",
                    "security-groups",
                    "security-group-rules",
                    "keypairs",
                    "networks",
                    "routers",
                    "floatingips",
                ] {
                    cloud.remove(other, |object| {
                        id.is_string() && hangs.iter().any(|name| object[name] == *id)
                    });
                }
                cloud.remove("ports", |port| id.is_string() && port["fixed_ips"][0]["subnet_id"] == *id);
                cloud.remove("role_assignments", |role| {
                    id.is_string() && (role["user"]["id"] == *id || role["scope"]["project"]["id"] == *id)
                });
                // Neutron refuses this while servers use it, so these went first.
                let subnet_of = if *kind == "subnets" { gone["network_id"].clone() } else { id.clone() };
                let used: Vec<Value> = cloud
                    .all("servers")
                    .iter()
                    .filter(|server| {
                        id.is_string()
                            && server["networks"]
                                .as_array()
                                .into_iter()
                                .flatten()
                                .any(|nic| nic["uuid"] == subnet_of)
                    })
                    .map(|server| server["id"].clone())
                    .collect();
                cloud.remove("servers", |server| used.contains(&server["id"]));
                cloud.remove("ports", |port| used.contains(&port["device_id"]));
                if *kind == "projects" || *kind == "users" {
                    cloud.remove("servers", |server| server["tenant_id"] == *id || server["user_id"] == *id);
                }
                let ports: Vec<String> = cloud
                    .all("ports")
                    .iter()
                    .filter_map(|port| port["id"].as_str().map(str::to_owned))
                    .collect();
                for address in cloud.objects.get_mut("floatingips").into_iter().flatten() {
                    if address["port_id"]
                        .as_str()
                        .is_some_and(|port| !ports.iter().any(|known| known == port))
                    {
                        address["port_id"] = Value::Null;
                    }
                }
            }
        }
        Event::Change(kind, field, at) => {
            let ids: Vec<String> = cloud
                .all(kind)
                .iter()
                .filter(|object| !is_foreign(object) && object["id"] != "u-admin")
                .filter_map(|object| object["id"].as_str().map(str::to_owned))
                .collect();
            if let Some(id) = ids.get(at.checked_rem(ids.len()).unwrap_or(0)) {
                cloud.with(kind, id, |object| {
                    object[field] = match &object[field] {
                        Value::Bool(value) => json!(!value),
                        Value::Array(_) => json!([{"start": "1.1.1.1", "end": "1.1.1.2"}]),
                        Value::Number(_) => json!(77),
                        _ => json!("private"),
                    };
                });
            }
        }
        Event::Foreign(kind, name) => {
            let name = format!("other-{name}");
            cloud.put(
                kind,
                json!({"id": format!("foreign-{number}"), "name": name, "project_id": "p-other", "tags": [],
                "status": "queued", "user_id": "u-other", "domain_id": "default", "tenant_id": "p-other"}),
            );
        }
        Event::Password => {
            for (user, password) in &mut cloud.passwords {
                if user != "u-admin" {
                    "changed by hand".clone_into(password);
                }
            }
        }
    });
}

/// What parts of the demo content are declared, and flavors more: name, vcpus, ram, extra specs.
type Parts = (bool, bool, BTreeMap<String, (u32, u32, BTreeMap<String, String>)>);

fn parts() -> impl Strategy<Value = Parts> {
    let flavor = (1..4_u32, 64..4096_u32, prop::collection::btree_map("hw:[a-c]", "[a-z]{1,4}", 0..3));
    (any::<bool>(), any::<bool>(), prop::collection::btree_map("[a-z]{1,5}", flavor, 0..4))
}

fn content((server, network, flavors): Parts) -> Content {
    let mut content = demo();
    content.flavors.extend(flavors.into_iter().map(|(name, (vcpus, ram_mib, extra_specs))| Flavor {
        name,
        id: None,
        vcpus,
        ram_mib,
        disk_gib: 1,
        ephemeral_gib: None,
        swap_mib: Some(0),
        public: true,
        extra_specs,
    }));
    if !server || !network {
        content.servers.clear();
    }
    if !network {
        content.networks.clear();
        content.routers.clear();
    }
    content
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to a cloud, a few passes bring it back to what is declared; a further one writes nothing; what
    /// is not ours is as it was.
    #[test]
    fn passes_reach_a_fixpoint_and_touch_nothing_foreign(
        parts in parts(),
        early in prop::collection::vec(event(), 0..4),
        late in prop::collection::vec(event(), 0..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let local = Local::new();
            let items = of(&content(parts));
            for (number, event) in early.iter().enumerate() {
                happen(&local, event, number);
            }
            settle(&local, &items).await;
            for (number, event) in late.iter().enumerate() {
                happen(&local, event, 100 + number);
            }
            let foreign = |local: &Local| local.cloud(|cloud| {
                cloud.objects.values().flatten().filter(|object| is_foreign(object)).cloned().collect::<Vec<_>>()
            });
            let before = foreign(&local);
            settle(&local, &items).await;
            assert_eq!(foreign(&local), before);
        });
    }
}
