//! Open vSwitch of a node: its database and its switch, children of one agent.
//!
//! # Flow
//! Database file (made, converted, or put aside when unreadable) → `ovsdb-server` → look at the node → [`plan`] →
//! one transaction → `ovs-vswitchd` → addresses of bridges → watch.
//!
//! # Caveats
//! With the userspace datapath a restart interrupts the node's traffic, tunnels included, as the packets are moved by
//! the program itself; the kernel's datapath goes on.

mod observe;
mod plan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::{info, warn};

use super::error::Error;
use super::{jsonrpc, system};
use crate::context::Context;
use oaas_agent_config::Program;
use oaas_agent_config::{Datapath, INTEGRATION_BRIDGE, NodeNetwork, OpenVswitch};

pub use plan::Tunnel;
use plan::{MARK, Observed, Plan, TUNNEL_BRIDGE, Wanted};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// How long the programs may take to begin answering.
const START_SECONDS: u64 = 60;

/// How often the addresses of bridges are looked at.
const WATCH: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize)]
struct Report<'a> {
    datapath: Datapath,
    reason: &'a str,
    node: &'a str,
    tunnel_interface: &'a str,
    tunnel_address: String,
    /// Physical network to bridge.
    bridges: &'a BTreeMap<String, String>,
    gateway: bool,
}

/// The database's socket.
pub fn database_socket(run_directory: &Path) -> PathBuf {
    run_directory.join("db.sock")
}

/// Run the switch; comes back only with an error.
pub async fn run(role: &OpenVswitch, context: &Context) -> Result<(), Error> {
    let node = system::environment("NODE_NAME")?;
    let network: NodeNetwork = system::read_json(&role.nodes.join(format!("{node}.json")))?;
    system::make_directory(&role.directory)?;
    system::make_directory(&role.run_directory)?;
    let file = role.directory.join("conf.db");
    prepare_database(&file).await?;
    let socket = start_database(role, &file, context).await?;

    let memory = role.directory.join("oaas-tunnel.json");
    let taken_over: Option<Tunnel> = match system::read_if_there(&memory)? {
        Some(_) => Some(system::read_json(&memory)?),
        None => None,
    };
    let observed = Observed {
        kernel_lacks: observe::kernel_lacks().await?,
        links: observe::links().await?,
        taken_over,
        bridges: marked(&socket, "Bridge").await?,
        ports: marked(&socket, "Port").await?,
    };
    let wanted = Wanted {
        node: &node,
        network: &network,
        datapath: role.datapath,
        southbound: &role.southbound,
        external_ids: &role.external_ids,
    };
    let plan = plan::plan(&wanted, &observed)?;
    info!(target: "oaas_agent", "datapath {}: {}", plan::name(plan.datapath), plan.reason);
    context.report(&Report {
        datapath: plan.datapath,
        reason: &plan.reason,
        node: &node,
        tunnel_interface: &network.tunnel_interface,
        tunnel_address: plan.address.to_string(),
        bridges: &plan.bridges,
        gateway: network.gateway,
    });
    apply(role, &plan, &memory, &socket, context).await?;
    context.running();
    watch(&plan).await
}

/// There is a database file of this image's schema.
async fn prepare_database(file: &Path) -> Result<(), Error> {
    let path = file.display().to_string();
    if file.exists() {
        match system::run(["ovsdb-tool", "needs-conversion", &path, SCHEMA]).await {
            Ok(answer) if answer.trim() == "yes" => {
                info!(target: "oaas_agent", "converts {path} to the schema of this image");
                system::run(["ovsdb-tool", "convert", &path, SCHEMA]).await?;
                return Ok(());
            }
            Ok(_) => return Ok(()),
            Err(error) => {
                // All of it is put in again by this agent, by OVN and by libvirt.
                let aside = file.with_extension("unreadable");
                warn!(target: "oaas_agent", "puts {path} aside as {}: {}", aside.display(), crate::error::chain(&error));
                system::rename(file, &aside)?;
            }
        }
    }
    let new = file.with_extension("new");
    system::remove(&new)?;
    system::run(["ovsdb-tool", "create", &new.display().to_string(), SCHEMA]).await?;
    system::rename(&new, file)
}

fn program(role: &OpenVswitch, command: Vec<String>) -> Program {
    let mut program = Program::new(command);
    program.env.insert("OVS_RUNDIR".to_owned(), role.run_directory.display().to_string());
    program
}

async fn start_database(role: &OpenVswitch, file: &Path, context: &Context) -> Result<PathBuf, Error> {
    let socket = database_socket(&role.run_directory);
    let run = role.run_directory.display();
    let command = vec![
        "ovsdb-server".to_owned(),
        file.display().to_string(),
        format!("--remote=punix:{}", socket.display()),
        "--remote=db:Open_vSwitch,Open_vSwitch,manager_options".to_owned(),
        format!("--pidfile={run}/ovsdb-server.pid"),
        format!("--unixctl={run}/ovsdb-server.ctl"),
        "-vconsole:info".to_owned(),
        "-vsyslog:off".to_owned(),
    ];
    context.start("ovsdb-server", &program(role, command))?;
    let vsctl = format!("--db=unix:{}", socket.display());
    system::within(START_SECONDS, "an answer of ovsdb-server", async || {
        system::run(["ovs-vsctl", &vsctl, "--timeout=5", "--no-wait", "init"]).await.map(Some)
    })
    .await?;
    Ok(socket)
}

