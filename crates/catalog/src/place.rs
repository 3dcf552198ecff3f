//! Where in a catalog file something stands: the way from a place in evaluated data back to a line of the file.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_path_to_error::{Path, Segment};

/// One step down into nested data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// To the value of a key.
    Key(String),
    /// To an item of a list.
    Item(usize),
}

/// The steps of a place that was found wrong, and of the key that the complaint itself names.
pub(crate) fn steps(path: &Path, what: &str) -> Vec<Step> {
    let steps = path
        .iter()
        .map_while(|segment| match segment {
            Segment::Seq { index } => Some(Step::Item(*index)),
            Segment::Map { key } | Segment::Enum { variant: key } => Some(Step::Key(key.clone())),
            Segment::Unknown => None,
        })
        .collect();
    complete(steps, what)
}

/// The same steps down to the key that a complaint itself names.
pub(crate) fn complete(mut steps: Vec<Step>, what: &str) -> Vec<Step> {
    // serde names what it does not know between backticks, and stands before it.
    let named = ["unknown field `", "unknown variant `"].iter().find_map(|words| what.strip_prefix(words));
    if let Some((key, _)) = named.and_then(|rest| rest.split_once('`'))
        && steps.last() != Some(&Step::Key(key.to_owned()))
    {
        steps.push(Step::Key(key.to_owned()));
    }
    steps
}

/// The steps of a place as they are written: `role.rabbitmq.members[0]`.
pub(crate) fn parse(place: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in place.split('.').filter(|part| !part.is_empty() && *part != "?") {
        let (key, items) = part.split_once('[').unwrap_or((part, ""));
        if !key.is_empty() {
            steps.push(Step::Key(key.to_owned()));
        }
        let items = items.split('[').filter_map(|item| item.trim_end_matches(']').parse().ok());
        steps.extend(items.map(Step::Item));
    }
    steps
}

/// Steps in words: `components[0].role`.
pub(crate) fn words(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.push_str(&format!(".{key}")),
            Step::Item(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// The line of a YAML text on which a place stands, counted from 1; of the nearest thing around it where it is not there.
pub(crate) fn line(text: &str, steps: &[Step]) -> Option<usize> {
    let found = Find { steps }.deserialize(serde_yaml_ng::Deserializer::from_str(text));
    found.err()?.location().map(|location| location.line())
}

/// Walks down, and fails where it arrives: the error knows its line.
struct Find<'a> {
    steps: &'a [Step],
}

const HERE: &str = "here";

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        if let Some((Step::Key(wanted), rest)) = self.steps.split_first() {
            while let Some(found) = access.next_key_seed(Named { wanted, last: rest.is_empty() })? {
                if found {
                    return access.next_value_seed(Find { steps: rest });
                }
                access.next_value::<IgnoredAny>()?;
            }
        }
        Err(A::Error::custom(HERE))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        if let Some((Step::Item(wanted), rest)) = self.steps.split_first() {
            for _ in 0..*wanted {
                if access.next_element::<IgnoredAny>()?.is_none() {
                    return Err(A::Error::custom(HERE));
                }
            }
            return match access.next_element_seed(Find { steps: rest })? {
                Some(()) | None => Err(A::Error::custom(HERE)),
            };
        }
        Err(A::Error::custom(HERE))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Err(E::custom(HERE))
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Err(E::custom(HERE))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        Err(E::custom(HERE))
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        Err(E::custom(HERE))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Err(E::custom(HERE))
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Err(E::custom(HERE))
    }
}

/// Is a key the wanted one? Where it is the last step, the key's own line is the answer.
struct Named<'a> {
    wanted: &'a str,
    last: bool,
}

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Named<'_> {
    type Value = bool;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        match key == self.wanted {
            true if self.last => Err(E::custom(HERE)),
            found => Ok(found),
        }
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "name: a\ncomponents:\n  - name: b\n    role:\n      x: {y: 1}\n  - &c\n    name: c\n    list: [1,\n      2]\n";

    fn at(place: &str) -> Option<usize> {
        line(FILE, &parse(place))
    }

    #[test]
    fn a_place_has_a_line() {
        assert_eq!(at("name"), Some(1));
        assert_eq!(at("components[0].role.x.y"), Some(5));
        assert_eq!(at("components[0].role"), Some(4));
        assert_eq!(at("components[1].name"), Some(7));
        assert_eq!(at("components[1].list[1]"), Some(9));
    }

    #[test]
    fn what_is_not_there_has_the_line_around_it() {
        assert_eq!(at("components[0].role.missing"), Some(5));
        assert!(at("components[7]").is_some());
    }

    #[test]
    fn places_are_written_as_they_are_read() {
        for place in ["a", "a.b[0].c", "a[1][2]"] {
            assert_eq!(words(&parse(place)), place);
        }
    }
}
