//! The custom resource definitions as the API server gets them.

use oaas_api::{OpenStack, crds};
use serde_json::Value;

/// kubectl's last-applied annotation and etcd set the limit; a tenth of the peers' size is ours.
const LIMIT: usize = 65_000;

fn schemas() -> Vec<(String, Value)> {
    crds()
        .into_iter()
        .map(|crd| {
            let name = crd.spec.names.kind.clone();
            let schema = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
            (name, serde_json::to_value(schema).unwrap())
        })
        .collect()
}

#[test]
fn each_document_is_below_the_limit() {
    for crd in crds() {
        let yaml = serde_yaml_ng::to_string(&crd).unwrap();
        assert!(yaml.len() < LIMIT, "{} has {} bytes", crd.spec.names.kind, yaml.len());
    }
}

#[test]
fn short_names_subresources_and_columns() {
    let [cloud, component] = &crds()[..] else { panic!("two definitions") };
    assert_eq!(cloud.spec.names.short_names, Some(vec!["oscloud".into()]));
    assert_eq!(component.spec.names.short_names, Some(vec!["oscomp".into()]));
    assert_eq!(cloud.spec.scope, "Namespaced");
    let version = &cloud.spec.versions[0];
    assert!(version.subresources.as_ref().unwrap().status.is_some());
    let columns: Vec<_> =
        version.additional_printer_columns.as_ref().unwrap().iter().map(|c| c.name.as_str()).collect();
    assert_eq!(columns, ["Release", "Phase", "Ready", "Waiting-For", "Age"]);
    let scale = component.spec.versions[0].subresources.as_ref().unwrap().scale.as_ref().unwrap();
    assert_eq!(scale.spec_replicas_path, ".spec.replicas");
    assert_eq!(scale.status_replicas_path, ".status.replicas");
    assert_eq!(scale.label_selector_path.as_deref(), Some(".status.selector"));
}

fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], visit);
    }
    if schema["additionalProperties"].is_object() {
        walk(&format!("{path}.*"), &schema["additionalProperties"], visit);
    }
}

#[test]
fn every_named_field_has_a_description() {
    for (kind, schema) in schemas() {
        walk(&kind, &schema, &mut |path, field| {
            if path.ends_with('*') || path.ends_with("[]") || !path.contains('.') {
                return;
            }
            assert!(field["description"].as_str().is_some_and(|text| text.len() > 3), "{path}: {field}");
        });
    }
}

#[test]
fn schemas_are_structural() {
    for (kind, schema) in schemas() {
        walk(&kind, &schema, &mut |path, field| {
            let typed = field["type"].is_string()
                || field["x-kubernetes-preserve-unknown-fields"] == true
                || field["x-kubernetes-int-or-string"] == true;
            assert!(typed, "{path} has no type: {field}");
            for union in ["oneOf", "anyOf", "allOf", "not", "$ref"] {
                assert!(field[union].is_null(), "{path} has {union}");
            }
        });
    }
}

#[test]
fn a_minimal_resource_has_at_most_ten_lines() {
    let yaml = include_str!("../examples/minimal.yaml");
    assert!(yaml.lines().count() <= 10);
    let cloud: OpenStack = serde_yaml_ng::from_str(yaml).unwrap();
    assert_eq!(cloud.spec.release, "2026.1");
}
