//! The reference document of both resources, written from their schemas.

use std::fmt::Write;

use serde_json::Value;

use crate::crds::crds;
use crate::reason::Reason;

/// `docs/reference.md`: every field of both resources with its type, limits, default and meaning, and every reason.
pub fn reference() -> String {
    let mut out = String::from(
        "# Reference of the resources\n\n\
         Written from the schemas in `crates/api` by `cargo run -p oaas-api --example print_reference`; `kubectl \
         explain oscloud.spec` says the same.\n\nA minimal resource:\n\n```yaml\n",
    );
    out.push_str(include_str!("../examples/minimal.yaml"));
    out.push_str("```\n");
    for crd in crds() {
        let schema = crd.spec.versions[0].schema.clone().and_then(|schema| schema.open_api_v3_schema);
        let schema = serde_json::to_value(schema).expect("a schema made of plain data serialises");
        let short = crd.spec.names.short_names.unwrap_or_default().join(", ");
        push(&mut out, format_args!("\n## {} (`{short}`)\n\n", crd.spec.names.kind));
        push(&mut out, format_args!("{}\n", schema["description"].as_str().unwrap_or_default()));
        for part in ["spec", "status"] {
            push(&mut out, format_args!("\n### {part}\n\n| Field | Type | Meaning |\n|---|---|---|\n"));
            fields(&mut out, &schema["properties"][part], "");
        }
    }
    out.push_str("\n## Reasons\n\nOf conditions, waits and Events.\n\n| Reason | Meaning |\n|---|---|\n");
    for reason in Reason::ALL {
        push(&mut out, format_args!("| `{reason}` | {} |\n", reason.meaning().trim()));
    }
    out
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String does not fail");
}

/// One row per field, depth first.
fn fields(out: &mut String, schema: &Value, path: &str) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let mut meaning =
            field["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        if required.contains(&name.as_str()) {
            meaning.insert_str(0, "**Required.** ");
        }
        for rule in field["x-kubernetes-validations"].as_array().into_iter().flatten() {
            push_sentence(&mut meaning, "Refused", rule["message"].as_str().unwrap_or_default());
        }
        if let Some(default) = field.get("default").filter(|value| !value.is_object()) {
            push_sentence(&mut meaning, "Default", &default.to_string().replace('"', ""));
        }
        push(out, format_args!("| `{below}` | {} | {meaning} |\n", type_of(field)));
        descend(out, field, &below);
    }
}

/// The fields inside lists and maps.
fn descend(out: &mut String, field: &Value, path: &str) {
    if field["items"].is_object() {
        descend(out, &field["items"], &format!("{path}[]"));
    } else if field["additionalProperties"].is_object() {
        descend(out, &field["additionalProperties"], &format!("{path}.*"));
    } else {
        fields(out, field, path);
    }
}

fn push_sentence(meaning: &mut String, what: &str, text: &str) {
    if !meaning.ends_with('.') {
        meaning.push('.');
    }
    push(meaning, format_args!(" {what}: {}.", text.replace('|', "\\|")));
}

fn type_of(field: &Value) -> String {
    if let Some(values) = field["enum"].as_array() {
        return values
            .iter()
            .filter_map(Value::as_str)
            .map(|v| format!("`{v}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if field["x-kubernetes-int-or-string"] == true {
        return "amount".into();
    }
    let range = match (field["minimum"].as_f64(), field["maximum"].as_f64()) {
        (Some(min), Some(max)) => format!(" {min} to {max}"),
        (Some(min), None) if min > 0.0 => format!(" from {min}"),
        _ => String::new(),
    };
    match field["type"].as_str() {
        Some("array") => format!("list of {}", type_of(&field["items"])),
        Some("object") if field["additionalProperties"].is_object() => {
            format!("map to {}", type_of(&field["additionalProperties"]))
        }
        Some("object") => "fields".into(),
        Some("string") if field["format"] == "date-time" => "time".into(),
        Some("string") => "text".into(),
        Some("integer") => format!("whole number{range}"),
        Some("boolean") => "true or false".into(),
        Some("number") => format!("number{range}"),
        _ => "any value".into(),
    }
}
