//! What is secret, as a part of a hash.

use sha2::{Digest, Sha256};

use crate::resolve::World;

/// Everything in a Secret.
pub(crate) fn hash_secret(world: &World<'_>, hash: &mut Sha256, secret: &str) {
    hash.update(secret);
    for (key, value) in world.inputs.credentials.get(secret).into_iter().flatten() {
        hash.update(key);
        hash.update(value.expose());
    }
}
