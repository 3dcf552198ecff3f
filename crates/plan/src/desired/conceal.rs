//! Secrets out of texts.

use sha2::{Digest, Sha256};

use crate::credentials::{Credentials, STATE_KEY};
use crate::inputs::Inputs;

/// A shorter value would stand by chance in half of all texts; none that is generated is.
const SHORTEST: usize = 8;

/// How a text with a digest in it begins there.
const MARK: &str = "(secret ";

/// Puts digests in the place of secrets.
pub(super) struct Conceal<'a> {
    key: String,
    values: Vec<&'a str>,
}

impl<'a> Conceal<'a> {
    /// Knows every secret that what is planned from `inputs` may hold. The key is one of `credentials`.
    pub(super) fn new(credentials: &Credentials, inputs: &Inputs<'a>) -> Self {
        let generated = inputs.credentials.values().flat_map(|keys| keys.values());
        let given = inputs.user_secrets.into_iter().flat_map(|secrets| secrets.values());
        let mut values: Vec<&str> = generated.chain(given).map(|value| value.expose().as_str()).collect();
        values.retain(|value| value.len() >= SHORTEST);
        // One may be a part of another: the longer goes first.
        values.sort_by_key(|value| (std::cmp::Reverse(value.len()), *value));
        values.dedup();
        let key = credentials.get(STATE_KEY).and_then(|keys| keys.get("password"));
        Self { key: key.map(|key| key.expose().clone()).unwrap_or_default(), values }
    }

    /// Tells digests of one key from those of another.
    pub(super) fn key_id(&self) -> String {
        self.digest("oaas")
    }

    /// A whole value as a digest.
    pub(super) fn whole(&self, value: &str) -> String {
        format!("{MARK}{})", self.digest(value))
    }

    /// A text with a digest in the place of every secret.
    pub(super) fn parts(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in &self.values {
            if text.len() >= value.len() && text.contains(*value) {
                text = text.replace(*value, &self.whole(value));
            }
        }
        text
    }

    fn digest(&self, value: &str) -> String {
        // Twice, as HMAC does (RFC 2104), so that what is known of one digest says nothing of a longer text.
        let inner = Sha256::new().chain_update(&self.key).chain_update([0u8]).chain_update(value).finalize();
        let outer = Sha256::new().chain_update(&self.key).chain_update([1u8]).chain_update(inner).finalize();
        hex::encode(outer)[..12].to_owned()
    }
}

/// A text whose digests say nothing any more, to be compared with one of another key.
pub(super) fn without_digests(text: &str) -> String {
    let mut parts = text.split(MARK);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("(secret)");
        out.push_str(part.split_once(')').map_or(part, |(_, rest)| rest));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_become_digests_of_their_key() {
        let conceal = |key: &str| Conceal { key: key.into(), values: vec!["password1234", "password"] };
        let text = conceal("k").parts("mysql://nova:password1234@host");
        assert!(!text.contains("password") && text.starts_with("mysql://nova:(secret "), "{text}");
        assert_ne!(text, conceal("l").parts("mysql://nova:password1234@host"));
        assert_eq!(without_digests(&text), "mysql://nova:(secret)@host");
        assert_eq!(conceal("k").parts("short"), "short");
    }
}
