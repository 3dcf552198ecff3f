//! What a cloud has on its nodes goes through its own services, before those go: a server that nobody deletes runs on,
//! and the next cloud's nova-compute refuses a node with servers that are not its own.
//!
//! Source: Compute API ("List Servers", "Delete Server").

use serde_json::Value;

use crate::engine::{Actor, Api, Call, Method, list};
use crate::service::Service;
use crate::session::Error;

/// Ask for the deletion of every server of every project; returns how many there still are.
///
/// # Errors
/// Nova does not answer, or refuses.
pub async fn delete_servers<A: Api>(api: &A) -> Result<usize, Error> {
    let all = Call::get(Service::Compute, "/v2.1/servers").query("all_tenants", "1");
    let servers = list(api, &Actor::Admin, &all, "servers").await?;
    for id in servers.iter().filter_map(|server| server.get("id").and_then(Value::as_str)) {
        let delete = Call::new(Service::Compute, Method::Delete, format!("/v2.1/servers/{id}"));
        match api.send(&Actor::Admin, &delete).await {
            // It went meanwhile.
            Err(error) if error.status() == Some(404) => {}
            answer => {
                answer?;
            }
        }
    }
    Ok(servers.len())
}
