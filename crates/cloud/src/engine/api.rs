//! What a pass needs of the world.

use std::future::Future;

use oaas_feedback::Task;
use serde_json::Value;

use super::item::{Actor, Call, Checksum, ImageSource};
use super::pages::{MOST_PAGES, next_page};
use crate::Secret;
use crate::content::spec::Qualified;
use crate::session::Error;

/// A cloud that can be called: [`Sessions`](crate::session::Sessions), or a simulated one in tests.
pub trait Api: Sync {
    /// See that the cloud can be called at all, so that a pass fails at once and with one error where it cannot.
    fn begin(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Make a call and return the answer's body (null if none).
    fn send(&self, actor: &Actor, call: &Call) -> impl Future<Output = Result<Value, Error>> + Send;

    /// Whether a user's password is this one.
    fn password_works(
        &self,
        user: &Qualified,
        password: &Secret,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Send an image's bytes with this call, and see that they arrived.
    fn upload(
        &self,
        actor: &Actor,
        call: &Call,
        source: &ImageSource,
        task: &Task,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The checksum that an image from this source has, where it can be known.
    fn checksum(&self, source: &ImageSource) -> impl Future<Output = Option<Checksum>> + Send;
}

/// All objects of a list, page by page. A field that holds one object is a list of one.
pub async fn list<A: Api>(api: &A, actor: &Actor, call: &Call, field: &str) -> Result<Vec<Value>, Error> {
    let mut all = Vec::new();
    let mut page = call.clone();
    for _ in 0..MOST_PAGES {
        let mut answer = api.send(actor, &page).await?;
        let next = next_page(&answer, field);
        match answer.get_mut(field).map(Value::take) {
            Some(Value::Array(objects)) => all.extend(objects),
            Some(object @ Value::Object(_)) => all.push(object),
            _ => {
                return Err(Error::Answer {
                    service: call.service,
                    method: call.method.as_str(),
                    path: call.path.clone(),
                    what: format!("it has no list {field}"),
                });
            }
        }
        match next {
            Some(query) if query != page.query => page.query = query,
            _ => return Ok(all),
        }
    }
    Err(Error::Answer {
        service: call.service,
        method: call.method.as_str(),
        path: call.path.clone(),
        what: format!("the list {field} does not end"),
    })
}
