//! Nothing is ignored: every field of the resource changes what is desired, or is refused by name.
//!
//! The fields are those of the schema, so that a new one is seen here before anybody uses it. Each is set in a resource
//! that says something of everything, and the two are planned, rendered and lowered to what is kept inside the cloud.
//! `docs/fields.md` is written from what was found: `INSTA_UPDATE=always` takes a new text over.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use oaas_plan::{SecretKey, Sensitive};
use oaas_render::objects::{Kind, Visit};
use serde_json::{Value, json};
use support::Cloud;

/// Fields whose effect is not in what is desired of a cloud, and where it is seen.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("paused", "nothing is written", "`a_paused_cloud_is_left_alone` in crates/operator/src/cloud/brain.rs"),
    (
        "changePolicy",
        "which changes wait for `oaas approve`",
        "`a_plan_waits_for_its_hash` in crates/operator/src/cloud/decide.rs",
    ),
    (
        "deletionPolicy",
        "what is left when the cloud is deleted",
        "`the_life_of_a_cloud` in crates/operator/tests/apiserver, and tests/cloud/end.sh",
    ),
    (
        "nodes[].name",
        "by which lists of groups are merged",
        "`a_name_twice_in_a_list_is_refused` in crates/api/tests/input.rs",
    ),
];

/// Values that change nothing for now, and why.
const SAME: &[(&str, &str)] = &[("profile", "small")];

/// A resource that says something of everything that is done.
fn everything() -> Value {
    json!({
        "release": "2026.1",
        "storage": {},
        "publish": {},
        "network": {
            "external": [{
                "name": "ext-net", "cidr": "192.168.100.0/24", "gateway": "192.168.100.1",
                "pools": ["192.168.100.101-192.168.100.200"],
            }],
            "tunnel": {},
        },
        "nodes": [{ "name": "all", "selector": {} }],
        "content": {
            "preset": "none",
            "domains": [{ "name": "corp" }],
            "roles": ["auditor"],
            "projects": [{ "name": "demo" }, { "name": "other" }],
            "users": [{ "name": "demo" }, { "name": "alice" }],
            "roleAssignments": [{ "user": "demo", "role": "member", "project": "demo" }],
            "quotas": [{ "project": "demo", "compute": { "cores": 10 }, "network": { "port": 10 } }],
            "flavors": [
                { "name": "m1", "vcpus": 1, "ramMib": 128 }, { "name": "m2", "vcpus": 2, "ramMib": 256 },
            ],
            "networks": [
                { "name": "own", "project": "demo", "subnets": [
                    { "name": "v4", "cidr": "172.16.0.0/24", "gateway": "172.16.0.1",
                      "pools": [{ "start": "172.16.0.10", "end": "172.16.0.20" }] },
                    { "name": "more", "cidr": "172.17.0.0/24" },
                ]},
                { "name": "all", "shared": true, "subnets": [{ "name": "v4", "cidr": "172.18.0.0/24" }] },
            ],
            "routers": [{ "name": "r", "project": "demo", "gateway": "ext-net", "interfaces": ["own/v4"] }],
            "securityGroups": [
                { "name": "web", "project": "demo", "rules": [{ "protocol": "tcp", "port": 80, "portEnd": 90 }] },
            ],
            "keypairs": [{ "name": "key", "user": "demo", "publicKey": "ssh-ed25519 AAAA demo" }],
            "images": [
                { "name": "i1", "diskFormat": "qcow2", "file": "/guest" },
                { "name": "i2", "diskFormat": "qcow2", "url": "https://example.org/i2",
                  "checksum": "sha256:1111111111111111111111111111111111111111111111111111111111111111" },
            ],
            "servers": [{
                "name": "s", "user": "demo", "project": "demo", "flavor": "m1", "image": "i1", "networks": ["own"],
                "keypair": "key", "floatingIpFrom": "ext-net",
            }],
        },
    })
}

