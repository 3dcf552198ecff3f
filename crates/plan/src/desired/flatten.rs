//! Nested data as lines: what is said, under a name that people read.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::document::{Content, Document};

/// Each option of a file: `[token] expiration` → its value.
pub(super) fn options(document: &Document) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    match document.content.expose() {
        Content::Sections(sections) => {
            for (section, options) in sections {
                for (option, values) in options {
                    found.insert(format!("[{section}] {option}"), values.join(", "));
                }
            }
        }
        Content::Tree(tree) => flatten("", tree, &mut found),
        Content::Lines(lines) => {
            found.insert("text".to_owned(), lines.join("\n"));
        }
        Content::PublicEndpoint(model) => {
            found.insert("host".into(), model.host.clone());
            found.insert("port".into(), model.port.to_string());
            found.insert("statistics port".into(), model.statistics_port.to_string());
            found.insert("statistics user".into(), model.statistics_user.clone());
            found.insert("statistics password".into(), model.statistics_password.clone());
            for route in &model.routes {
                found.insert(format!("path {}", route.path), format!("{}:{}", route.host, route.port));
            }
        }
    }
    found
}

/// Every leaf below a value, by its path with spaces between.
pub(super) fn flatten(name: &str, tree: &Value, found: &mut BTreeMap<String, String>) {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name} {key}") };
    match tree {
        Value::Object(items) => items.iter().for_each(|(key, item)| flatten(&below(key), item, found)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                let named = item["name"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                flatten(&below(&named), item, found);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(text).collect();
            found.insert(name.to_owned(), items.join(", "));
        }
        Value::Null => {}
        other => {
            found.insert(name.to_owned(), text(other));
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What is declared to be in a cloud, thing by thing: `network ext-net` → what is said of it.
pub(super) fn things(content: &Value) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for (kind, items) in content.as_object().into_iter().flatten() {
        let kind = singular(kind);
        for item in items.as_array().into_iter().flatten() {
            let mut said = BTreeMap::new();
            flatten("", item, &mut said);
            let name = match item["name"].as_str().or_else(|| item.as_str()) {
                Some(name) => name.to_owned(),
                // What has no name is what it says.
                None => said.values().cloned().collect::<Vec<_>>().join(" "),
            };
            said.remove("name");
            said.remove("");
            found.insert(format!("{kind} {name}"), said);
        }
    }
    found
}

/// `roleAssignments` → `role assignment`.
fn singular(kind: &str) -> String {
    let words: String = kind
        .chars()
        .flat_map(|c| {
            let space = c.is_ascii_uppercase().then_some(' ');
            space.into_iter().chain([c.to_ascii_lowercase()])
        })
        .collect();
    words.strip_suffix('s').map_or_else(|| words.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn things_have_names_and_lines() {
        let found = things(&json!({
            "networks": [{ "name": "own", "mtu": 1400, "subnets": [{ "name": "v4", "cidr": "10.0.0.0/24", "dns": ["a", "b"] }] }],
            "roleAssignments": [{ "user": "demo", "role": "member" }],
            "roles": ["auditor"],
        }));
        let line = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let own = [
            line("mtu", "1400"),
            line("subnets v4 cidr", "10.0.0.0/24"),
            line("subnets v4 dns", "a, b"),
            line("subnets v4 name", "v4"),
        ];
        assert_eq!(found["network own"], BTreeMap::from(own));
        assert_eq!(
            found.keys().map(String::as_str).collect::<Vec<_>>(),
            ["network own", "role assignment member demo", "role auditor"]
        );
    }
}
