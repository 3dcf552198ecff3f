//! A user's file: every problem it has, each with its line, the nearest right name and a hint.
//!
//! # Flow
//! text → YAML with places → walk along the schema of the custom resource → typed resource → the schema's CEL rules.
//! The schema is the only source of what is right, so the answer is the API server's, only kinder and all at once.
//!
//! # Caveats
//! CEL rules run when the shape is right, and rules that compare with the old resource run in the API server only.

mod check;
mod label;
mod problem;
mod yaml;

use std::fmt;

use oaas_feedback::{Explain, Kind, nearest};
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::openstack::{NAME_MAX, OpenStack};
use label::as_dns_label;
pub use label::is_dns_label;
pub use problem::Problem;
pub use yaml::Place;
use yaml::{Node, Yaml};

/// Every problem of a user's file, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputErrors {
    /// The problems.
    pub problems: Vec<Problem>,
}

impl fmt::Display for InputErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(out, "failed to read the resource: {count} problem{}", if count == 1 { "" } else { "s" })?;
        for problem in &self.problems {
            write!(out, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InputErrors {}

impl Explain for InputErrors {
    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        Some("docs/reference.md lists every field; a minimal resource names only spec.release".into())
    }
}

/// Reads one `OpenStack` resource from YAML (or JSON), or lists everything that is wrong with it.
pub fn parse_resource(yaml: &str) -> Result<OpenStack, InputErrors> {
    let root = read(yaml).map_err(|problem| InputErrors { problems: vec![problem] })?;
    let mut problems = Vec::new();
    check_envelope(&root, &mut problems);
    let schema = spec_schema();
    match root.field("spec") {
        Some(spec) => check::walk(&schema, &schema, "spec", &spec.node, &mut problems),
        None => problems.push(Problem {
            path: "spec".into(),
            place: root.place,
            what: "is missing".into(),
            nearest: None,
            hint: Some("write at least: spec: { release: \"2026.1\" }".into()),
        }),
    }
    if problems.is_empty() {
        match typed(&root) {
            Ok(cloud) => return Ok(cloud),
            Err(more) => problems = more,
        }
    }
    problems.sort_by(|a, b| (a.place, &a.path).cmp(&(b.place, &b.path)));
    Err(InputErrors { problems })
}

/// The schema of `OpenStack`'s `spec`.
fn spec_schema() -> Value {
    let crd = crate::crds().into_iter().next();
    let version = crd.and_then(|crd| crd.spec.versions.into_iter().next());
    let schema = version.and_then(|version| version.schema);
    let schema = schema.and_then(|schema| schema.open_api_v3_schema);
    let value = serde_json::to_value(schema).expect("a schema made of plain data serialises");
    value["properties"]["spec"].clone()
}

fn read(yaml: &str) -> Result<Node, Problem> {
    let whole = |what: String, place: Place, hint: &str| Problem {
        path: String::new(),
        place,
        what,
        nearest: None,
        hint: Some(hint.into()),
    };
    let root: Spanned<Yaml> = serde_saphyr::from_str(yaml).map_err(|error| {
        let place = error.location().map_or(Place { line: 1, column: 1 }, |location| Place {
            line: location.line(),
            column: location.column(),
        });
        let text = error.without_snippet().to_string();
        whole(
            format!("is not valid YAML: {}", text.trim()),
            place,
            "one document with one resource is wanted",
        )
    })?;
    let root = Node::from(root);
    if matches!(root.value, Yaml::Map(_)) {
        return Ok(root);
    }
    let what = format!("has {} where a resource is wanted", root.sort());
    Err(whole(
        what,
        Place { line: root.place.line.max(1), ..root.place },
        "start with `apiVersion: oaas.dev/v1alpha1`",
    ))
}

/// `apiVersion`, `kind` and the name.
fn check_envelope(root: &Node, problems: &mut Vec<Problem>) {
    let mut expect = |field: &str, right: &str| {
        let entry = root.field(field);
        let is = entry.map(|entry| entry.node.json());
        if is.as_ref().and_then(Value::as_str) != Some(right) {
            problems.push(Problem {
                path: field.into(),
                place: entry.map_or(root.place, |entry| entry.place),
                what: is.map_or("is missing".into(), |value| format!("is {value}")),
                nearest: None,
                hint: Some(format!("write `{field}: {right}`")),
            });
        }
    };
    expect("apiVersion", "oaas.dev/v1alpha1");
    expect("kind", "OpenStack");
    let known = ["apiVersion", "kind", "metadata", "spec", "status"];
    if let Yaml::Map(entries) = &root.value {
        for entry in entries.iter().filter(|entry| !known.contains(&entry.name.as_str())) {
            let below_spec = spec_schema()["properties"].get(&entry.name).is_some();
            problems.push(Problem {
                path: entry.name.clone(),
                place: entry.place,
                what: "no such field".into(),
                nearest: nearest(&entry.name, known).map(Into::into),
                hint: below_spec.then(|| format!("it belongs below spec: spec.{}", entry.name)),
            });
        }
    }
    check_name(root, problems);
}

fn check_name(root: &Node, problems: &mut Vec<Problem>) {
    let metadata = root.field("metadata").map(|entry| &entry.node);
    let name = metadata.and_then(|metadata| metadata.field("name"));
    let mut wrong = |what: String, hint: Option<String>| {
        let place = name.map_or_else(|| root.place_of("metadata"), |entry| entry.place);
        problems.push(Problem { path: "metadata.name".into(), place, what, nearest: None, hint });
    };
    match name.map(|entry| entry.node.json()) {
        None => wrong("is missing".into(), Some("name the cloud, such as `metadata: { name: demo }`".into())),
        Some(Value::String(name)) if is_dns_label(&name) && name.len() <= NAME_MAX => {}
        Some(value) => {
            let given = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            let near = as_dns_label(&given);
            wrong(
                format!(
                    "`{given}` cannot be part of a DNS name: at most {NAME_MAX} lower-case letters, digits and '-', \
                     starting with a letter"
                ),
                near.map(|near| format!("write `{near}`")),
            );
        }
    }
}

/// The typed resource, when the schema's CEL rules hold too.
fn typed(root: &Node) -> Result<OpenStack, Vec<Problem>> {
    let cloud: OpenStack = serde_json::from_value(root.json()).map_err(|error| {
        vec![Problem {
            path: String::new(),
            place: root.place,
            what: format!("does not have the shape of an OpenStack resource: {error}"),
            nearest: None,
            hint: None,
        }]
    })?;
    match kube::core::cel::validate_cel(&cloud) {
        Ok(()) => Ok(cloud),
        Err(errors) => Err(errors
            .into_vec()
            .into_iter()
            .map(|error| Problem {
                place: root.place_of(&error.field_path),
                path: error.field_path,
                what: error.message,
                nearest: None,
                hint: None,
            })
            .collect()),
    }
}
