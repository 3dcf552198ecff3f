//! The judgement: what is to be done about one item, given what was seen.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::item::{Absent, CallTemplate, Checksum, Item, Judge, Method, Shape, Step};
use super::key::{Ids, Key};
use super::template::{Fields, Piece, Template};
use crate::MARKER;
use crate::service::Service;

/// What is to be done about an item.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// In short.
    pub verdict: Verdict,
    /// The id of the object, if there is one.
    pub id: Option<String>,
    /// The steps, in order.
    pub actions: Vec<Action>,
    /// What is known of the object.
    pub facts: BTreeMap<String, String>,
}

/// One step and the object that it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// The id that the item's own key stands for in this step; none while the object is not made.
    pub own: Option<String>,
    /// The step.
    pub step: Step,
}

/// A decision in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is as declared.
    Keep,
    /// It is missing.
    Create,
    /// These fields differ.
    Correct(Vec<String>),
    /// Somebody else has to do something first.
    Wait(String),
    /// It cannot be done.
    Refuse {
        /// Why not.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}

/// Decide about one item.
///
/// `candidates` is what looking for it returned; `ids` must hold the ids of everything that it needs; `recorded` are
/// things that a ledger says were made by us, for kinds that carry no mark; `bytes` is the hash that an image's bytes
/// must have, where it is known.
pub fn decide(
    item: &Item,
    candidates: &[Value],
    ids: &Ids,
    recorded: &BTreeSet<Key>,
    bytes: Option<&Checksum>,
) -> Decision {
    let fitting = pick(item, candidates, ids);
    if let Judge::Image(_) = item.judge {
        return image(item, &fitting, ids, bytes);
    }
    let Some(best) = fitting.first().copied() else {
        return absent(item);
    };
    let mut decision = Decision {
        verdict: Verdict::Keep,
        id: Some(id(item, best)),
        actions: Vec::new(),
        facts: facts(item, best),
    };
    let fixed = differing(&item.fixed.fields, best, ids);
    if !fixed.is_empty() {
        let names: Vec<String> = fixed.into_keys().collect();
        return match &item.fixed.replace {
            Some(delete) if is_ours(best) || recorded.contains(&item.key) => {
                replace(item, delete, &decision, names)
            }
            _ => Decision { verdict: cannot_change(item, best, &names), ..decision },
        };
    }
    if item.judge == Judge::Server
        && let Some(verdict) = server(best)
    {
        return Decision { verdict, ..decision };
    }
    let kept = if item.every { fitting } else { vec![best] };
    let mut names = BTreeSet::new();
    for object in kept {
        corrections(item, object, ids, &mut names, &mut decision.actions);
    }
    if !names.is_empty() {
        decision.verdict = Verdict::Correct(names.into_iter().collect());
    }
    decision
}

/// Whether an object carries our mark: in its tags, its description or (servers) its metadata.
pub fn is_ours(object: &Value) -> bool {
    let mark = Template::Mentions(MARKER.to_owned());
    let ids = Ids::new();
    mark.holds(object.get("tags"), &ids)
        || mark.holds(object.get("description"), &ids)
        || object.pointer("/metadata/managed-by").is_some_and(|by| by == "oaas")
}

/// The candidates that the first fitting alternative recognises; oldest first, then by id, so that every observer
/// picks the same.
fn pick<'a>(item: &Item, candidates: &'a [Value], ids: &Ids) -> Vec<&'a Value> {
    for alternative in &item.identify {
        let mut fitting: Vec<&Value> = candidates
            .iter()
            .filter(|candidate| {
                alternative.iter().all(|(name, template)| template.holds(candidate.get(name), ids))
            })
            .collect();
        if !fitting.is_empty() {
            let text =
                |value: &Value, name: &str| value.get(name).map(ToString::to_string).unwrap_or_default();
            fitting.sort_by_cached_key(|value| (text(value, "created_at"), text(value, "id")));
            return fitting;
        }
    }
    Vec::new()
}

fn absent(item: &Item) -> Decision {
    let fresh = |steps: &[Step]| steps.iter().map(|step| Action { own: None, step: step.clone() }).collect();
    let (verdict, actions) = match &item.absent {
        Absent::Create(steps) => (Verdict::Create, fresh(steps)),
        Absent::Correct(steps) => (Verdict::Correct(vec!["value".to_owned()]), fresh(steps)),
        Absent::Wait(reason) => (Verdict::Wait(reason.clone()), Vec::new()),
        Absent::Missing(message) => {
            let hint =
                format!("declare {} in the content, or correct the name where it is mentioned", item.key);
            (Verdict::Refuse { message: message.clone(), hint: Some(hint) }, Vec::new())
        }
    };
    Decision { verdict, id: None, actions, facts: BTreeMap::new() }
}

fn id(item: &Item, object: &Value) -> String {
    // What has no id of its own (an assignment, a quota) is merely present.
    let found = object.pointer(item.id).and_then(Value::as_str);
    found.map_or_else(|| "present".to_owned(), str::to_owned)
}

