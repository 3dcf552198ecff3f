//! The file of a new cluster.
//!
//! `ovsdb-tool create-cluster` begins every cluster at the same place of its log (index 1). Clients remember how far they
//! have seen a database, and refuse one that is behind as stale (`min_index` in ovsdb-cs.c and ovs/db/idl.py), for as long
//! as they run: after a loss that is every client. So a new cluster begins where no earlier one of its name can have come
//! to, at the milliseconds since 1970: as if it had been compacted there.

use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

/// The same new cluster at this index, with this election timer in milliseconds. The file has one record, the header
/// (`raft_header_to_json` in ovsdb/raft-private.c) in a log of OVSDB's (`ovsdb_log_compose_record` in ovsdb/log.c):
/// `OVSDB CLUSTER <length> <SHA-1>`, a new line, and JSON of that many bytes.
pub fn moved_to(text: &str, index: u64, election_ms: u64) -> Result<String, String> {
    let (head, body) = text.split_once('\n').ok_or("it has no header")?;
    let length = match head.split(' ').collect::<Vec<_>>()[..] {
        ["OVSDB", "CLUSTER", length, _] => length.parse::<usize>().map_err(|error| error.to_string())?,
        _ => return Err(format!("its header is {head}")),
    };
    if length != body.len() {
        return Err(format!("it has {} bytes after the header, not {length}", body.len()));
    }
    let mut header: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    if header["prev_index"] != json!(1) {
        return Err(format!("it begins at {}", header["prev_index"]));
    }
    header["prev_index"] = json!(index);
    header["prev_election_timer"] = json!(election_ms);
    let body = format!("{header}\n");
    let sum: String = Sha1::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("OVSDB CLUSTER {} {sum}\n{body}", body.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "OVSDB CLUSTER 61 0000000000000000000000000000000000000000\n\
        {\"name\":\"OVN_Northbound\",\"prev_index\":1,\"prev_data\":[{},{}]}\n";

    #[test]
    fn begins_at_another_index() {
        let moved = moved_to(NEW, 1_796_028_015_449, 2000).unwrap();
        let (head, body) = moved.split_once('\n').unwrap();
        let header: Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&header["prev_index"], &header["prev_election_timer"]),
            (&json!(1_796_028_015_449_u64), &json!(2000))
        );
        assert_eq!(header["prev_data"], json!([{}, {}]));
        assert!(head.starts_with(&format!("OVSDB CLUSTER {} ", body.len())), "{head}");
        assert_eq!(head.rsplit(' ').next().unwrap().len(), 40);
    }

    #[test]
    fn what_is_no_new_cluster_is_left_alone() {
        for other in
            ["", "OVSDB JSON 2 0\n{}", &NEW.replace(" 61 ", " 63 "), &NEW.replace("_index\":1", "_index\":7")]
        {
            assert!(moved_to(other, 2, 2000).is_err(), "{other}");
        }
    }
}
