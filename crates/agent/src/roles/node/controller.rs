//! OVN's controller of a node.

use std::path::PathBuf;

use serde_json::json;
use tracing::warn;

use super::error::Error;
use super::{jsonrpc, ovsdb, system, vswitch};
use crate::context::Context;
use oaas_agent_config::Program;
use oaas_agent_config::{INTEGRATION_BRIDGE, OvnController};

/// The control socket.
fn control_socket(role: &OvnController) -> PathBuf {
    role.run_directory.join("ovn-controller.ctl")
}

/// Wait for the node's switch, then start the controller.
pub async fn run(role: &OvnController, context: &Context) -> Result<(), Error> {
    let database = vswitch::database_socket(&role.vswitch_run_directory);
    system::make_directory(&role.run_directory)?;
    let datapath = system::wait_for(context, "Open vSwitch on this node", async || {
        let settings = vswitch::datapath(&role.vswitch_run_directory).await?;
        let unwell = vswitch::bridge_is_unwell(&database, INTEGRATION_BRIDGE).await?;
        Ok(settings.filter(|_| unwell.is_none()))
    })
    .await;
    let run = role.run_directory.display();
    let mut command = vec![
        "ovn-controller".to_owned(),
        format!("unix:{}", database.display()),
        format!("--unixctl={}", control_socket(role).display()),
        format!("--pidfile={run}/ovn-controller.pid"),
        "-vconsole:info".to_owned(),
        "-vsyslog:off".to_owned(),
    ];
    command.extend(ovsdb::tls_options(&role.tls));
    let mut program = Program::new(command);
    // Where it finds the bridge's own control socket.
    program.env.insert("OVS_RUNDIR".to_owned(), role.vswitch_run_directory.display().to_string());
    program.env.insert("OVN_RUNDIR".to_owned(), role.run_directory.display().to_string());
    context.start("ovn-controller", &program)?;
    context.report(&json!({ "datapath": datapath }));
    Ok(())
}

/// End without taking the node's flows, ports and registration away: it comes back.
pub async fn before_stop(role: &OvnController, context: &Context) {
    if let Err(error) = jsonrpc::command(&control_socket(role), "exit", &["--restart"]).await {
        warn!(target: "oaas_agent", "{}", crate::error::chain(&error));
        return;
    }
    system::wait_for_end(context, "ovn-controller").await;
}
