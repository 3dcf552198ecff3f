//! Questions to the daemons of a node.

use oaas_agent_config::NodeProbe;

use super::error::Error;
use crate::error::chain;
use crate::roles::node::{jsonrpc, northd, ovsdb, vswitch};

/// Ask a daemon of the node; the error says why its answer is not good.
pub(super) async fn ask(probe: &NodeProbe) -> Result<(), Error> {
    let answer = match probe {
        NodeProbe::Unixctl(probe) => {
            let arguments: Vec<&str> = probe.arguments.iter().map(String::as_str).collect();
            jsonrpc::command(&probe.socket, &probe.command, &arguments).await.map(|said| {
                let said = said.trim();
                let good = probe.expect.is_empty() || probe.expect.iter().any(|wanted| wanted == said);
                (!good).then(|| format!("{} answers `{said}` to {}", probe.socket.display(), probe.command))
            })
        }
        NodeProbe::OvnCluster(probe) => ovsdb::ask(probe.database, &probe.run_directory).await,
        NodeProbe::OvnContent(probe) => ovsdb::ask_content(probe.database, &probe.run_directory).await,
        NodeProbe::OvnInStep(probe) => northd::ask(probe).await,
        NodeProbe::Bridge(probe) => {
            let socket = vswitch::database_socket(&probe.run_directory);
            vswitch::bridge_is_unwell(&socket, &probe.name).await
        }
    };
    match answer {
        Ok(None) => Ok(()),
        Ok(Some(what)) => Err(Error::Unwell { what }),
        Err(error) => Err(Error::Unwell { what: chain(&error) }),
    }
}
