//! What the declared content refers to and does not hold.

use oaas_cloud::Secret;
use oaas_cloud::content::Given;
use oaas_cloud::content::spec::{Content, SecretKeyRef};

use crate::credentials::{keypair_secret, password_secret};
use crate::inputs::UserSecrets;
use crate::secrets::SecretKey;
use crate::sensitive::Credentials;

/// The passwords and keys that the content refers to: out of the Secret that it names, else out of the one that was
/// made with the cloud.
pub fn given(content: &Content, credentials: &Credentials, user_secrets: &UserSecrets) -> Given {
    let value = |reference: Option<&SecretKeyRef>, secret: String, key: &str| match reference {
        Some(from) => {
            user_secrets.get(&SecretKey { name: from.name.clone(), key: from.key.clone() }).cloned()
        }
        None => credentials.get(&secret)?.get(key).cloned(),
    };
    let passwords = content.users.iter().filter_map(|user| {
        let password = value(user.password_secret_ref.as_ref(), password_secret(&user.name), "password")?;
        Some((user.name.clone(), Secret::new(password.expose().clone())))
    });
    let keys = content.keypairs.iter().filter_map(|pair| {
        let key = value(pair.public_key_secret_ref.as_ref(), keypair_secret(&pair.user), "ssh-publickey")?;
        Some(((pair.user.clone(), pair.name.clone()), key.expose().clone()))
    });
    Given { passwords: passwords.collect(), public_keys: keys.collect() }
}
