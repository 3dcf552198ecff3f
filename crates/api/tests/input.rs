//! Users' files: every mistake has its line, the nearest right name and a hint.

use oaas_api::{parse_resource, storage::StorageKind};

fn problems(yaml: &str) -> Vec<String> {
    parse_resource(yaml).unwrap_err().problems.iter().map(ToString::to_string).collect()
}

fn spec_problems(spec: &str) -> Vec<String> {
    let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    problems(&format!(
        "apiVersion: oaas.dev/v1alpha1\nkind: OpenStack\nmetadata: {{ name: demo }}\nspec:\n{indented}"
    ))
}

#[test]
fn minimal_and_full_examples_are_read() {
    let minimal = parse_resource(include_str!("../examples/minimal.yaml")).unwrap();
    assert_eq!(minimal.spec.release, "2026.1");
    assert_eq!(minimal.metadata.name.as_deref(), Some("demo"));
    let full = parse_resource(include_str!("../examples/everything.yaml")).unwrap();
    assert_eq!(full.spec.storage.unwrap().kind, StorageKind::Ceph);
    assert_eq!(full.spec.network.unwrap().external.unwrap().len(), 2);
}

#[test]
fn all_problems_come_at_once_in_the_order_of_lines() {
    let found = problems(
        "apiVersion: oaas.dev/v1\n\
         kind: OpenStack\n\
         metadata:\n\
         \x20 name: My_Cloud\n\
         spec:\n\
         \x20 relaese: \"2026.1\"\n\
         \x20 profile: tinny\n\
         \x20 services:\n\
         \x20   keystone: { repl: 3, replica: three }\n\
         \x20   galera: { replicas: two }\n\
         \x20 content: demo\n\
         \x20 publish: { horizonPort: 99999 }\n",
    );
    assert_eq!(
        found,
        [
            "line 1: apiVersion: is \"oaas.dev/v1\" (write `apiVersion: oaas.dev/v1alpha1`)",
            "line 4: metadata.name: `My_Cloud` cannot be part of a DNS name: at most 40 lower-case letters, digits \
             and '-', starting with a letter (write `my-cloud`)",
            "line 6: spec.relaese: no such field; did you mean `release`?",
            "line 6: spec.release: is missing (Release of OpenStack, such as `\"2026.1\"` (in quotes, else YAML makes \
             a number of it))",
            "line 7: spec.profile: `tinny` is not one of tiny, small, full; did you mean `tiny`?",
            "line 9: spec.services.keystone.repl: no such field; did you mean `replicas`?",
            "line 9: spec.services.keystone.replica: no such field; did you mean `replicas`?",
            "line 10: spec.services.galera.replicas: has text where a whole number is wanted",
            "line 11: spec.content: has text where fields are wanted (write `{preset: demo}`)",
            "line 12: spec.publish.horizonPort: 99999 is out of range: 1 to 65535",
        ]
    );
}

#[test]
fn a_release_without_quotes_is_explained() {
    assert_eq!(
        spec_problems("release: 2026.1"),
        ["line 5: spec.release: has a number where text is wanted (write it in quotes: \"2026.1\")"]
    );
}

#[test]
fn a_field_at_the_wrong_level_is_found_elsewhere() {
    assert_eq!(
        spec_problems("release: \"2026.1\"\nreplicas: 3"),
        ["line 6: spec.replicas: no such field (there is spec.services.<name>.replicas)"]
    );
    let found = problems(
        "apiVersion: oaas.dev/v1alpha1\nkind: OpenStack\nmetadata: {name: a}\nrelease: \"2026.1\"\n",
    );
    assert_eq!(
        found,
        [
            "line 1: spec: is missing (write at least: spec: { release: \"2026.1\" })",
            "line 4: release: no such field (it belongs below spec: spec.release)",
        ]
    );
}

#[test]
fn values_of_options() {
    let found = spec_problems(
        "release: \"2026.1\"\nservices:\n  nova-api:\n    config:\n      DEFAULT:\n        a: 1\n        b: [x, 2]\n        \
         c: { secretKeyRef: { name: n, key: k } }\n        d: { x: 1 }\n        e:\n        f: [[1]]\n      libvirt: kvm",
    );
    assert_eq!(
        found,
        [
            "line 13: spec.services.nova-api.config.DEFAULT.d: an option's value cannot have fields (write \
             `{secretKeyRef: {name: …, key: …}}` for a value in a Secret)",
            "line 14: spec.services.nova-api.config.DEFAULT.e: has no value (write \"\" for an empty value, or leave \
             the option out)",
            "line 15: spec.services.nova-api.config.DEFAULT.f[0]: a list inside the list of an option",
            "line 16: spec.services.nova-api.config.libvirt: has text where fields are wanted",
        ]
    );
}

#[test]
fn rules_of_the_schema_run_before_sending() {
    assert_eq!(
        spec_problems(
            "release: \"2026.1\"\nservices:\n  galera: { replicas: 2 }\nnetwork:\n  external:\n  - name: ext-net\n    \
             cidr: 192.168.100.0/24\n    gateway: 192.168.101.1\n  - name: other\n    kind: vlan\n    cidr: 10.0.0.0"
        ),
        [
            "line 6: spec.services: 'galera', 'rabbitmq', 'etcd', 'ovn-nb', 'ovn-sb' vote: replicas must be odd (1, \
             3, 5), else a half split stops the cloud",
            "line 10: spec.network.external[0]: gateway is outside cidr: take an address of that network, or leave it out",
            "line 13: spec.network.external[1]: kind vlan needs vlan: the tag, 1 to 4094",
            "line 15: spec.network.external[1].cidr: not a network: write it like 192.168.100.0/24",
        ]
    );
}

#[test]
fn a_name_twice_in_a_list_is_refused() {
    assert_eq!(
        spec_problems(
            "release: \"2026.1\"\nnodes:\n- { name: a, selector: {} }\n- { name: a, selector: {} }\n- name: Ä"
        ),
        [
            "line 8: spec.nodes[1]: a second item with name \"a\"",
            "line 9: spec.nodes[2].name: `Ä` does not have the right form (Name of the group)",
        ]
    );
}

#[test]
fn what_is_not_a_resource_is_said() {
    assert_eq!(problems("")[0].split(':').next(), Some("line 1"));
    assert!(problems("- a\n")[0].contains("has a list where a resource is wanted"));
    let syntax = &problems("apiVersion: oaas.dev/v1alpha1\nspec: {\n")[0];
    assert!(syntax.contains("is not valid YAML"), "{syntax}");
}
