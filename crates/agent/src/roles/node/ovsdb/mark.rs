//! Whether clients may see a database. The northbound one that was lost and is to be filled has a mark in itself: every
//! member has it as soon as it has anything, and it goes in the same order as the content comes. The southbound one has
//! nothing to see before northd has written to it.

use std::path::Path;

use oaas_agent_config::OvnDatabase;
use serde_json::{Value, json};

use super::super::error::Error;
use super::super::jsonrpc;

/// The key in `external_ids` of the only row of `NB_Global`.
const KEY: &str = "oaas-to-fill";

const TABLE: &str = "NB_Global";

/// The operation that makes the row with the mark, in an empty database.
pub fn written() -> Value {
    json!({"op": "insert", "table": TABLE, "row": {"external_ids": ["map", [[KEY, "true"]]]}})
}

/// The operation whose result says whether the mark is there.
pub fn question() -> Value {
    json!({"op": "select", "table": TABLE, "where": [], "columns": ["external_ids"]})
}

/// The operation that takes the mark away.
pub fn erased() -> Value {
    json!({"op": "mutate", "table": TABLE, "where": [], "mutations": [["external_ids", "delete", ["set", [KEY]]]]})
}

/// Whether the mark is in the question's result.
pub fn stands_in(results: &[Value]) -> bool {
    rows(results).any(|row| jsonrpc::map(&row["external_ids"]).contains_key(KEY))
}

fn rows(results: &[Value]) -> impl Iterator<Item = &Value> {
    results.iter().flat_map(|result| result["rows"].as_array().into_iter().flatten())
}

/// Whether the database that this socket leads to is whole.
pub async fn is_whole(database: OvnDatabase, socket: &Path) -> Result<bool, Error> {
    let question = match database {
        OvnDatabase::Nb => question(),
        // In one transaction with all that northd writes at first (en_global_config_run in northd/en-global-config.c).
        OvnDatabase::Sb => json!({"op": "select", "table": "SB_Global", "where": [], "columns": ["nb_cfg"]}),
    };
    let results = jsonrpc::transact(socket, database.schema(), &[question]).await?;
    Ok(match database {
        OvnDatabase::Nb => !stands_in(&results),
        OvnDatabase::Sb => rows(&results).next().is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_found_among_other_words() {
        let row = |pairs: Value| [json!({"rows": [{"external_ids": ["map", pairs]}]})];
        assert!(stands_in(&row(json!([["a", "b"], [KEY, "true"]]))));
        assert!(!stands_in(&row(json!([["a", "b"]]))));
        // A database in which nobody has written yet has no row.
        assert!(!stands_in(&[json!({"rows": []})]));
    }
}
