//! What the resource can say and this version does not do yet: refused with "not yet", never ignored.

use serde_json::Value;

use crate::openstack::OpenStackSpec;

/// A field that is set but not implemented.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// The field, such as `spec.network.external[0].vlan`.
    pub path: String,
    /// What is refused.
    pub message: String,
    /// What to do instead.
    pub hint: &'static str,
}

/// One row of the list: where, what it is, and what to do instead.
struct NotYet {
    /// Path below `spec`: `*` is any key or item; a value after `=` refuses that value alone.
    field: &'static str,
    what: &'static str,
    instead: &'static str,
}

/// Everything that is not implemented. A row goes when its feature comes.
const NOT_YET: &[NotYet] = &[
    row(
        "revision",
        "keeping a cloud at an operator's revision",
        "leave it out: the cloud follows the operator",
    ),
    row("storage.kind=nfs", "NFS", "use `kind: file`"),
    row("storage.kind=ceph", "Ceph", "use `kind: file`"),
    row("storage.nfs", "NFS", "use `kind: file`"),
    row("storage.ceph", "Ceph", "use `kind: file`"),
    row("network.external.*.kind=vlan", "external networks with a VLAN tag", "use `kind: flat`"),
    row("network.external.*.vlan", "external networks with a VLAN tag", "use `kind: flat`"),
    row("network.external.*.v6", "IPv6 of external networks", "leave it out"),
    row("network.mechanismDrivers", "mechanism drivers other than ovn", "leave it out: it is ovn"),
    row("nodes.*.hugePages", "huge pages", "leave them out"),
    row("nodes.*.pci", "PCI devices", "leave them out"),
    row("nodes.*.availabilityZone", "availability zones", "leave it out: it is nova"),
    row("nodes.*.aggregate", "host aggregates", "leave it out"),
    row("nodes.*.cell", "more than one cell", "leave it out: it is cell1"),
    row("cells", "more than one cell", "leave them out: there is cell1"),
    row("database.external", "a database that exists already", "leave it out: the cloud runs its own"),
    row("messaging.external", "a message bus that exists already", "leave it out: the cloud runs its own"),
    row(
        "identity.external",
        "an identity service that exists already",
        "leave it out: the cloud runs its own",
    ),
];

const fn row(field: &'static str, what: &'static str, instead: &'static str) -> NotYet {
    NotYet { field, what, instead }
}

/// Every field of a resource that is set but not implemented yet, in the order of their paths.
pub fn not_yet(spec: &OpenStackSpec) -> Vec<Refusal> {
    let value = serde_json::to_value(spec).expect("a resource is plain data with text keys");
    let mut refusals = Vec::new();
    for row in NOT_YET {
        let (field, wanted) = row.field.split_once('=').map_or((row.field, None), |(f, v)| (f, Some(v)));
        let steps: Vec<&str> = field.split('.').collect();
        find(&value, &steps, "spec", &mut |path, found| {
            if wanted.is_none_or(|wanted| found == wanted) {
                refusals.push(Refusal {
                    path: path.into(),
                    message: format!("{} is not done by this version yet", row.what),
                    hint: row.instead,
                });
            }
        });
    }
    refusals.sort();
    refusals
}

/// Calls `hit` for every place in `value` that the steps lead to.
fn find(value: &Value, steps: &[&str], path: &str, hit: &mut impl FnMut(&str, &Value)) {
    let Some((step, rest)) = steps.split_first() else { return hit(path, value) };
    match value {
        Value::Object(fields) => {
            for (name, below) in fields.iter().filter(|(name, _)| *step == "*" || name == step) {
                find(below, rest, &format!("{path}.{name}"), hit);
            }
        }
        Value::Array(items) if *step == "*" => {
            for (index, below) in items.iter().enumerate() {
                find(below, rest, &format!("{path}[{index}]"), hit);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;
    use serde_json::json;

    use super::*;
    use crate::openstack::OpenStack;

    fn refused(spec: Value) -> Vec<String> {
        let spec: OpenStackSpec = serde_json::from_value(spec).unwrap();
        not_yet(&spec).into_iter().map(|refusal| refusal.path).collect()
    }

    #[test]
    fn what_is_implemented_is_not_refused() {
        let spec = json!({
            "release": "2026.1", "profile": "small", "paused": true, "deletionPolicy": "Delete", "changePolicy": "approve-all",
            "services": { "keystone": {
                "enabled": true, "replicas": 3, "memory": "1Gi",
                "config": { "token": { "expiration": 7200 }, "ldap": { "password": { "secretKeyRef": { "name": "n", "key": "k" } } } },
                "policy": { "rule": "role:admin" }, "configFiles": { "a.json": "{}" }, "unchecked": { "x": { "y": [1, "a"] } },
                "resources": { "limits": { "cpu": 2 } }, "image": "oaas.local/openstack@sha256:00",
            }},
            "storage": { "kind": "file" },
            "network": { "external": [{ "name": "ext-net", "cidr": "192.168.100.0/24" }], "tunnel": { "mtu": 1500 } },
            "nodes": [{ "name": "all", "selector": {}, "physicalNetworks": { "public": "eth2" } }],
            "content": { "preset": "none" }, "publish": { "horizonPort": 30081 },
            "images": { "mariadb": "oaas.local/mariadb@sha256:00" }, "database": {},
        });
        assert_eq!(refused(spec), Vec::<String>::new());
    }

    #[test]
    fn each_place_is_named() {
        let spec = json!({
            "release": "2026.1", "storage": { "kind": "ceph" },
            "network": { "external": [
                { "name": "a", "cidr": "192.0.2.0/24" },
                { "name": "b", "kind": "vlan", "vlan": 7, "cidr": "198.51.100.0/24" },
            ]},
        });
        let paths = ["spec.network.external[1].kind", "spec.network.external[1].vlan", "spec.storage.kind"];
        assert_eq!(refused(spec), paths);
    }

    #[test]
    fn every_row_is_a_field_of_the_schema() {
        let schema = serde_json::to_value(OpenStack::crd().spec.versions[0].schema.clone()).unwrap();
        let spec = &schema["openAPIV3Schema"]["properties"]["spec"];
        for row in NOT_YET {
            let (field, value) = row.field.split_once('=').map_or((row.field, None), |(f, v)| (f, Some(v)));
            let mut here = spec;
            for step in field.split('.') {
                here = match step {
                    "*" if here["items"].is_object() => &here["items"],
                    "*" => &here["additionalProperties"],
                    name => &here["properties"][name],
                };
                assert!(here.is_object(), "{}: no {step}", row.field);
            }
            if let Some(value) = value {
                assert!(here["enum"].as_array().unwrap().contains(&value.into()), "{}", row.field);
            }
        }
    }
}