/// What a field is set to, where its type does not say a fitting value: the field, the value, and what has to be said
/// beside it (with and without the value).
fn fitting() -> Vec<(&'static str, Value, Value)> {
    let of_user = |user: Value| json!({ "content": { "users": { "0": user } } });
    let of_key = |pair: Value| json!({ "content": { "keypairs": { "0": pair } } });
    let of_image = |image: Value| json!({ "content": { "images": { "0": image } } });
    let none = || json!({});
    vec![
        ("cells[].name", json!("cell1"), none()),
        ("certificates.duration", json!("90d"), none()),
        ("certificates.caDuration", json!("3000d"), none()),
        ("content.flavors[].name", json!("other"), json!({ "content": { "servers": null } })),
        ("content.images[].name", json!("other"), json!({ "content": { "servers": null } })),
        ("content.domains[].name", json!("company"), none()),
        ("content.images[].checksum", json!(format!("sha256:{}", "2".repeat(64))), none()),
        ("content.images[].file", json!("/other"), none()),
        (
            "content.images[].url",
            json!("https://example.org/other"),
            of_image(json!({
                "file": null, "url": "https://example.org/first",
                "checksum": format!("sha256:{}", "2".repeat(64)),
            })),
        ),
        ("content.keypairs[].publicKey", json!("ssh-ed25519 BBBB other"), none()),
        (
            "content.keypairs[].publicKeySecretRef.name",
            json!("b"),
            of_key(json!({ "publicKey": null, "publicKeySecretRef": { "name": "a", "key": "1" } })),
        ),
        (
            "content.keypairs[].publicKeySecretRef.key",
            json!("2"),
            of_key(json!({ "publicKey": null, "publicKeySecretRef": { "name": "a", "key": "1" } })),
        ),
        (
            "content.keypairs[].user",
            json!("alice"),
            json!({ "content": { "servers": { "0": { "keypair": null } } } }),
        ),
        (
            "content.keypairs[].name",
            json!("other"),
            json!({ "content": { "servers": { "0": { "keypair": null } } } }),
        ),
        (
            "content.networks[].name",
            json!("mine"),
            json!({ "content": { "routers": null, "servers": null } }),
        ),
        (
            "content.networks[].project",
            json!("other"),
            json!({ "content": { "routers": null, "servers": null } }),
        ),
        (
            "content.networks[].provider.networkType",
            json!("vlan"),
            json!({ "content": { "networks": { "0": {
                "provider": { "networkType": "flat", "physicalNetwork": "campus", "segmentationId": 7 } } } } }),
        ),
        (
            "content.networks[].provider.physicalNetwork",
            json!("other"),
            json!({ "content": { "networks": { "0": { "provider": {
                "networkType": "flat", "physicalNetwork": "campus" } } } } }),
        ),
        (
            "content.networks[].provider.segmentationId",
            json!(8),
            json!({ "content": { "networks": { "0": { "provider": {
                "networkType": "vlan", "physicalNetwork": "campus", "segmentationId": 7 } } } } }),
        ),
        ("content.networks[].mtu", json!(1300), none()),
        ("content.networks[].subnets[].cidr", json!("172.16.0.0/25"), none()),
        ("content.networks[].subnets[].dns[]", json!("192.0.2.53"), none()),
        ("content.networks[].subnets[].gateway", json!("172.16.0.254"), none()),
        (
            "content.networks[].subnets[].ipv6Mode",
            json!("slaac"),
            json!({ "content": { "networks": { "0": { "subnets": { "0": {
                "cidr": "2001:db8::/64", "gateway": null, "pools": null } } } } } }),
        ),
        ("content.networks[].subnets[].name", json!("other"), json!({ "content": { "routers": null } })),
        ("content.networks[].subnets[].pools[].end", json!("172.16.0.30"), none()),
        ("content.networks[].subnets[].pools[].start", json!("172.16.0.12"), none()),
        ("content.projects[].name", json!("another"), none()),
        ("content.quotas[].project", json!("other"), none()),
        (
            "content.roleAssignments[].domain",
            json!("corp"),
            json!({ "content": { "roleAssignments": { "0": { "project": null } } } }),
        ),
        (
            "content.roleAssignments[].system",
            json!(true),
            json!({ "content": { "roleAssignments": { "0": { "project": null } } } }),
        ),
        ("content.roleAssignments[].project", json!("other"), none()),
        ("content.roleAssignments[].user", json!("alice"), none()),
        (
            "content.routers[].gateway",
            json!("world"),
            json!({ "content": { "networks": { "1": { "name": "world", "external": true } } } }),
        ),
        ("content.routers[].interfaces[]", json!("own/more"), none()),
        (
            "content.routers[].project",
            json!("other"),
            json!({ "content": { "routers": { "0": { "interfaces": null } } } }),
        ),
        ("content.securityGroups[].rules[].protocol", json!("udp"), none()),
        ("content.securityGroups[].rules[].remote", json!("198.51.100.0/24"), none()),
        ("content.servers[].flavor", json!("m2"), none()),
        (
            "content.servers[].floatingIpFrom",
            json!("world"),
            json!({ "content": { "networks": { "1": { "name": "world", "external": true } } } }),
        ),
        ("content.servers[].image", json!("i2"), none()),
        (
            "content.servers[].keypair",
            json!("more"),
            json!({ "content": { "keypairs": { "1": {
            "name": "more", "user": "demo", "publicKey": "ssh-ed25519 CCCC more" } } } }),
        ),
        ("content.servers[].networks[]", json!("all"), none()),
        (
            "content.servers[].project",
            json!("other"),
            json!({ "content": { "servers": { "0": { "networks": ["all"] } } } }),
        ),
        (
            "content.servers[].user",
            json!("alice"),
            json!({ "content": { "servers": { "0": { "keypair": null } } } }),
        ),
        ("content.users[].defaultProject", json!("demo"), none()),
        ("content.users[].name", json!("bob"), json!({ "content": { "servers": null } })),
        (
            "content.users[].passwordSecretRef.key",
            json!("2"),
            of_user(json!({ "passwordSecretRef": { "name": "a", "key": "1" } })),
        ),
        (
            "content.users[].passwordSecretRef.name",
            json!("b"),
            of_user(json!({ "passwordSecretRef": { "name": "a", "key": "1" } })),
        ),
        ("images.*", json!("registry.example/infra@sha256:1111"), none()),
        (
            "network.external[].cidr",
            json!("203.0.113.0/24"),
            json!({ "network": { "external": { "0": { "gateway": null, "pools": null } } } }),
        ),
        ("network.external[].gateway", json!("192.168.100.254"), none()),
        (
            "network.external[].name",
            json!("world"),
            json!({ "content": { "routers": null, "servers": null } }),
        ),
        (
            "network.external[].pool",
            json!("192.168.100.20-192.168.100.30"),
            json!({ "network": { "external": { "0": { "pools": null } } } }),
        ),
        ("network.external[].pools[]", json!("192.168.100.20-192.168.100.30"), none()),
        ("network.external[].mtu", json!(9000), none()),
        (
            "network.external[].vlan",
            json!(7),
            json!({ "network": { "external": { "0": { "kind": "vlan" } } } }),
        ),
        ("network.external[].v6.cidr", json!("2001:db8::/64"), none()),
        ("network.nameServers[]", json!("192.0.2.53"), none()),
        ("network.tunnel.mtu", json!(1400), none()),
        ("nodes[].config.*.*.*", json!(7), none()),
        ("nodes[].hugePages[].size", json!("2Mi"), none()),
        ("nodes[].selector.*", json!("nobody"), json!({ "nodes": { "0": { "tunnelInterface": "eth7" } } })),
        ("publish.address", json!("cloud.example"), none()),
        ("publish.consolePort", json!(30111), none()),
        ("publish.horizonPort", json!(30112), none()),
        ("publish.publicPort", json!(30113), none()),
        ("publish.statisticsPort", json!(30114), none()),
        ("release", json!("1999.1"), none()),
        ("services.*.config.*.*", json!(7200), none()),
        ("services.*.enabled", json!(false), none()),
        ("services.*.image", json!("registry.example/own@sha256:1111"), none()),
        ("services.*.memory", json!("1Gi"), none()),
        ("services.*.policy.*", json!("role:auditor"), none()),
        ("services.*.resources.limits.*", json!("3"), none()),
        ("services.*.resources.requests.*", json!("300m"), none()),
        ("services.*.unchecked.*.*", json!("x"), none()),
        ("services.*.volume", json!("30Gi"), none()),
        ("storage.class", json!("fast"), none()),
        ("storage.images", json!("50Gi"), none()),
    ]
}

