//! A YAML document with the place of every value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A place in a file; lines and columns count from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub place: Place,
    pub value: Yaml,
}

/// A field of a mapping: its name, where the name stands, and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub name: String,
    pub place: Place,
    pub node: Node,
}

/// What a YAML value is.
#[derive(Debug, Clone)]
pub(super) enum Yaml {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

impl Node {
    /// The value without places.
    pub fn json(&self) -> Value {
        match &self.value {
            Yaml::Null => Value::Null,
            Yaml::Bool(value) => Value::Bool(*value),
            Yaml::Number(value) => Value::Number(value.clone()),
            Yaml::Text(value) => Value::String(value.clone()),
            Yaml::List(items) => Value::Array(items.iter().map(Self::json).collect()),
            // An explicit null is the same as leaving the field out, as for the API server.
            Yaml::Map(entries) => entries
                .iter()
                .filter(|entry| !matches!(entry.node.value, Yaml::Null))
                .map(|entry| (entry.name.clone(), entry.node.json()))
                .collect::<Map<_, _>>()
                .into(),
        }
    }

    /// The field of a mapping, unless it is left out or null.
    pub fn field(&self, name: &str) -> Option<&Entry> {
        let Yaml::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.name == name && !matches!(entry.node.value, Yaml::Null))
    }

    /// The place of a dotted path with `[n]`, or of the nearest parent that exists.
    pub fn place_of(&self, path: &str) -> Place {
        let mut here = self;
        let mut place = self.place;
        for step in path.replace('[', ".[").split('.').filter(|step| !step.is_empty()) {
            let next = match (&here.value, step.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))) {
                (Yaml::List(items), Some(index)) => index
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index))
                    .map(|item| (item.place, item)),
                (Yaml::Map(_), None) => here.field(step).map(|entry| (entry.place, &entry.node)),
                _ => None,
            };
            let Some((next_place, next_node)) = next else { break };
            place = next_place;
            here = next_node;
        }
        place
    }

    /// What sort of value it is, for messages.
    pub fn sort(&self) -> &'static str {
        match self.value {
            Yaml::Null => "nothing",
            Yaml::Bool(_) => "true or false",
            Yaml::Number(_) => "a number",
            Yaml::Text(_) => "text",
            Yaml::List(_) => "a list",
            Yaml::Map(_) => "fields",
        }
    }
}

impl<T> From<&Spanned<T>> for Place {
    fn from(spanned: &Spanned<T>) -> Self {
        Self { line: spanned.referenced.line(), column: spanned.referenced.column() }
    }
}

impl From<Spanned<Yaml>> for Node {
    fn from(spanned: Spanned<Yaml>) -> Self {
        Self { place: Place::from(&spanned), value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Yaml;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_none<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Yaml, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Yaml, E> {
        Ok(Yaml::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Yaml, E> {
        Ok(Yaml::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Yaml, E> {
        Ok(Yaml::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Yaml, E> {
        // JSON has neither infinity nor not-a-number; as text they are refused where a number is wanted.
        Ok(Number::from_f64(value).map_or_else(|| Yaml::Text(value.to_string()), Yaml::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Yaml, E> {
        Ok(Yaml::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Yaml, E> {
        Ok(Yaml::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Yaml, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element::<Spanned<Yaml>>()? {
            items.push(item.into());
        }
        Ok(Yaml::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Yaml, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = from.next_key::<Spanned<String>>()? {
            let place = Place::from(&name);
            let node = from.next_value::<Spanned<Yaml>>()?.into();
            entries.push(Entry { name: name.value, place, node });
        }
        Ok(Yaml::Map(entries))
    }
}
