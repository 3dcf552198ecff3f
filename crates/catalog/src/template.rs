//! Typed data with references of a cloud in it: what it becomes once they are filled in is known, and checked, before
//! there is a cloud.

use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::{Value as Json, json};

use crate::value::{Reference, Scalar, Segment, Tree};

/// What references stand for.
pub trait Fill {
    /// The text of a reference.
    fn text(&self, reference: &Reference) -> String;

    /// What a reference stands for that is alone in its place and no text: a number, a truth value, a list.
    fn value(&self, reference: &Reference) -> Option<Json>;

    /// What a reference stands for that is alone in a list and means several items of it.
    fn several(&self, reference: &Reference) -> Option<Vec<String>>;
}

/// Why filled data is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Where in the data: `rabbitmq.members`.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.place, self.what)
    }
}

impl std::error::Error for Misfit {}

impl oaas_feedback::Explain for Misfit {
    fn kind(&self) -> oaas_feedback::Kind {
        // The catalog is a part of the program.
        oaas_feedback::Kind::Failed
    }
}

/// Data that becomes a `T` for each cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct Template<T> {
    tree: Tree,
    becomes: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Template<T> {
    /// From data as it stands in a file; [`Self::check`] says whether it fits.
    pub(crate) const fn new(tree: Tree) -> Self {
        Self { tree, becomes: PhantomData }
    }

    /// The data as it stands.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What it becomes in one cloud.
    pub fn fill(&self, with: &dyn Fill) -> Result<T, Misfit> {
        let filled = self.tree.filled(with);
        serde_path_to_error::deserialize(filled).map_err(|error| {
            let what = error.inner().to_string();
            Misfit { place: error.path().to_string(), what }
        })
    }

    /// Would it fit in every cloud?
    pub(crate) fn check(&self) -> Result<(), Misfit> {
        self.fill(&AnyCloud).map(|_| ())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Template<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Tree::deserialize(deserializer).map(Self::new)
    }
}

/// Something of the right sort for every reference.
struct AnyCloud;

impl Fill for AnyCloud {
    fn text(&self, _: &Reference) -> String {
        "text".to_owned()
    }

    fn value(&self, reference: &Reference) -> Option<Json> {
        match reference {
            Reference::Workers
            | Reference::MemoryMib
            | Reference::MemoryBytes
            | Reference::ReplicaCount(_) => Some(json!(1)),
            Reference::NewCloud | Reference::SeveralDomains => Some(json!(false)),
            Reference::MessagingAccounts | Reference::Domains => Some(json!([])),
            _ => None,
        }
    }

    fn several(&self, reference: &Reference) -> Option<Vec<String>> {
        match reference {
            Reference::Members(_) | Reference::Hosts(_) | Reference::Ovsdb(_) => {
                Some(vec!["text".to_owned()])
            }
            _ => None,
        }
    }
}

impl Scalar {
    /// Its text, with every reference filled in.
    pub fn filled(&self, with: &dyn Fill) -> String {
        match self {
            Self::Text(segments) => segments
                .iter()
                .map(|segment| match segment {
                    Segment::Text(text) => text.clone(),
                    Segment::Reference(reference) => with.text(reference),
                })
                .collect(),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Bool(value) => value.to_string(),
        }
    }

    /// The reference that it is, if it is nothing else.
    fn alone(&self) -> Option<&Reference> {
        match self {
            Self::Text(segments) => match segments.as_slice() {
                [Segment::Reference(reference)] => Some(reference),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Tree {
    /// The data with every reference filled in.
    pub fn filled(&self, with: &dyn Fill) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Leaf(Scalar::Integer(value)) => json!(value),
            Self::Leaf(Scalar::Float(value)) => json!(value),
            Self::Leaf(Scalar::Bool(value)) => json!(value),
            Self::Leaf(scalar) => {
                let value = scalar.alone().and_then(|reference| with.value(reference));
                value.unwrap_or_else(|| json!(scalar.filled(with)))
            }
            Self::List(items) => items
                .iter()
                .flat_map(|item| {
                    let several = match item {
                        Self::Leaf(scalar) => scalar.alone().and_then(|reference| with.several(reference)),
                        _ => None,
                    };
                    match several {
                        Some(texts) => texts.into_iter().map(|text| json!(text)).collect(),
                        None => vec![item.filled(with)],
                    }
                })
                .collect(),
            Self::Map(items) => items
                .iter()
                .map(|(key, item)| (key.clone(), item.filled(with)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use oaas_agent_config::Role;

    use super::*;

    fn template(yaml: &str) -> Template<Role> {
        serde_yaml_ng::from_str(yaml).expect("a tree")
    }

    #[test]
    fn references_fit_where_their_sort_does() {
        let good = "rabbitmq: {members: ['${hosts:rabbitmq}'], cookie_file: /c, accounts: '${messaging-accounts}', memory_limit_bytes: '${memory-bytes}'}";
        assert_eq!(template(good).check(), Ok(()));
        let bad = "rabbitmq: {members: [], cookie_file: /c, memory_limit_bytes: '${cloud}'}";
        let misfit = template(bad).check().expect_err("a name is no number");
        assert_eq!(misfit.place, "rabbitmq.memory_limit_bytes");
    }

    #[test]
    fn what_the_agent_does_not_know_is_named() {
        for (yaml, wrong) in [
            ("rabbitmq: {members: [], cookie_file: /c, cokie: 1}", "cokie"),
            ("rabbitmq: {members: []}", "cookie_file"),
            ("proces: {}", "proces"),
        ] {
            let misfit = template(yaml).check().expect_err(yaml);
            assert!(misfit.what.contains(wrong), "{misfit}");
        }
    }
}
