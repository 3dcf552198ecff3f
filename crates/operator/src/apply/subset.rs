//! Whether everything that is desired is so already.
//!
//! The API server fills in defaults, adds status, and other field managers add fields of their own. So equality says
//! nothing: an object is as desired when each field that we set has our value. What the server writes in another form
//! (quantities) is compared by value, and what it leaves out because it is empty (`""`, `0`, `false`, `{}`, `[]`) is
//! the same as missing.

use std::borrow::Cow;

use serde_json::Value;

use super::quantity;

/// Lists that the API server keys by fields: others may add items, and order says nothing.
const KEYED: &[(&str, &[&str])] = &[
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("ports", &["containerPort", "port", "protocol"]),
    ("imagePullSecrets", &["name"]),
    ("secrets", &["name"]),
    ("hostAliases", &["ip"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("conditions", &["type"]),
    ("ownerReferences", &["uid"]),
];

/// Fields below which text is a quantity.
const QUANTITIES: &[&str] = &["limits", "requests", "capacity", "hard", "sizeLimit", "divisor", "overhead"];

/// The first field (as a dotted path) of `desired` that is different in `live`; none when all of it is there.
pub fn first_difference(desired: &Value, live: &Value) -> Option<String> {
    let mut path = Vec::new();
    differs(desired, live, &mut path, false).then(|| path.join("."))
}

fn differs(desired: &Value, live: &Value, path: &mut Vec<String>, quantity: bool) -> bool {
    match (desired, live) {
        (Value::Object(fields), Value::Object(has)) => fields.iter().any(|(name, value)| {
            path.push(name.clone());
            let found = has.get(name).unwrap_or(&Value::Null);
            let below = quantity || QUANTITIES.contains(&name.as_str());
            let different = match KEYED.iter().find(|(list, _)| list == name) {
                Some((_, keys)) if value.is_array() && found.is_array() => {
                    keyed(keys, value, found, path, below)
                }
                _ => differs(value, found, path, below),
            };
            if !different {
                path.pop();
            }
            different
        }),
        (Value::Array(items), Value::Array(has)) if items.len() == has.len() => {
            items.iter().zip(has).enumerate().any(|(index, (item, found))| {
                path.push(index.to_string());
                let different = differs(item, found, path, quantity);
                if !different {
                    path.pop();
                }
                different
            })
        }
        (wanted, Value::Null) => !is_empty(wanted),
        (Value::String(wanted), Value::String(found)) if wanted != found && quantity => {
            quantity::parse(wanted).is_none_or(|value| Some(value) != quantity::parse(found))
        }
        // `65535.0` and `65535` are one number in JSON, but not to the parser.
        (Value::Number(wanted), Value::Number(found)) => wanted != found && wanted.as_f64() != found.as_f64(),
        (wanted, found) => wanted != found,
    }
}

/// Compares lists by the keys of their items.
fn keyed(keys: &[&str], desired: &Value, live: &Value, path: &mut Vec<String>, quantity: bool) -> bool {
    let items = desired.as_array().into_iter().flatten();
    items.enumerate().any(|(index, item)| {
        path.push(index.to_string());
        let same = |found: &&Value| keys.iter().all(|key| key_of(item, key) == key_of(found, key));
        let found = live.as_array().into_iter().flatten().find(same);
        let different = found.is_none_or(|found| differs(item, found, path, quantity));
        if !different {
            path.pop();
        }
        different
    })
}

/// The value of a key as text; the API server fills in the protocol of ports.
fn key_of<'a>(item: &'a Value, key: &str) -> Option<Cow<'a, str>> {
    match item.get(key) {
        None | Some(Value::Null) => (key == "protocol").then_some(Cow::Borrowed("TCP")),
        Some(Value::String(text)) => Some(Cow::Borrowed(text)),
        Some(other) => Some(Cow::Owned(other.to_string())),
    }
}

/// Whether the API server leaves the value out when it writes it back.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::first_difference;

    #[test]
    fn defaults_and_fields_of_others_say_nothing() {
        let desired = json!({ "spec": { "containers": [{ "name": "a", "image": "x", "ports": [{ "containerPort": 80 }] }] } });
        let live = json!({
            "spec": { "dnsPolicy": "ClusterFirst", "containers": [
                { "name": "injected", "image": "y" },
                { "name": "a", "image": "x", "imagePullPolicy": "Always",
                  "ports": [{ "containerPort": 80, "protocol": "TCP" }] },
            ]},
            "status": {},
        });
        assert_eq!(first_difference(&desired, &live), None);
    }

    #[test]
    fn a_changed_field_is_named() {
        let desired = json!({ "spec": { "containers": [{ "name": "a", "args": ["x", "y"] }] } });
        let live = json!({ "spec": { "containers": [{ "name": "a", "args": ["x"] }] } });
        assert_eq!(first_difference(&desired, &live).unwrap(), "spec.containers.0.args");
    }

    #[test]
    fn lists_without_keys_are_whole() {
        let desired = json!({ "rules": [{ "verbs": ["get"] }] });
        let live = json!({ "rules": [{ "verbs": ["get"] }, { "verbs": ["delete"] }] });
        assert_eq!(first_difference(&desired, &live).unwrap(), "rules");
    }

    #[test]
    fn quantities_are_compared_by_value_and_only_where_they_are_quantities() {
        let desired = json!({ "limits": { "cpu": "0.5", "memory": "1024Mi" } });
        assert_eq!(
            first_difference(&desired, &json!({ "limits": { "cpu": "500m", "memory": "1Gi" } })),
            None
        );
        assert!(
            first_difference(&desired, &json!({ "limits": { "cpu": "501m", "memory": "1Gi" } })).is_some()
        );
        assert!(
            first_difference(&json!({ "data": { "a": "1024Mi" } }), &json!({ "data": { "a": "1Gi" } }))
                .is_some()
        );
    }

    #[test]
    fn what_is_empty_is_the_same_as_missing() {
        let desired = json!({ "a": "", "b": 0, "c": false, "d": {}, "e": [], "f": null, "g": { "h": "" } });
        assert_eq!(first_difference(&desired, &json!({})), None);
        assert_eq!(first_difference(&json!({ "a": "x" }), &json!({})).unwrap(), "a");
        assert_eq!(
            first_difference(&json!({ "emptyDir": {} }), &json!({ "emptyDir": { "medium": "Memory" } })),
            None
        );
    }

    #[test]
    fn a_number_is_the_same_with_and_without_a_fraction() {
        assert_eq!(first_difference(&json!({ "maximum": 65535.0 }), &json!({ "maximum": 65535 })), None);
        assert!(first_difference(&json!({ "maximum": 65535.0 }), &json!({ "maximum": 65534 })).is_some());
    }

    #[test]
    fn two_ports_of_one_number_are_told_apart_by_protocol() {
        let desired = json!({ "ports": [{ "port": 53, "protocol": "UDP", "targetPort": 1 }, { "port": 53, "targetPort": 2 }] });
        let live = json!({ "ports": [
            { "port": 53, "protocol": "TCP", "targetPort": 2 }, { "port": 53, "protocol": "UDP", "targetPort": 1 },
        ]});
        assert_eq!(first_difference(&desired, &live), None);
    }
}
