//! Users that services acted as and act as no more.
//!
//! Source: Identity API v3 ("List users", "Delete user", "List domains").

use serde_json::Value;

use crate::MARKER;
use crate::content::spec::{DEFAULT_DOMAIN, Qualified};
use crate::engine::{Actor, Api, Call, Method, list};
use crate::service::Service;
use crate::session::Error;

/// The id of the domain that every Keystone has from the beginning.
const DEFAULT_ID: &str = "default";

/// Delete these users, as far as they are there and carry our mark.
///
/// # Errors
/// Keystone does not answer, or refuses.
pub async fn delete_users<A: Api>(api: &A, users: &[Qualified]) -> Result<(), Error> {
    for user in users {
        let Some(domain) = domain_id(api, &user.domain).await? else { continue };
        let all =
            Call::get(Service::Identity, "/v3/users").query("name", &user.name).query("domain_id", domain);
        for found in list(api, &Actor::Admin, &all, "users").await? {
            if let Some(id) = doomed(&found, user) {
                let delete = Call::new(Service::Identity, Method::Delete, format!("/v3/users/{id}"));
                match api.send(&Actor::Admin, &delete).await {
                    // Somebody was faster.
                    Err(error) if error.status() == Some(404) => {}
                    answer => {
                        answer?;
                    }
                }
            }
        }
    }
    Ok(())
}

async fn domain_id<A: Api>(api: &A, name: &str) -> Result<Option<String>, Error> {
    if name == DEFAULT_DOMAIN {
        return Ok(Some(DEFAULT_ID.to_owned()));
    }
    let all = Call::get(Service::Identity, "/v3/domains").query("name", name);
    let found = list(api, &Actor::Admin, &all, "domains").await?;
    Ok(found.first().and_then(|domain| domain.get("id")?.as_str().map(str::to_owned)))
}

/// The id of a user that was found, if it is the one that is meant, and ours.
fn doomed<'a>(found: &'a Value, wanted: &Qualified) -> Option<&'a str> {
    let text = |field: &str| found.get(field).and_then(Value::as_str);
    let ours = text("description").is_some_and(|text| text.contains(MARKER));
    (ours && text("name") == Some(wanted.name.as_str())).then(|| text("id")).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nobody_elses_user_goes() {
        let wanted = Qualified::from("nova");
        let user =
            |name: &str, description: &str| json!({"id": "1", "name": name, "description": description});
        assert_eq!(doomed(&user("nova", MARKER), &wanted), Some("1"));
        assert_eq!(doomed(&user("nova", "somebody's"), &wanted), None);
        assert_eq!(doomed(&user("nova_g2", MARKER), &wanted), None);
    }
}
