//! Which Secrets of the user's a resource refers to.

use std::collections::BTreeSet;

use oaas_api::OpenStackSpec;
use serde_json::Value;

/// One key of a Secret in the cloud's namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretKey {
    /// The Secret's name.
    pub name: String,
    /// The key in its data.
    pub key: String,
}

/// What a Secret with a certificate of the user's holds; the last one need not be there.
pub const OWN_CERTIFICATE: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];

/// Every key of a Secret that a resource refers to: whatever stands in a field whose name ends with `SecretRef` or is
/// `secretKeyRef`.
pub fn secret_keys(spec: &OpenStackSpec) -> BTreeSet<SecretKey> {
    let mut found = BTreeSet::new();
    // A resource that was read as one can be written as one.
    collect(&serde_json::to_value(spec).unwrap_or_default(), &mut found);
    if let Some(tls) = spec.publish.as_ref().and_then(|publish| publish.tls.as_ref()) {
        let key = |key: &str| SecretKey { name: tls.secret_name.clone(), key: key.to_owned() };
        found.extend(OWN_CERTIFICATE.map(key));
    }
    found
}

fn collect(value: &Value, found: &mut BTreeSet<SecretKey>) {
    match value {
        Value::Object(fields) => {
            for (field, below) in fields {
                let refers = field == "secretKeyRef" || field.ends_with("SecretRef");
                match (below["name"].as_str(), below["key"].as_str()) {
                    (Some(name), Some(key)) if refers => {
                        found.insert(SecretKey { name: name.to_owned(), key: key.to_owned() });
                    }
                    _ => collect(below, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_is_found() {
        let spec = r#"{"release": "r",
            "services": {"keystone": {"config": {"ldap": {"password": {"secretKeyRef": {"name": "a", "key": "1"}}}}}},
            "content": {"users": [{"name": "u", "passwordSecretRef": {"name": "b", "key": "2"}}],
                        "keypairs": [{"name": "k", "user": "u", "publicKeySecretRef": {"name": "c", "key": "3"}}]}}"#;
        let spec = serde_json::from_str(spec).expect("a resource");
        let found: Vec<String> =
            secret_keys(&spec).into_iter().map(|key| format!("{}/{}", key.name, key.key)).collect();
        assert_eq!(found, ["a/1", "b/2", "c/3"]);
    }
}
