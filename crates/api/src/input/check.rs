//! The walk of a YAML document along a schema.

use std::collections::BTreeSet;

use oaas_feedback::nearest;
use serde_json::Value;

use super::label::as_dns_label;
use super::problem::Problem;
use super::yaml::{Entry, Node, Yaml};
use crate::schema::DNS_LABEL;

/// Adds every problem of `node` (at `path`) under `schema` to `problems`; `root` is the whole schema, for hints.
pub(super) fn walk(root: &Value, schema: &Value, path: &str, node: &Node, problems: &mut Vec<Problem>) {
    if schema["x-kubernetes-preserve-unknown-fields"] == true && !schema["properties"].is_object() {
        return any(path, node, problems);
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return match &node.value {
            Yaml::Text(text) => check_text(schema, path, node, text, problems),
            Yaml::Number(number) => check_text(schema, path, node, &number.to_string(), problems),
            _ => wrong_sort("an amount such as `512Mi` or `2`", schema, path, node, problems),
        };
    }
    match (schema["type"].as_str().unwrap_or_default(), &node.value) {
        ("object", Yaml::Map(entries)) => object(root, schema, path, node, entries, problems),
        ("array", Yaml::List(items)) => array(root, schema, path, node, items, problems),
        ("string", Yaml::Text(text)) => check_text(schema, path, node, text, problems),
        ("integer", Yaml::Number(number)) if number.is_i64() || number.is_u64() => {
            check_range(schema, path, node, number.as_f64().unwrap_or_default(), problems);
        }
        ("number", Yaml::Number(number)) => {
            check_range(schema, path, node, number.as_f64().unwrap_or_default(), problems);
        }
        ("boolean", Yaml::Bool(_)) => {}
        ("object", _) => wrong_sort("fields", schema, path, node, problems),
        ("array", _) => wrong_sort("a list", schema, path, node, problems),
        ("string", _) => wrong_sort("text", schema, path, node, problems),
        ("integer", _) => wrong_sort("a whole number", schema, path, node, problems),
        ("number", _) => wrong_sort("a number", schema, path, node, problems),
        ("boolean", _) => wrong_sort("true or false", schema, path, node, problems),
        _ => {}
    }
}

fn object(
    root: &Value,
    schema: &Value,
    path: &str,
    node: &Node,
    entries: &[Entry],
    problems: &mut Vec<Problem>,
) {
    let properties = schema["properties"].as_object();
    let additional = schema.get("additionalProperties").filter(|value| value.is_object());
    for entry in entries {
        let below = format!("{path}.{}", entry.name);
        match (properties.and_then(|properties| properties.get(&entry.name)), additional) {
            // Null is the same as leaving the field out.
            (Some(_), _) if matches!(entry.node.value, Yaml::Null) => {}
            (Some(schema), _) | (None, Some(schema)) => walk(root, schema, &below, &entry.node, problems),
            (None, None) if schema["x-kubernetes-preserve-unknown-fields"] == true => {}
            (None, None) => {
                let known = properties.into_iter().flatten().map(|(name, _)| name.as_str());
                let near = nearest(&entry.name, known).map(ToOwned::to_owned);
                let hint = match near {
                    Some(_) => None,
                    None => Some(elsewhere(root, &entry.name).unwrap_or_else(|| known_fields(schema, path))),
                };
                problems.push(Problem {
                    path: below,
                    place: entry.place,
                    what: "no such field".into(),
                    nearest: near,
                    hint,
                });
            }
        }
    }
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if node.field(required).is_none() {
            let description = schema["properties"][required]["description"].as_str();
            problems.push(Problem {
                path: format!("{path}.{required}"),
                place: node.place,
                what: "is missing".into(),
                nearest: None,
                hint: description.map(first_sentence),
            });
        }
    }
    if let Some(max) = schema["maxProperties"].as_u64().filter(|max| entries.len() as u64 > *max) {
        problems.push(plain(path, node, format!("has {} entries, at most {max} are allowed", entries.len())));
    }
}

fn array(root: &Value, schema: &Value, path: &str, node: &Node, items: &[Node], problems: &mut Vec<Problem>) {
    for (index, item) in items.iter().enumerate() {
        walk(root, &schema["items"], &format!("{path}[{index}]"), item, problems);
    }
    if let Some(max) = schema["maxItems"].as_u64().filter(|max| items.len() as u64 > *max) {
        problems.push(plain(path, node, format!("has {} items, at most {max} are allowed", items.len())));
    }
    let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if keys.is_empty() {
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let key: Vec<String> = keys
            .iter()
            .filter_map(|key| item.field(key))
            .map(|entry| entry.node.json().to_string())
            .collect();
        if key.len() == keys.len() && !seen.insert(key.clone()) {
            let what = format!("a second item with {} {}", keys.join(", "), key.join(", "));
            problems.push(plain(&format!("{path}[{index}]"), item, what));
        }
    }
}