/// The names of a table's records that bear our mark.
async fn marked(socket: &Path, table: &str) -> Result<Vec<String>, Error> {
    let select = json!({"op": "select", "table": table, "where": [], "columns": ["name", "external_ids"]});
    let results = jsonrpc::transact(socket, "Open_vSwitch", &[select]).await?;
    let rows = results.first().and_then(|result| result["rows"].as_array()).cloned().unwrap_or_default();
    let ours = rows.iter().filter(|row| jsonrpc::map(&row["external_ids"]).contains_key(MARK));
    Ok(ours.filter_map(|row| row["name"].as_str().map(str::to_owned)).collect())
}

async fn apply(
    role: &OpenVswitch,
    plan: &Plan,
    memory: &Path,
    socket: &Path,
    context: &Context,
) -> Result<(), Error> {
    if let Some(tunnel) = &plan.take_over {
        system::write(memory, &json!(tunnel).to_string(), 0o644)?;
    }
    let mut command = ["ovs-vsctl", "--timeout=30", "--no-wait"].map(str::to_owned).to_vec();
    command.push(format!("--db=unix:{}", socket.display()));
    command.extend(plan.database.iter().cloned());
    system::run(command).await?;
    for command in &plan.before {
        system::run(command).await?;
    }
    for command in &plan.offloads {
        if !system::succeeds(command).await? {
            info!(target: "oaas_agent", "not every interface can: {}", command.join(" "));
        }
    }
    let run = role.run_directory.display();
    let switch = vec![
        "ovs-vswitchd".to_owned(),
        format!("unix:{}", socket.display()),
        format!("--pidfile={run}/ovs-vswitchd.pid"),
        format!("--unixctl={run}/ovs-vswitchd.ctl"),
        "-vconsole:info".to_owned(),
        "-vsyslog:off".to_owned(),
    ];
    context.start("ovs-vswitchd", &program(role, switch))?;
    let mut bridges = vec![INTEGRATION_BRIDGE];
    bridges.extend(plan.bridges.values().map(String::as_str));
    if plan.datapath == Datapath::Netdev {
        bridges.push(TUNNEL_BRIDGE);
    }
    for bridge in bridges {
        let what = format!("a working bridge {bridge}");
        system::within(START_SECONDS, &what, async || match bridge_is_unwell(socket, bridge).await? {
            None => Ok(Some(())),
            Some(said) => super::error::AnswerSnafu { what: "ovs-vswitchd", said }.fail(),
        })
        .await?;
    }
    for command in &plan.after {
        system::run(command).await?;
    }
    Ok(())
}

/// Put the tunnel bridge's addresses back should they be lost; the commands change nothing where all is well.
async fn watch(plan: &Plan) -> Result<(), Error> {
    loop {
        sleep(WATCH).await;
        if plan.datapath != Datapath::Netdev {
            continue;
        }
        let links = observe::links().await?;
        let wanted = format!("{}/", plan.address);
        let there = links
            .get(TUNNEL_BRIDGE)
            .is_some_and(|link| link.addresses.iter().any(|a| a.starts_with(&wanted)));
        if !there {
            warn!(target: "oaas_agent", "{TUNNEL_BRIDGE} has lost the address {}: sets it again", plan.address);
            for command in &plan.after {
                system::run(command).await?;
            }
        }
    }
}

/// What is wrong with a bridge; nothing when it is there and its datapath works.
pub async fn bridge_is_unwell(socket: &Path, bridge: &str) -> Result<Option<String>, Error> {
    let select = |table: &str, columns: &[&str]| json!({"op": "select", "table": table, "where": [["name", "==", bridge]], "columns": columns});
    let operations = [select("Bridge", &["datapath_id"]), select("Interface", &["ofport", "error"])];
    let results = jsonrpc::transact(socket, "Open_vSwitch", &operations).await?;
    let row = |index: usize| results.get(index).and_then(|result| result["rows"].get(0)).cloned();
    let (Some(found), Some(interface)) = (row(0), row(1)) else {
        return Ok(Some(format!("there is no bridge {bridge}")));
    };
    if let Value::String(said) = &interface["error"] {
        return Ok(Some(format!("{bridge} does not work: {said}")));
    }
    // An optional value that is not set is an empty set.
    if !found["datapath_id"].is_string() || interface["ofport"].as_i64().is_none_or(|port| port < 0) {
        return Ok(Some(format!("{bridge} is not set up by ovs-vswitchd yet")));
    }
    Ok(None)
}

/// What the node's switch uses to move packets; nothing before the switch was set up.
pub async fn datapath(run_directory: &Path) -> Result<Option<Datapath>, Error> {
    let select = json!({"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["external_ids"]});
    let results = jsonrpc::transact(&database_socket(run_directory), "Open_vSwitch", &[select]).await?;
    let ids =
        results.first().map(|result| jsonrpc::map(&result["rows"][0]["external_ids"])).unwrap_or_default();
    Ok(match ids.get("ovn-bridge-datapath-type").map(String::as_str) {
        Some("system") => Some(Datapath::System),
        Some("netdev") => Some(Datapath::Netdev),
        _ => None,
    })
}
