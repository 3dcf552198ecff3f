//! What a cloud is declared to contain: [`spec`] has the types, [`check`] says what is wrong with a declaration,
//! [`items`] lowers it to what [`engine::apply`](crate::engine) keeps.

mod check;
mod compute;
mod given;
mod image;
mod lookup;
mod lower;
mod network;
pub mod spec;

pub use check::{Problem, check};
pub use given::Given;
#[cfg(feature = "client")]
pub(crate) use lookup::exact_pattern;
pub use lower::items;
pub use spec::{Content, Qualified};

/// The content of a cloud that says `content: demo`: `data/demo.yaml`.
pub fn demo() -> Content {
    serde_yaml_ng::from_str(include_str!("../../data/demo.yaml"))
        .expect("the file is compiled in, and a test reads it in this very way")
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
}
