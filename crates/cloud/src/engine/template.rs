//! Values that mention objects whose ids are not known yet.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::key::{Ids, Key};
use crate::Secret;

/// A JSON value in which parts stand for something that is known only when the cloud is looked at.
#[derive(Debug, Clone, PartialEq)]
pub enum Template {
    /// A value as it is.
    Value(Value),
    /// The id of an object.
    Id(Key),
    /// A secret string.
    Secret(Secret),
    /// A list. Observed lists are compared without regard to order: services give pools, name servers and tags back
    /// in orders of their own.
    List(Vec<Template>),
    /// An object. An observed object may have more fields.
    Map(Fields),
    /// Only for comparing: a list with at least one such element.
    Has(Box<Template>),
    /// Only for comparing: a string with this in it, or a list with an element that has.
    Mentions(String),
}

/// Named templates, such as the fields of a request.
pub type Fields = BTreeMap<String, Template>;

/// A piece of a path or of a query value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// The id of an object.
    Id(Key),
}

impl From<&str> for Piece {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Piece {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&Key> for Piece {
    fn from(key: &Key) -> Self {
        Self::Id(key.clone())
    }
}

impl<T: Into<Value>> From<T> for Template {
    fn from(value: T) -> Self {
        Self::Value(value.into())
    }
}

/// An object whose id is needed and not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown(pub Key);

impl Template {
    /// The value, with ids put in.
    ///
    /// # Errors
    /// The first object whose id is not in `ids`.
    pub fn resolve(&self, ids: &Ids) -> Result<Value, Unknown> {
        Ok(match self {
            Self::Value(value) => value.clone(),
            Self::Id(key) => Value::String(id(ids, key)?.to_owned()),
            Self::Secret(secret) => Value::String(secret.expose().to_owned()),
            Self::List(items) => {
                Value::Array(items.iter().map(|item| item.resolve(ids)).collect::<Result<_, _>>()?)
            }
            Self::Map(fields) => resolve_fields(fields, ids)?,
            Self::Has(item) => Value::Array(vec![item.resolve(ids)?]),
            Self::Mentions(text) => Value::String(text.clone()),
        })
    }

    /// Whether an observed value is as this says. An id that is not known equals nothing.
    pub fn holds(&self, observed: Option<&Value>, ids: &Ids) -> bool {
        match (self, observed) {
            (Self::Value(Value::Null), None | Some(Value::Null)) => true,
            (Self::Value(wanted), Some(found)) => same(wanted, found),
            (Self::Id(key), Some(Value::String(found))) => ids.get(key) == Some(found),
            (Self::Secret(secret), Some(Value::String(found))) => secret.expose() == found,
            (Self::List(wanted), Some(Value::Array(found))) => {
                wanted.len() == found.len()
                    && wanted.iter().all(|wanted| found.iter().any(|found| wanted.holds(Some(found), ids)))
            }
            (Self::Map(wanted), Some(Value::Object(found))) => {
                wanted.iter().all(|(name, wanted)| wanted.holds(found.get(name), ids))
            }
            (Self::Has(wanted), Some(Value::Array(found))) => {
                found.iter().any(|found| wanted.holds(Some(found), ids))
            }
            (Self::Mentions(text), Some(Value::String(found))) => found.contains(text),
            (Self::Mentions(text), Some(Value::Array(found))) => {
                found.iter().any(|found| found.as_str().is_some_and(|found| found.contains(text)))
            }
            _ => false,
        }
    }

    /// The objects that this mentions.
    pub fn keys(&self, into: &mut std::collections::BTreeSet<Key>) {
        match self {
            Self::Id(key) => {
                into.insert(key.clone());
            }
            Self::List(items) => items.iter().for_each(|item| item.keys(into)),
            Self::Map(fields) => fields.values().for_each(|item| item.keys(into)),
            Self::Has(item) => item.keys(into),
            Self::Value(_) | Self::Secret(_) | Self::Mentions(_) => {}
        }
    }

    /// The secrets in this.
    pub fn secrets(&self, into: &mut Vec<Secret>) {
        match self {
            Self::Secret(secret) => into.push(secret.clone()),
            Self::List(items) => items.iter().for_each(|item| item.secrets(into)),
            Self::Map(fields) => fields.values().for_each(|item| item.secrets(into)),
            Self::Has(item) => item.secrets(into),
            Self::Value(_) | Self::Id(_) | Self::Mentions(_) => {}
        }
    }
}

/// Whether a plain value is as wanted: objects may have more fields, lists another order.
fn same(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len()
                && wanted.iter().all(|wanted| found.iter().any(|found| same(wanted, found)))
        }
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.iter().all(|(name, wanted)| found.get(name).is_some_and(|found| same(wanted, found)))
        }
        _ => wanted == found,
    }
}

/// An object of resolved fields.
///
/// # Errors
/// The first object whose id is not in `ids`.
pub fn resolve_fields(fields: &Fields, ids: &Ids) -> Result<Value, Unknown> {
    let mut map = Map::new();
    for (name, template) in fields {
        map.insert(name.clone(), template.resolve(ids)?);
    }
    Ok(Value::Object(map))
}

/// A text of resolved pieces.
///
/// # Errors
/// The first object whose id is not in `ids`.
pub fn resolve_pieces(pieces: &[Piece], ids: &Ids) -> Result<String, Unknown> {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(part) => text.push_str(part),
            Piece::Id(key) => text.push_str(id(ids, key)?),
        }
    }
    Ok(text)
}

fn id<'a>(ids: &'a Ids, key: &Key) -> Result<&'a str, Unknown> {
    ids.get(key).map(String::as_str).ok_or_else(|| Unknown(key.clone()))
}

/// Fields from pairs.
pub fn fields<const N: usize>(pairs: [(&str, Template); N]) -> Fields {
    pairs.into_iter().map(|(name, template)| (name.to_owned(), template)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::key::Kind;

    #[test]
    fn observed_objects_may_have_more_and_lists_another_order() {
        let ids = Ids::new();
        let pools = Template::from(json!([{"start": "a", "end": "b"}, {"start": "c", "end": "d"}]));
        let found = json!([{"end": "d", "start": "c", "more": 1}, {"start": "a", "end": "b"}]);
        assert!(pools.holds(Some(&found), &ids));
        assert!(!pools.holds(Some(&json!([{"start": "a", "end": "b"}])), &ids));
    }

    #[test]
    fn null_means_not_there() {
        let ids = Ids::new();
        let null = Template::Value(Value::Null);
        assert!(null.holds(None, &ids));
        assert!(null.holds(Some(&Value::Null), &ids));
        assert!(!null.holds(Some(&json!(22)), &ids));
        assert!(!Template::from(22).holds(None, &ids));
    }

    #[test]
    fn an_unknown_id_equals_nothing_and_is_named() {
        let key = Key::new(Kind::Network, ["demo", "demo-net"]);
        let template = Template::Has(Box::new(Template::Map(fields([("id", Template::Id(key.clone()))]))));
        assert!(!template.holds(Some(&json!([{"id": "1"}])), &Ids::new()));
        assert_eq!(template.resolve(&Ids::new()), Err(Unknown(key.clone())));
        let ids = Ids::from([(key, "1".to_owned())]);
        assert!(template.holds(Some(&json!([{"id": "0"}, {"id": "1"}])), &ids));
    }
}
