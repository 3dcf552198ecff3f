//! Fills OVN's northbound database anew after its volumes were lost.
//!
//! # Flow
//! Ask the members on the port that is open only while there is something to fill; run the program that writes the content;
//! take away the mark that keeps clients out. Then look again: the next loss is another one.
//!
//! # Guarantees
//! The mark goes only after the program has ended well. One that fails is run again.

use std::time::Duration;

use oaas_agent_config::{OvnDatabase, OvnFiller};
use tokio::time::sleep;
use tracing::{info, warn};

use super::error::Error;
use super::{jsonrpc, ovsdb};
use crate::context::Context;
use crate::error::chain;

/// How often the members are asked.
const LOOK: Duration = Duration::from_secs(2);

/// How long it waits after a failure: another member of the database may just be on its way.
const AGAIN: Duration = Duration::from_secs(5);

/// Look and fill, for ever.
pub async fn run(role: &OvnFiller, context: &Context) -> Result<(), Error> {
    context.running();
    loop {
        let Some(member) = to_fill(role).await else {
            sleep(LOOK).await;
            continue;
        };
        context.waits_for("the program that fills the database");
        match fill(role, member, context).await {
            Ok(()) => info!(target: "oaas_agent", "the database is filled"),
            Err(error) => {
                warn!(target: "oaas_agent", "{}", chain(&error));
                sleep(AGAIN).await;
            }
        }
        context.waits_no_more();
    }
}

/// A member that says that the database is to be filled. Most of the time nobody listens.
async fn to_fill(role: &OvnFiller) -> Option<&str> {
    for member in &role.members {
        let database = OvnDatabase::Nb;
        let port = database.filler_port();
        let asked = [ovsdb::mark::question()];
        match jsonrpc::transact_at(member, port, &role.tls, database.schema(), &asked).await {
            Ok(rows) if ovsdb::mark::stands_in(&rows) => return Some(member),
            Ok(_) => {}
            Err(error) => tracing::debug!(target: "oaas_agent", "{}", chain(&error)),
        }
    }
    None
}

async fn fill(role: &OvnFiller, member: &str, context: &Context) -> Result<(), Error> {
    info!(target: "oaas_agent", "fills the database that was lost: {}", role.program.command.join(" "));
    let limit = Duration::from_secs(role.seconds);
    let name = role.program.command.first().map(String::as_str).unwrap_or_default();
    context.finish(name, &role.program, limit).await?.success(name)?;
    let database = OvnDatabase::Nb;
    let erased = [ovsdb::mark::erased()];
    jsonrpc::transact_at(member, database.filler_port(), &role.tls, database.schema(), &erased).await?;
    Ok(())
}