/// Under which keys of maps a field is set: one for each `*` of its path.
fn keys(path: &str) -> [&'static str; 3] {
    match path {
        "services.*.volume" => ["galera", "", ""],
        "services.*.enabled" => ["horizon", "", ""],
        "services.*.config.*.*" => ["keystone", "token", "expiration"],
        "images.*" => ["mariadb", "", ""],
        "rotation.*" => ["cloud-ca", "", ""],
        "nodes[].config.*.*.*" => ["nova-compute", "libvirt", "num_pcie_ports"],
        path if path.starts_with("services.*.resources.") => ["keystone", "cpu", ""],
        path if path.starts_with("services.") => ["keystone", "own", "own"],
        path if path.starts_with("content.quotas[].compute") => ["cores", "", ""],
        path if path.starts_with("content.quotas[].network") => ["port", "", ""],
        path if path.contains("physicalNetworks") => ["public", "", ""],
        _ => ["sample"; 3],
    }
}

/// One field of the schema that holds a value.
struct Leaf {
    path: String,
    schema: Value,
    meaning: String,
}

fn schema() -> Value {
    let crd = serde_json::to_value(&oaas_api::crds()[0]).expect("plain data");
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

fn leaves(schema: &Value, path: &str, meaning: &str, found: &mut Vec<Leaf>) {
    let meaning = schema["description"].as_str().unwrap_or(meaning);
    let dotted = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    if let Some(fields) = schema["properties"].as_object() {
        fields.iter().for_each(|(name, below)| leaves(below, &dotted(name), meaning, found));
    } else if schema["items"].is_object() {
        leaves(&schema["items"], &format!("{path}[]"), meaning, found);
    } else if schema["additionalProperties"].is_object() {
        leaves(&schema["additionalProperties"], &dotted("*"), meaning, found);
    } else {
        found.push(Leaf { path: path.to_owned(), schema: schema.clone(), meaning: meaning.to_owned() });
    }
}

/// The place of a field in a resource: the first item of each list, a fitting key of each map.
fn place(path: &str) -> Vec<String> {
    let mut keys = keys(path).into_iter();
    let mut steps = Vec::new();
    for step in path.split('.') {
        let name = step.trim_end_matches("[]");
        steps.push(if name == "*" { keys.next().expect("three at most") } else { name }.to_owned());
        steps.extend(step.matches("[]").map(|_| "0".to_owned()));
    }
    steps
}

/// Set a value; objects and lists on the way are made. `null` takes it away.
fn set(into: &mut Value, steps: &[String], value: Value) {
    let Some((step, rest)) = steps.split_first() else {
        *into = value;
        return;
    };
    if let Ok(index) = step.parse::<usize>()
        && !into.is_object()
    {
        if !into.is_array() {
            *into = json!([]);
        }
        let items = into.as_array_mut().expect("made above");
        while items.len() <= index {
            items.push(Value::Null);
        }
        return set(&mut items[index], rest, value);
    }
    if !into.is_object() {
        *into = json!({});
    }
    if rest.is_empty() && value.is_null() {
        into.as_object_mut().expect("made above").remove(step);
        return;
    }
    set(&mut into[step], rest, value);
}

/// Say more in a resource; digits are places in lists.
fn say(into: &mut Value, more: &Value, steps: &mut Vec<String>) {
    match more {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, below) in fields {
                steps.push(name.clone());
                say(into, below, steps);
                steps.pop();
            }
        }
        Value::Object(_) => {}
        other => set(into, steps, other.clone()),
    }
}

