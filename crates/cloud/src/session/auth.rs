//! Logging in at Keystone (Identity API v3, "Password authentication with scoped authorization").

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::catalog::Entry;
use crate::Secret;
use crate::content::spec::Qualified;

/// Who logs in, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: Qualified,
    /// The password.
    pub password: Secret,
    /// What the token is good for.
    pub scope: Scope,
}

/// What a token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One project.
    Project(Qualified),
    /// One domain.
    Domain(String),
    /// The whole system.
    System,
    /// Nothing but proving who one is.
    Unscoped,
}

impl Identity {
    /// The body of `POST /v3/auth/tokens`.
    pub(super) fn body(&self) -> Value {
        let user = json!({
            "name": self.user.name,
            "domain": {"name": self.user.domain},
            "password": self.password.expose(),
        });
        let scope = match &self.scope {
            Scope::Project(project) => {
                json!({"project": {"name": project.name, "domain": {"name": project.domain}}})
            }
            Scope::Domain(name) => json!({"domain": {"name": name}}),
            Scope::System => json!({"system": {"all": true}}),
            Scope::Unscoped => json!("unscoped"),
        };
        json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}})
    }
}

/// A token and what came with it.
#[derive(Debug)]
pub struct Token {
    /// The token itself.
    pub(super) value: Secret,
    /// When a new one is to be taken.
    pub(super) renew_at: Instant,
    /// Where services are.
    pub(super) catalog: Vec<Entry>,
    /// The user's id.
    pub user_id: String,
    /// The project's id, if the token is for a project.
    pub project_id: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "token")]
    issued: Grant,
}

#[derive(Deserialize)]
struct Grant {
    issued_at: jiff::Timestamp,
    expires_at: Option<jiff::Timestamp>,
    #[serde(default)]
    catalog: Vec<Entry>,
    user: Named,
    project: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

impl Token {
    /// Read Keystone's answer. The token's life is reckoned from Keystone's own two times and our monotonic clock, so
    /// that clocks that differ do no harm here.
    pub(super) fn read(value: String, body: Value, now: Instant) -> Result<Self, serde_json::Error> {
        let token = serde_json::from_value::<Answer>(body)?.issued;
        let life = token.expires_at.map(|end| end.as_second() - token.issued_at.as_second());
        Ok(Self {
            value: Secret::new(value),
            renew_at: now + use_for(life),
            catalog: token.catalog,
            user_id: token.user.id,
            project_id: token.project.map(|project| project.id),
        })
    }
}

/// How long a token with this life (seconds; none: it does not expire) is used: the last tenth, and at least its last
/// half minute, are left, so that a call that takes long does not outlive it.
pub(super) fn use_for(life: Option<i64>) -> Duration {
    let Some(life) = life else { return Duration::from_hours(24) };
    let left = (life / 10).max(30);
    Duration::from_secs(u64::try_from(life - left).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_before_they_end() {
        assert_eq!(use_for(Some(3600)), Duration::from_mins(54));
        assert_eq!(use_for(Some(60)), Duration::from_secs(30));
        assert_eq!(use_for(Some(10)), Duration::ZERO);
        assert_eq!(use_for(None), Duration::from_hours(24));
    }

    #[test]
    fn scopes_are_written_as_the_api_has_them() {
        let body = |scope| Identity { user: "demo".into(), password: Secret::new("p"), scope }.body();
        assert_eq!(
            body(Scope::Project("heat/stacks".into()))["auth"]["scope"],
            json!({"project": {"name": "stacks", "domain": {"name": "heat"}}})
        );
        assert_eq!(body(Scope::System)["auth"]["scope"], json!({"system": {"all": true}}));
        assert_eq!(body(Scope::Unscoped)["auth"]["scope"], json!("unscoped"));
        assert_eq!(
            body(Scope::Unscoped)["auth"]["identity"]["password"]["user"]["domain"]["name"],
            json!("Default")
        );
    }
}