fn facts(item: &Item, object: &Value) -> BTreeMap<String, String> {
    let fact = |(name, pointer): &(&str, Cow<str>)| {
        let text = match object.pointer(pointer)? {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some(((*name).to_owned(), text))
    };
    item.facts.iter().filter_map(fact).collect()
}

fn differing(fields: &Fields, object: &Value, ids: &Ids) -> Fields {
    let differs = |(name, template): &(&String, &Template)| !template.holds(object.get(name.as_str()), ids);
    fields.iter().filter(differs).map(|(name, template)| (name.clone(), template.clone())).collect()
}

fn corrections(
    item: &Item,
    object: &Value,
    ids: &Ids,
    names: &mut BTreeSet<String>,
    actions: &mut Vec<Action>,
) {
    for correction in &item.declared {
        let changed = differing(&correction.fields, object, ids);
        if !changed.is_empty() {
            names.extend(changed.keys().cloned());
            let call = correction.call.clone().body(correction.shape, changed);
            actions.push(Action { own: Some(id(item, object)), step: Step::Call { call, id: None } });
        }
    }
}

fn replace(item: &Item, delete: &CallTemplate, found: &Decision, names: Vec<String>) -> Decision {
    let mut actions =
        vec![Action { own: found.id.clone(), step: Step::Call { call: delete.clone(), id: None } }];
    if let Absent::Create(steps) = &item.absent {
        actions.extend(steps.iter().map(|step| Action { own: None, step: step.clone() }));
    }
    Decision { verdict: Verdict::Correct(names), actions, ..found.clone() }
}

fn cannot_change(item: &Item, object: &Value, names: &[String]) -> Verdict {
    let shown = |name: &String| {
        let value = object.get(name).unwrap_or(&Value::Null);
        format!("{name} is {value}")
    };
    let differing = names.iter().map(shown).collect::<Vec<_>>().join(", ");
    Verdict::Refuse {
        message: format!("it is there, but not as declared, and this cannot be changed: {differing}"),
        hint: Some(format!(
            "declare {} as it is, give it another name, or delete it to have it made anew",
            item.key
        )),
    }
}

/// What a server's status means, where it is more than "there". A server that its user stopped, paused or shelved
/// is left so. Statuses: Compute API, "Server concepts".
fn server(object: &Value) -> Option<Verdict> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    match text("/status") {
        Some("BUILD") => {
            let task = text("/OS-EXT-STS:task_state").unwrap_or("scheduling");
            Some(Verdict::Wait(format!("it is being built ({task})")))
        }
        Some("ERROR") => Some(Verdict::Refuse {
            message: match text("/fault/message") {
                Some(fault) => format!("it is in error: {fault}"),
                None => "it is in error, and Nova recorded no fault".to_owned(),
            },
            hint: Some(
                "see the logs of nova-conductor and nova-compute; delete the server to have it made anew"
                    .to_owned(),
            ),
        }),
        _ => None,
    }
}

/// Images of ours by this name: good, half-uploaded, or with other bytes. What is half-uploaded is removed; what has
/// other bytes is hidden once the right one is there, not deleted, because servers may be rebuilt from it.
fn image(item: &Item, ours: &[&Value], ids: &Ids, bytes: Option<&Checksum>) -> Decision {
    let status = |object: &Value| object.get("status").and_then(Value::as_str).unwrap_or_default().to_owned();
    let half = |object: &Value| {
        matches!(status(object).as_str(), "queued" | "saving" | "uploading" | "importing" | "killed")
    };
    let whole = |object: &Value| matches!(status(object).as_str(), "active" | "deactivated");
    let good = ours.iter().copied().find(|object| whole(object) && has_bytes(object, bytes));

    let mut actions: Vec<Action> = ours
        .iter()
        .filter(|object| half(object))
        .map(|object| image_step(item, object, Method::Delete, None))
        .collect();
    let mut names = BTreeSet::new();
    if !actions.is_empty() {
        names.insert("half-uploaded copy".to_owned());
    }
    if let Some(good) = good {
        corrections(item, good, ids, &mut names, &mut actions);
        let verdict =
            if names.is_empty() { Verdict::Keep } else { Verdict::Correct(names.into_iter().collect()) };
        return Decision { verdict, id: Some(id(item, good)), actions, facts: facts(item, good) };
    }
    let fresh = absent(item);
    actions.extend(fresh.actions);
    let stale: Vec<&Value> = ours.iter().copied().filter(|object| whole(object)).collect();
    for object in &stale {
        let hidden = Fields::from([("os_hidden".to_owned(), Template::from(true))]);
        actions.push(image_step(item, object, Method::Patch, Some(hidden)));
    }
    if !stale.is_empty() {
        names.insert("bytes".to_owned());
    }
    let verdict =
        if names.is_empty() { fresh.verdict } else { Verdict::Correct(names.into_iter().collect()) };
    Decision { verdict, id: None, actions, facts: BTreeMap::new() }
}

fn image_step(item: &Item, object: &Value, method: Method, change: Option<Fields>) -> Action {
    let mut call =
        CallTemplate::new(Service::Image, method, [Piece::from("/v2/images/"), Piece::from(&item.key)]);
    if let Some(fields) = change {
        call = call.body(Shape::JsonPatch, fields);
    }
    Action { own: Some(id(item, object)), step: Step::Call { call, id: None } }
}

fn has_bytes(object: &Value, bytes: Option<&Checksum>) -> bool {
    match bytes {
        None => true,
        Some(Checksum::Sha512(hex)) => match object.get("os_hash_algo").and_then(Value::as_str) {
            Some("sha512") => object.get("os_hash_value") == Some(&json!(hex)),
            // A Glance with another `hashing_algorithm` cannot be asked; better no judgement than an upload for ever.
            _ => true,
        },
        // Glance keeps no SHA-256; we write the one that we checked into a property of our own.
        Some(checksum) => object.get(CHECKSUM_PROPERTY) == Some(&json!(checksum.to_string())),
    }
}

/// The property of our images that holds the checksum they were declared with.
pub(crate) const CHECKSUM_PROPERTY: &str = "oaas_checksum";