/// Give each object the fields that it must have.
fn complete(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let sample = || match schema["properties"][name]["type"].as_str() {
                    Some("integer") => json!(1),
                    Some("array") => json!([]),
                    Some("object") => json!({}),
                    _ => schema["properties"][name]["enum"].get(0).cloned().unwrap_or_else(|| json!("x")),
                };
                fields.entry(name).or_insert_with(sample);
            }
            for (name, below) in fields {
                let schema = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
                complete(schema, below);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| complete(&schema["items"], item)),
        _ => {}
    }
}

/// Values that a field may have, by its type, and that it does not have yet.
fn by_type(leaf: &Leaf, now: &Value) -> Vec<Value> {
    if let Some(values) = leaf.schema["enum"].as_array() {
        let is = if now.is_null() { &leaf.schema["default"] } else { now };
        return values.iter().filter(|value| *value != is).cloned().collect();
    }
    match leaf.schema["type"].as_str() {
        Some("boolean") => vec![json!(!now.as_bool().or(leaf.schema["default"].as_bool()).unwrap_or(false))],
        // The least that any field takes is less than that of a packet's size and more than that of a count.
        Some("integer") => vec![match now.as_i64() {
            Some(now) => json!(now + 1),
            None => json!(if leaf.schema["minimum"].as_f64() > Some(2.0) { 1300 } else { 2 }),
        }],
        Some("string") => vec![json!(format!("{}x", now.as_str().unwrap_or("another-")))],
        _ => vec![json!("1Gi")],
    }
}

