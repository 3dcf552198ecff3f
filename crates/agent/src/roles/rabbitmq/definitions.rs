//! Accounts and virtual hosts as the definitions that the server loads when it starts and imports while it runs.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use oaas_agent_config::MessagingAccount;

/// The file of definitions. Holds hashes of passwords: no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Definitions {
    users: Vec<User>,
    vhosts: Vec<Vhost>,
    permissions: Vec<Permission>,
}

#[derive(Clone, PartialEq, Eq, Serialize)]
struct User {
    name: String,
    password_hash: String,
    hashing_algorithm: &'static str,
    tags: Vec<&'static str>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Vhost {
    name: String,
    default_queue_type: &'static str,
}

#[derive(Clone, PartialEq, Eq, Serialize)]
struct Permission {
    user: String,
    vhost: String,
    configure: &'static str,
    write: &'static str,
    read: &'static str,
}

/// The definitions of some accounts, with their passwords in the same order.
pub fn definitions(accounts: &[MessagingAccount], passwords: &[String]) -> Definitions {
    const ALL: &str = ".*";
    let user = |(account, password): (&MessagingAccount, &String)| User {
        name: account.user.clone(),
        password_hash: hash(&account.user, password),
        hashing_algorithm: "rabbit_password_hashing_sha256",
        tags: if account.monitoring { vec!["monitoring"] } else { Vec::new() },
    };
    let vhost =
        |account: &MessagingAccount| Vhost { name: account.vhost.clone(), default_queue_type: "quorum" };
    let vhosts: BTreeSet<Vhost> = accounts.iter().map(vhost).collect();
    let permission = |account: &MessagingAccount| Permission {
        user: account.user.clone(),
        vhost: account.vhost.clone(),
        configure: ALL,
        write: ALL,
        read: ALL,
    };
    Definitions {
        users: accounts.iter().zip(passwords).map(user).collect(),
        vhosts: vhosts.into_iter().collect(),
        permissions: accounts.iter().map(permission).collect(),
    }
}

/// The names of the users.
pub fn users(accounts: &[MessagingAccount]) -> BTreeSet<String> {
    accounts.iter().map(|account| account.user.clone()).collect()
}

/// The server's salted SHA-256: base64 of four bytes of salt and the hash of salt and password.
///
/// The salt comes from the account instead of chance, so that the same account gives the same definitions on every
/// member and at every start, and what did not change is not imported again.
fn hash(user: &str, password: &str) -> String {
    let seed = Sha256::digest(format!("oaas bus account {user}\0{password}"));
    let salt = &seed[..4];
    let mut salted = salt.to_vec();
    salted.extend_from_slice(password.as_bytes());
    let mut stored = salt.to_vec();
    stored.extend_from_slice(&Sha256::digest(&salted));
    STANDARD.encode(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(user: &str, vhost: &str) -> MessagingAccount {
        MessagingAccount {
            user: user.to_owned(),
            password_file: "/nowhere".into(),
            vhost: vhost.to_owned(),
            monitoring: user == "operator",
        }
    }

    #[test]
    fn accounts_of_one_vhost_share_it() {
        let accounts = [account("nova_g1", "nova"), account("nova_g2", "nova"), account("operator", "/")];
        let passwords = ["a", "b", "c"].map(ToOwned::to_owned);
        let value = serde_json::to_value(definitions(&accounts, &passwords)).unwrap();
        assert_eq!(value["vhosts"].as_array().unwrap().len(), 2);
        assert_eq!(value["users"][2]["tags"], serde_json::json!(["monitoring"]));
        assert_eq!(value["permissions"][1]["vhost"], "nova");
        assert!(!value.to_string().contains("\"b\""), "no password in clear");
    }

    #[test]
    fn a_hash_is_the_salt_and_the_hash_of_salt_and_password() {
        let stored = STANDARD.decode(hash("nova_g1", "secret")).unwrap();
        let (salt, digest) = stored.split_at(4);
        let mut salted = salt.to_vec();
        salted.extend_from_slice(b"secret");
        assert_eq!(digest, &Sha256::digest(&salted)[..]);
        assert_eq!(hash("nova_g1", "secret"), hash("nova_g1", "secret"));
        assert_ne!(hash("nova_g1", "secret"), hash("nova_g2", "secret"));
    }
}
