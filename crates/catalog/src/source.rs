//! A file of the catalog before its conditions are evaluated.
//!
//! A condition may stand wherever a mapping, a list's item or a value does, so it is evaluated on the bare YAML, before
//! that becomes a type:
//!
//! - A mapping with the key `when` is there only where the condition holds. It leaves its list, or its key its mapping.
//! - `{when: …, value: X}` is `X` there: a condition of what is no mapping. A list as `X` gives its items to the list
//!   around it.
//! - `{first: [A, B, …]}` is the first of those that is there; a last one without a condition is the rest.

use std::fmt;

use serde::Deserialize;
use serde_yaml_ng::with::singleton_map_recursive;
use serde_yaml_ng::{Mapping, Value};

use crate::place::{self, Step};
use crate::when::{Circumstances, When};

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The file, below `data/`.
    pub file: String,
    /// The line, counted from 1, where it is known.
    pub line: Option<usize>,
    /// Where in the data: `components[0].role`.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, place, what, .. } = self;
        match self.line {
            Some(line) => write!(out, "{file}, line {line} ({place}): {what}"),
            None => write!(out, "{file} ({place}): {what}"),
        }
    }
}

impl std::error::Error for Wrong {}

impl oaas_feedback::Explain for Wrong {
    fn kind(&self) -> oaas_feedback::Kind {
        // The catalog is a part of the program.
        oaas_feedback::Kind::Failed
    }
}

/// A YAML file, conditions and all.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    file: String,
    text: String,
    value: Value,
}

impl Source {
    /// Read a file. Aliases and merge keys (`<<`) are resolved here.
    pub(crate) fn read(file: &str, text: &str) -> Result<Self, serde_yaml_ng::Error> {
        let mut value: Value = serde_yaml_ng::from_str(text)?;
        value.apply_merge()?;
        Ok(Self { file: file.to_owned(), text: text.to_owned(), value })
    }

    /// The text at a key of the file itself, such as a service's `name`.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.value.get(key)?.as_str()
    }

    /// The condition of the file as a whole.
    pub(crate) fn own_when(&self) -> Option<When> {
        self.value.get(WHEN).and_then(|when| parse(when).ok())
    }

    /// Has the file itself that key, whether its value is there or not?
    pub(crate) fn has(&self, key: &str) -> bool {
        self.value.get(key).is_some()
    }

    /// The keys of the mapping at a key, whether their values are there or not.
    pub(crate) fn keys(&self, key: &str) -> impl Iterator<Item = &str> {
        let mapping = self.value.get(key).and_then(Value::as_mapping);
        mapping.into_iter().flat_map(Mapping::keys).filter_map(Value::as_str)
    }

    /// Every condition in it, or what is wrong with one, each with its place.
    pub(crate) fn conditions(&self) -> Vec<(String, Result<When, String>)> {
        let mut found = Vec::new();
        collect(&self.value, "", &mut found);
        found
    }

    /// What is there of it; `None` where nothing is.
    pub(crate) fn select<T: for<'de> Deserialize<'de>>(
        &self,
        of: &Circumstances<'_>,
    ) -> Result<Option<T>, Wrong> {
        let Some(value) = evaluate(&self.value, of) else { return Ok(None) };
        typed(value).map(Some).map_err(|error| {
            let what = error.inner().to_string();
            self.wrong(of, &place::steps(error.path(), &what), what)
        })
    }

    /// A complaint about a place in what was evaluated.
    pub(crate) fn wrong(&self, of: &Circumstances<'_>, steps: &[Step], what: String) -> Wrong {
        let mut origin = Vec::new();
        trace(&self.value, steps, of, &mut origin);
        let (file, line) = (self.file.clone(), place::line(&self.text, &origin));
        Wrong { file, line, place: place::words(&origin), what }
    }
}

/// The keys that conditions are written with.
const WHEN: &str = "when";
const VALUE: &str = "value";
const FIRST: &str = "first";

/// Bare YAML as a type, with enums written as maps of one key, as JSON has them, and not as YAML tags.
fn typed<T: for<'de> Deserialize<'de>>(
    value: Value,
) -> Result<T, serde_path_to_error::Error<serde_yaml_ng::Error>> {
    let mut track = serde_path_to_error::Track::new();
    let place = serde_path_to_error::Deserializer::new(value, &mut track);
    singleton_map_recursive::deserialize(place)
        .map_err(|error| serde_path_to_error::Error::new(track.path(), error))
}