/// A cloud for a resource, on a node, with the Secrets that the resource may refer to.
fn cloud(spec: &Value) -> Result<Cloud, String> {
    static SMALL: LazyLock<Cloud> = LazyLock::new(Cloud::small);
    let mut cloud = SMALL.clone();
    cloud.spec = serde_json::from_value(spec.clone()).map_err(|error| format!("not a resource: {error}"))?;
    for (name, key) in [("a", "1"), ("a", "2"), ("b", "1")] {
        let value = Sensitive::new(format!("ssh-ed25519 {name}{key} x"));
        cloud.user_secrets.insert(SecretKey { name: name.into(), key: key.into() }, value);
    }
    cloud.credentials.clear();
    cloud.fill_credentials();
    Ok(cloud)
}

/// What is wrong with a resource.
fn refusals(spec: &Value) -> Vec<String> {
    match cloud(spec) {
        Ok(cloud) => cloud.with_inputs(oaas_plan::validate).iter().map(ToString::to_string).collect(),
        Err(error) => vec![error],
    }
}

/// Everything that is desired of a cloud, by its name.
fn desired(spec: &Value) -> BTreeMap<String, String> {
    struct All(BTreeMap<String, String>);
    impl Visit for All {
        fn kind<K: Kind>(&mut self, objects: &[K]) {
            for object in objects {
                let name = format!("{} {}", K::kind(&()), object.meta().name.clone().unwrap_or_default());
                self.0.insert(name, serde_json::to_string(object).expect("plain data"));
            }
        }
    }
    let cloud = cloud(spec).expect("read before");
    let mut all = All(BTreeMap::new());
    let Ok(blueprint) = cloud.with_inputs(oaas_plan::blueprint) else { return all.0 };
    let gates = oaas_plan::gates(&blueprint, &cloud.observed);
    let rendered = oaas_render::render(&blueprint, &gates);
    rendered.apply.visit(&mut all);
    rendered.held.visit(&mut all);
    let content = oaas_plan::declared(&cloud.spec);
    let given = oaas_plan::given(&content, &cloud.credentials, &cloud.user_secrets);
    for (user, password) in &given.passwords {
        all.0.insert(format!("password of {user}"), password.expose().to_owned());
    }
    // What is wrong with the content of a control is the lack of what its field brings.
    for item in oaas_cloud::content::items(&content, &given).unwrap_or_default() {
        all.0.insert(format!("content {}", item.key), format!("{item:?}"));
    }
    for registration in &blueprint.registrations {
        all.0.insert(format!("endpoint {}", registration.service), format!("{registration:?}"));
    }
    for secret in cloud.with_inputs(oaas_plan::credentials) {
        all.0.insert(format!("credential {}", secret.name), format!("{secret:?}"));
    }
    all.0
}

