//! Pieces of schema that schemars has no attribute for.

use serde_json::{Value, json};

/// One CEL rule with the message that a person gets when it fails.
pub(crate) fn rule(cel: &str, message: &str) -> Value {
    json!({ "rule": cel, "message": message })
}

/// CEL: counts of quorum components are odd, for a map of services at `self`.
pub(crate) fn odd_replicas() -> Value {
    let names = crate::names::QUORUM_COMPONENTS.map(|name| format!("'{name}'")).join(", ");
    json!({
        "rule": format!(
            "[{names}].all(n, !(n in self) || !has(self[n].replicas) || self[n].replicas % 2 == 1)"
        ),
        "message": format!("{names} vote: replicas must be odd (1, 3, 5), else a half split stops the cloud"),
    })
}

/// Pattern of names that become parts of DNS names.
pub(crate) const DNS_LABEL: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";

/// Schema of a list of conditions, keyed by type; the same fields as `metav1.Condition`, with shorter descriptions.
pub(crate) fn conditions(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "description": "Conditions: `Accepted`, `Progressing`, `Ready`, `Degraded`.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One condition.",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "description": "Which condition." },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds." },
                "reason": { "type": "string", "description": "Why, in one word." },
                "message": { "type": "string", "description": "Why, for people." },
                "lastTransitionTime": {
                    "type": "string", "format": "date-time", "description": "When its status last changed."
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64",
                    "description": "Generation of the resource that it is about."
                },
            },
        },
    })
}
