//! What a cloud is declared to contain: [`spec`] has the types, [`check`] says what is wrong with a declaration,
//! [`items`] lowers it to what [`engine::apply`](crate::engine) keeps.

mod check;
mod compute;
mod image;
mod lower;
mod network;
pub mod spec;

use std::collections::BTreeMap;

pub use check::{Problem, check};
pub use lower::items;
pub use spec::{Content, Qualified};

use crate::Secret;

/// What a declaration refers to and does not hold: the caller reads it out of Secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Passwords of users.
    pub passwords: BTreeMap<Qualified, Secret>,
    /// Public keys of keypairs that hold none themselves, by user and keypair name.
    pub public_keys: BTreeMap<(Qualified, String), String>,
}

/// The content of a cloud that says `content: demo`: `data/demo.yaml`.
pub fn demo() -> Content {
    serde_yaml_ng::from_str(include_str!("../../data/demo.yaml"))
        .expect("the file is compiled in, and a test reads it in this very way")
}

/// A regular expression that fits this text alone: Nova takes the filter `name` as one.
pub(crate) fn exact_pattern(text: &str) -> String {
    let mut pattern = String::from("^");
    for character in text.chars() {
        if !(character.is_alphanumeric() || matches!(character, '-' | '_' | ' ')) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('$');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demo_is_whole_and_right() {
        let demo = demo();
        assert_eq!(check(&demo), Vec::new());
        assert_eq!(demo.flavors.len(), 6);
        assert_eq!(demo.flavors[0].name, "m1.tiny");
        assert_eq!(demo.flavors[0].ram_mib, 192);
        let again: Content = serde_json::from_value(serde_json::to_value(&demo).unwrap()).unwrap();
        assert_eq!(again, demo);
    }

    #[test]
    fn the_schema_is_small_enough_to_be_a_part_of_a_resource() {
        let schema = serde_json::to_string(&schemars::schema_for!(Content)).unwrap();
        assert!(schema.len() < 20_000, "{} bytes", schema.len());
        assert!(schema.contains("floatingIpFrom") && schema.contains("passwordSecretRef"));
    }

    #[test]
    fn names_are_taken_literally() {
        assert_eq!(exact_pattern("demo-vm"), "^demo-vm$");
        assert_eq!(exact_pattern("a.b(c)"), "^a\\.b\\(c\\)$");
    }
}