/// What is other in one than in the other. Jobs are named by a hash.
fn other(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// What setting a field to a value comes to.
enum Effect {
    Changes(Vec<String>),
    NotYet,
    Refused(Vec<String>),
    Nothing,
}

/// What is desired without the fields, by what is said beside them.
type Controls = BTreeMap<String, BTreeMap<String, String>>;

fn effect(
    schema: &Value,
    controls: &mut Controls,
    steps: &[String],
    value: &Value,
    beside: &Value,
) -> Effect {
    let mut control = everything();
    say(&mut control, beside, &mut Vec::new());
    complete(schema, &mut control);
    let mut mutated = control.clone();
    set(&mut mutated, steps, value.clone());
    complete(schema, &mut mutated);
    let refusals = refusals(&mutated);
    if refusals.iter().any(|refusal| refusal.contains("is not done by this version yet")) {
        return Effect::NotYet;
    }
    if !refusals.is_empty() {
        return Effect::Refused(refusals);
    }
    let control = controls.entry(control.to_string()).or_insert_with(|| desired(&control));
    let changes = other(control, &desired(&mutated));
    if changes.is_empty() { Effect::Nothing } else { Effect::Changes(changes) }
}

/// A change in a few words: kinds with the number of names, a single one by its name.
fn words(changes: &[String]) -> String {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for change in changes {
        let (kind, name) = change.split_once(' ').unwrap_or((change, ""));
        kinds.entry(kind).or_default().push(name);
    }
    let say = |(kind, names): (&str, Vec<&str>)| match names.as_slice() {
        [_] if kind == "Job" => "a Job".to_owned(),
        [name] => format!("{kind} `{}`", name.replace('|', "\\|")),
        several => format!("{kind} of {}", several.len()),
    };
    kinds.into_iter().map(say).collect::<Vec<_>>().join(", ")
}

#[test]
fn each_field_changes_what_is_desired_or_is_refused_by_name() {
    assert_eq!(refusals(&everything()), Vec::<String>::new());
    let schema = schema();
    let mut found = Vec::new();
    leaves(&schema, "", "", &mut found);
    assert!(found.len() > 150, "only {} fields", found.len());
    let fitting = fitting();
    for (path, ..) in &fitting {
        assert!(found.iter().any(|leaf| leaf.path == *path), "{path} is not a field");
    }
    let mut wrong = Vec::new();
    let mut rows = String::new();
    let mut controls = Controls::new();
    for leaf in &found {
        let path = leaf.path.as_str();
        let meaning = first_sentence(&leaf.meaning);
        if let Some((_, what, test)) = ELSEWHERE.iter().find(|(field, ..)| *field == path) {
            let _ = writeln!(rows, "| `{path}` | {meaning} | {what} | {test} |");
            continue;
        }
        let steps = place(path);
        let now = everything().pointer(&format!("/{}", steps.join("/"))).cloned().unwrap_or_default();
        let given = fitting.iter().find(|(field, ..)| *field == path);
        let (values, beside) = match given {
            Some((_, value, beside)) => (vec![value.clone()], beside.clone()),
            None => (by_type(leaf, &now), json!({})),
        };
        let mut said = String::new();
        for value in values {
            let same = value.as_str().is_some_and(|value| SAME.contains(&(path, value)));
            match effect(&schema, &mut controls, &steps, &value, &beside) {
                Effect::Changes(_) if same => {
                    wrong.push(format!("{path}: {value} is listed as the same as others"));
                }
                Effect::Changes(changes) => said = words(&changes),
                Effect::NotYet if said.is_empty() => "refused: not yet".clone_into(&mut said),
                Effect::NotYet => {}
                // There is one release to name.
                Effect::Refused(lines) if path == "release" && lines[0].starts_with("spec.release") => {
                    "another catalog; refused where there is none".clone_into(&mut said);
                }
                Effect::Refused(lines) => {
                    wrong.push(format!("{path}: {value} is refused: {}", lines.join("; ")));
                }
                Effect::Nothing if same => {}
                Effect::Nothing => wrong.push(format!("{path}: {value} changes nothing")),
            }
        }
        let _ = writeln!(rows, "| `{path}` | {meaning} | {said} | `crates/render/tests/fields.rs` |");
    }
    assert!(wrong.is_empty(), "{} fields:\n{}", wrong.len(), wrong.join("\n"));
    document(&rows);
}

fn first_sentence(text: &str) -> String {
    text.split_once(". ")
        .map_or(text, |(first, _)| first)
        .trim_end_matches('.')
        .replace('\n', " ")
        .replace('|', "\\|")
}

/// `docs/fields.md` is what was found, or is written so.
fn document(rows: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fields.md");
    let text = format!(
        "# Fields of the resource and their effects\n\nWritten by `INSTA_UPDATE=always cargo test -p oaas-render --test \
         fields`, which sets each field and looks at what changes in what is desired: objects of Kubernetes, endpoints, \
         credentials, and the content that is kept inside the cloud.\n\n| Field | What it says | What changes with it | Seen by |\n\
         |---|---|---|---|\n{rows}"
    );
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(path, &text).expect("the directory is there");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == text,
        "docs/fields.md is not current: INSTA_UPDATE=always cargo test -p oaas-render --test fields"
    );
}
