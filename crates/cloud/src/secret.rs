//! A value that must not be seen.

use std::fmt;

/// A password or token. It has no `Display`, and its `Debug` says only that it is there, so that it cannot get
/// into a log or an error by accident.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret(String);

impl Secret {
    /// Take a value as secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself: only for putting it into a request.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The text with every occurrence of this secret blacked out. Services quote refused input in their
    /// messages, so what they say goes through here before it reaches an error.
    pub fn black_out(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, "***") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_shows_nothing_and_messages_are_blacked_out() {
        let secret = Secret::new("s3cr'et");
        assert_eq!(format!("{secret:?}"), "Secret(***)");
        assert_eq!(secret.black_out("field 's3cr'et' is too short"), "field '***' is too short");
        assert_eq!(Secret::new("").black_out("as it was"), "as it was");
    }
}