fn check_text(schema: &Value, path: &str, node: &Node, text: &str, problems: &mut Vec<Problem>) {
    if let Some(allowed) = schema["enum"].as_array() {
        let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        if !allowed.contains(&text) {
            problems.push(Problem {
                path: path.into(),
                place: node.place,
                what: format!("`{text}` is not one of {}", allowed.join(", ")),
                nearest: nearest(text, allowed.iter().copied()).map(Into::into),
                hint: None,
            });
        }
        return;
    }
    let length = text.chars().count() as u64;
    if schema["minLength"].as_u64().is_some_and(|min| length < min) {
        problems.push(plain(path, node, "is too short".into()));
    }
    if let Some(max) = schema["maxLength"].as_u64().filter(|max| length > *max) {
        problems.push(plain(path, node, format!("has {length} characters, at most {max} are allowed")));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && !matches(pattern, text)
    {
        let label = (pattern == DNS_LABEL).then(|| as_dns_label(text)).flatten();
        let label = label.map(|near| format!("lower-case letters, digits and '-', such as `{near}`"));
        let hint = label.or_else(|| schema["description"].as_str().map(first_sentence));
        problems.push(Problem {
            path: path.into(),
            place: node.place,
            what: format!("`{text}` does not have the right form"),
            nearest: None,
            hint: hint.or_else(|| Some(format!("its pattern is {pattern}"))),
        });
    }
}

/// Patterns of our own schema are always valid; one that is not would be seen by the test of every pattern.
fn matches(pattern: &str, text: &str) -> bool {
    regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

fn check_range(schema: &Value, path: &str, node: &Node, number: f64, problems: &mut Vec<Problem>) {
    let (min, max) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
    let low = min.is_some_and(|min| number < min);
    let high = max.is_some_and(|max| number > max);
    if !low && !high {
        return;
    }
    let range = match (min, max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => return,
    };
    problems.push(plain(path, node, format!("{number} is out of range: {range}")));
}

/// A configuration value: a scalar, a list of scalars, or a reference to a Secret.
fn any(path: &str, node: &Node, problems: &mut Vec<Problem>) {
    match &node.value {
        Yaml::Bool(_) | Yaml::Number(_) | Yaml::Text(_) => {}
        Yaml::Null => problems.push(Problem {
            path: path.into(),
            place: node.place,
            what: "has no value".into(),
            nearest: None,
            hint: Some("write \"\" for an empty value, or leave the option out".into()),
        }),
        Yaml::List(items) => {
            for (index, item) in items.iter().enumerate() {
                match item.value {
                    Yaml::List(_) | Yaml::Map(_) => {
                        problems.push(plain(
                            &format!("{path}[{index}]"),
                            item,
                            format!("{} inside the list of an option", item.sort()),
                        ));
                    }
                    _ => any(&format!("{path}[{index}]"), item, problems),
                }
            }
        }
        Yaml::Map(entries) => {
            let reference = node.field("secretKeyRef").map(|entry| &entry.node);
            let whole = reference.is_some_and(|to| to.field("name").is_some() && to.field("key").is_some());
            if !whole || entries.len() != 1 {
                problems.push(Problem {
                    path: path.into(),
                    place: node.place,
                    what: "an option's value cannot have fields".into(),
                    nearest: None,
                    hint: Some("write `{secretKeyRef: {name: …, key: …}}` for a value in a Secret".into()),
                });
            }
        }
    }
}

fn wrong_sort(wanted: &str, schema: &Value, path: &str, node: &Node, problems: &mut Vec<Problem>) {
    let hint = match (&node.value, schema["type"].as_str()) {
        (Yaml::Number(_) | Yaml::Bool(_), Some("string")) => {
            Some(format!("write it in quotes: \"{}\"", node.json()))
        }
        (Yaml::Text(text), Some("object")) => field_that_takes(schema, text),
        (_, Some("array")) if schema["items"]["type"] == "string" => {
            Some("write `[…]` or lines with `- `".into())
        }
        _ => None,
    };
    let verb = if wanted == "fields" { "are" } else { "is" };
    let what = format!("has {} where {wanted} {verb} wanted", node.sort());
    problems.push(Problem { path: path.into(), place: node.place, what, nearest: None, hint });
}

/// `content: demo` is meant as `content: {preset: demo}`: the field whose values have the text.
fn field_that_takes(schema: &Value, text: &str) -> Option<String> {
    let properties = schema["properties"].as_object()?;
    let takes =
        |field: &Value| field["enum"].as_array().is_some_and(|values| values.iter().any(|v| v == text));
    let (name, _) = properties.iter().find(|(_, field)| takes(field))?;
    Some(format!("write `{{{name}: {text}}}`"))
}

/// Where in the schema a field of that name is.
fn elsewhere(root: &Value, name: &str) -> Option<String> {
    fn search(schema: &Value, path: &str, name: &str) -> Option<String> {
        let mut found = None;
        if let Some(properties) = schema["properties"].as_object() {
            if properties.contains_key(name) {
                return Some(format!("{path}.{name}"));
            }
            found = properties.iter().find_map(|(key, below)| search(below, &format!("{path}.{key}"), name));
        }
        found
            .or_else(|| {
                let below = schema.get("additionalProperties").filter(|below| below.is_object())?;
                search(below, &format!("{path}.<name>"), name)
            })
            .or_else(|| search(schema.get("items")?, &format!("{path}[]"), name))
    }
    search(root, "spec", name).map(|path| format!("there is {path}"))
}

fn known_fields(schema: &Value, path: &str) -> String {
    let names: Vec<&str> =
        schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    format!("{path} has: {}", names.join(", "))
}

fn first_sentence(text: &str) -> String {
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.').replace('\n', " ")
}

fn plain(path: &str, node: &Node, what: String) -> Problem {
    Problem { path: path.into(), place: node.place, what, nearest: None, hint: None }
}
