//! What a change changes, down to the option.

use std::collections::{BTreeMap, BTreeSet};

use crate::blueprint::{Blueprint, ComponentPlan};
use crate::document::{Content, Document};

/// How something changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It comes.
    Added,
    /// It goes.
    Removed,
    /// It becomes another.
    Changed,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of which component.
    pub component: String,
    /// Of what: `nova.conf [DEFAULT] debug`, `image`, `replicas`.
    pub what: String,
    /// How.
    pub kind: ChangeKind,
    /// What was; hidden where it is secret.
    pub before: Option<String>,
    /// What will be; hidden where it is secret.
    pub after: Option<String>,
    /// Do the component's pods restart by it?
    pub restarts: bool,
}

/// What lies between two blueprints of the same cloud. `secrets` are the values that must not be shown.
pub fn diff(before: &Blueprint, after: &Blueprint, secrets: &BTreeSet<String>) -> Vec<Change> {
    let mut changes = Vec::new();
    let names: BTreeSet<&String> = before.components.keys().chain(after.components.keys()).collect();
    for name in names {
        match (before.components.get(name), after.components.get(name)) {
            (Some(old), Some(new)) => component_changes(old, new, secrets, &mut changes),
            (old, new) => changes.push(Change {
                component: name.clone(),
                what: "component".into(),
                kind: if new.is_some() { ChangeKind::Added } else { ChangeKind::Removed },
                before: old.map(|plan| plan.image.reference.clone()),
                after: new.map(|plan| plan.image.reference.clone()),
                restarts: false,
            }),
        }
    }
    changes
}

fn component_changes(
    old: &ComponentPlan,
    new: &ComponentPlan,
    secrets: &BTreeSet<String>,
    changes: &mut Vec<Change>,
) {
    let first = changes.len();
    let mut note = |what: String, before: Option<String>, after: Option<String>, restarts: bool| {
        if before == after {
            return;
        }
        let kind = match (&before, &after) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
            _ => ChangeKind::Changed,
        };
        let hide = |text: Option<String>| text.map(|text| hidden(&text, secrets));
        changes.push(Change {
            component: new.name.clone(),
            what,
            kind,
            before: hide(before),
            after: hide(after),
            restarts,
        });
    };
    if old.image.closure != new.image.closure {
        note("image".into(), Some(old.image.reference.clone()), Some(new.image.reference.clone()), true);
    }
    note("replicas".into(), Some(old.replicas.to_string()), Some(new.replicas.to_string()), false);
    note(
        "memory limit".into(),
        Some(format!("{}Mi", old.resources.memory_limit_mib)),
        Some(format!("{}Mi", new.resources.memory_limit_mib)),
        true,
    );
    let paths: BTreeSet<&String> =
        old.documents.iter().chain(&new.documents).map(|document| &document.path).collect();
    for path in paths {
        let find = |documents: &[Document]| {
            documents
                .iter()
                .find(|document| document.path == *path)
                .map(|d| options(path, d))
                .unwrap_or_default()
        };
        let (before, after) = (find(&old.documents), find(&new.documents));
        for option in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            note(option.clone(), before.get(option).cloned(), after.get(option).cloned(), true);
        }
    }
    if changes.len() == first && old.hash != new.hash {
        changes.push(Change {
            component: new.name.clone(),
            what: "pod".into(),
            kind: ChangeKind::Changed,
            before: None,
            after: None,
            restarts: true,
        });
    }
}

/// Each option of a file, under a name that people read.
fn options(path: &str, document: &Document) -> BTreeMap<String, String> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let mut found = BTreeMap::new();
    match document.content.expose() {
        Content::Sections(sections) => {
            for (section, options) in sections {
                for (option, values) in options {
                    found.insert(format!("{file} [{section}] {option}"), values.join(", "));
                }
            }
        }
        Content::Tree(tree) => flatten(file, tree, &mut found),
        Content::Lines(lines) => {
            found.insert(file.to_owned(), lines.join("\n"));
        }
        Content::PublicEndpoint(model) => {
            for route in &model.routes {
                found.insert(format!("{file} {}", route.path), format!("{}:{}", route.host, route.port));
            }
        }
    }
    found
}

fn flatten(name: &str, tree: &serde_json::Value, found: &mut BTreeMap<String, String>) {
    match tree {
        serde_json::Value::Object(items) => {
            for (key, item) in items {
                flatten(&format!("{name} {key}"), item, found);
            }
        }
        other => {
            found.insert(name.to_owned(), other.as_str().map_or_else(|| other.to_string(), str::to_owned));
        }
    }
}

/// A text with every secret in it hidden. Very short secrets would hide half of every text, and none is generated.
fn hidden(text: &str, secrets: &BTreeSet<String>) -> String {
    secrets
        .iter()
        .filter(|secret| secret.len() >= 8)
        .fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}