fn parse(when: &Value) -> Result<When, String> {
    serde_yaml_ng::from_value(when.clone()).map_err(|error| error.to_string())
}

fn collect(value: &Value, place: &str, found: &mut Vec<(String, Result<When, String>)>) {
    match value {
        Value::Mapping(items) => {
            for (key, item) in items {
                let key = key.as_str().unwrap_or_default();
                if key == WHEN {
                    found.push((place.trim_start_matches('.').to_owned(), parse(item)));
                } else {
                    collect(item, &format!("{place}.{key}"), found);
                }
            }
        }
        Value::Sequence(items) => {
            for (number, item) in items.iter().enumerate() {
                collect(item, &format!("{place}[{number}]"), found);
            }
        }
        _ => {}
    }
}

/// What is there of a value.
fn evaluate(value: &Value, of: &Circumstances<'_>) -> Option<Value> {
    match value {
        Value::Mapping(items) => mapping(items, of),
        Value::Sequence(items) => {
            let mut there = Vec::new();
            for item in items {
                let spread = item.get(WHEN).is_some() && item.get(VALUE).is_some_and(Value::is_sequence);
                match evaluate(item, of) {
                    Some(Value::Sequence(several)) if spread => there.extend(several),
                    other => there.extend(other),
                }
            }
            Some(Value::Sequence(there))
        }
        other => Some(other.clone()),
    }
}

fn mapping(items: &Mapping, of: &Circumstances<'_>) -> Option<Value> {
    let when = items.get(WHEN);
    // One that cannot be read was refused when the catalog was loaded.
    if when.is_some_and(|when| !parse(when).is_ok_and(|when| when.holds(of))) {
        return None;
    }
    if let (1, Some(Value::Sequence(alternatives))) = (items.len(), items.get(FIRST)) {
        return alternatives.iter().find_map(|alternative| evaluate(alternative, of));
    }
    let there: Mapping = items
        .iter()
        .filter(|(key, _)| key.as_str() != Some(WHEN))
        .filter_map(|(key, item)| Some((key.clone(), evaluate(item, of)?)))
        .collect();
    match there.get(VALUE) {
        Some(value) if when.is_some() && there.len() == 1 => Some(value.clone()),
        _ => Some(Value::Mapping(there)),
    }
}

/// The way in the file that leads to a place in what was evaluated, as far as it goes there.
fn trace(value: &Value, steps: &[Step], of: &Circumstances<'_>, origin: &mut Vec<Step>) {
    let key = |name: &str| Step::Key(name.to_owned());
    match value {
        Value::Mapping(items) => {
            if let (1, Some(Value::Sequence(alternatives))) = (items.len(), items.get(FIRST)) {
                let taken = alternatives.iter().position(|alternative| evaluate(alternative, of).is_some());
                if let Some(taken) = taken {
                    origin.extend([key(FIRST), Step::Item(taken)]);
                    trace(&alternatives[taken], steps, of, origin);
                }
            } else if let (Some(_), Some(inner), 2) = (items.get(WHEN), items.get(VALUE), items.len()) {
                origin.push(key(VALUE));
                trace(inner, steps, of, origin);
            } else if let Some((step @ Step::Key(name), rest)) = steps.split_first() {
                origin.push(step.clone());
                if let Some(inner) = items.get(name.as_str()) {
                    trace(inner, rest, of, origin);
                }
            }
        }
        Value::Sequence(items) => {
            let Some((Step::Item(wanted), rest)) = steps.split_first() else { return };
            let mut before = 0;
            for (number, item) in items.iter().enumerate() {
                let spread = item.get(WHEN).is_some() && item.get(VALUE).is_some_and(Value::is_sequence);
                let (count, inner) = match evaluate(item, of) {
                    Some(Value::Sequence(several)) if spread => {
                        let within = [&[Step::Item(wanted.saturating_sub(before))], rest].concat();
                        (several.len(), within)
                    }
                    Some(_) => (1, rest.to_vec()),
                    None => (0, Vec::new()),
                };
                if *wanted < before + count {
                    origin.push(Step::Item(number));
                    trace(item, &inner, of, origin);
                    return;
                }
                before += count;
            }
        }
        _ => {}
    }
}
