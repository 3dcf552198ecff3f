//! Configuration files as text: one writer per format.

use std::fmt::Write as _;

use oaas_catalog::FileFormat;
use oaas_plan::{Content, Document};
use serde_json::Value;

/// The text of a file. Sections and options come in alphabetical order, `DEFAULT` first.
pub fn write(document: &Document) -> String {
    match (document.content.expose(), document.format) {
        (Content::Sections(sections), _) => ini(sections),
        (Content::Lines(lines), _) => lines.iter().fold(String::new(), |text, line| text + line + "\n"),
        (Content::PublicEndpoint(model), _) => crate::haproxy::write(model),
        (Content::Tree(tree), FileFormat::Yaml) => serde_yaml_ng::to_string(tree).unwrap_or_default(),
        (Content::Tree(tree), FileFormat::Python) => python(tree),
        (Content::Tree(tree), FileFormat::Properties) => properties(tree),
        (Content::Tree(tree), _) => serde_json::to_string_pretty(tree).unwrap_or_default() + "\n",
    }
}

/// INI as oslo.config reads it (oslo.config documentation, "Configuration File Format"): `option = value`, a repeated
/// key for each value of a list; a further line of a value would need to be indented, so line breaks become spaces.
fn ini<'a, S, O>(sections: S) -> String
where
    S: IntoIterator<Item = (&'a String, O)>,
    O: IntoIterator<Item = (&'a String, &'a Vec<String>)>,
{
    let mut sections: Vec<(&String, O)> = sections.into_iter().collect();
    sections.sort_by_key(|(name, _)| (*name != "DEFAULT", *name));
    let mut text = String::new();
    for (name, options) in sections {
        if !text.is_empty() {
            text.push('\n');
        }
        // Writing into a String cannot fail.
        let _ = writeln!(text, "[{name}]");
        for (option, values) in options {
            for value in values {
                let _ = writeln!(text, "{option} = {}", value.replace('\n', " "));
            }
        }
    }
    text
}

fn properties(tree: &Value) -> String {
    let mut text = String::new();
    for (key, value) in tree.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = writeln!(text, "{key} = {value}");
    }
    text
}

/// Settings as Python literals. JSON strings are Python strings, but for escapes above the basic plane, which
/// `ensure_ascii`-less JSON does not write.
fn python(tree: &Value) -> String {
    let mut text = String::new();
    for (key, value) in tree.as_object().into_iter().flatten() {
        let _ = write!(text, "{key} = ");
        python_literal(value, &mut text);
        text.push('\n');
    }
    text
}

fn python_literal(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("None"),
        Value::Bool(true) => text.push_str("True"),
        Value::Bool(false) => text.push_str("False"),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(_) => text.push_str(&value.to_string()),
        Value::Array(items) => {
            text.push('[');
            for item in items {
                python_literal(item, text);
                text.push_str(", ");
            }
            text.push(']');
        }
        Value::Object(items) => {
            text.push('{');
            for (key, item) in items {
                text.push_str(&Value::String(key.clone()).to_string());
                text.push_str(": ");
                python_literal(item, text);
                text.push_str(", ");
            }
            text.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn lists_repeat_their_key_and_default_comes_first() {
        let option = |name: &str, values: &[&str]| {
            (name.to_owned(), values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>())
        };
        let sections = BTreeMap::from([
            ("AAA".to_owned(), BTreeMap::from([option("x", &["1"])])),
            ("DEFAULT".to_owned(), BTreeMap::from([option("drivers", &["a", "b"])])),
        ]);
        assert_eq!(ini(&sections), "[DEFAULT]\ndrivers = a\ndrivers = b\n\n[AAA]\nx = 1\n");
    }

    #[test]
    fn python_has_its_own_words() {
        let text = python(&json!({"A": true, "B": [null, "x\"y"], "C": {"d": 1}}));
        assert_eq!(text, "A = True\nB = [None, \"x\\\"y\", ]\nC = {\"d\": 1, }\n");
    }
}
