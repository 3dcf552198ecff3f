//! Roles that work on a node: OVN, Open vSwitch, libvirt, nova-compute.

pub mod config;

#[cfg(feature = "run")]
mod compute;
#[cfg(feature = "run")]
mod controller;
#[cfg(feature = "run")]
pub mod error;
#[cfg(feature = "run")]
mod jsonrpc;
#[cfg(feature = "run")]
mod libvirt;
#[cfg(feature = "run")]
mod ovsdb;
#[cfg(feature = "run")]
mod system;
#[cfg(feature = "run")]
mod vswitch;

#[cfg(feature = "run")]
pub use run::{LibvirtHook, ask, libvirt_hook};

#[cfg(feature = "run")]
mod run {
    //! How the rest of the agent meets the node's roles.

    use super::config::{NodeProbe, NodeRole};
    use super::{compute, controller, jsonrpc, libvirt, ovsdb, vswitch};
    use crate::checks;
    use crate::context::{Context, Outcome, Role};
    use crate::error::{Failure, chain};
    use crate::run::report_failure;

    impl Role for NodeRole {
        async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
            match self {
                Self::Ovsdb(role) => ovsdb::run(role, context).await?,
                Self::OpenVswitch(role) => vswitch::run(role, context).await?,
                Self::OvnController(role) => controller::run(role, context).await?,
                Self::Libvirt(role) => libvirt::run(role, context).await?,
                Self::NovaCompute(role) => compute::run(role, context).await?,
            }
            Ok(Outcome::Supervise)
        }

        async fn before_stop(&self, context: &Context) {
            match self {
                Self::Ovsdb(role) => ovsdb::before_stop(role, context).await,
                Self::OvnController(role) => controller::before_stop(role, context).await,
                Self::OpenVswitch(_) | Self::Libvirt(_) | Self::NovaCompute(_) => {}
            }
        }
    }

    /// Ask a daemon of the node; the error says why its answer is not good.
    pub async fn ask(probe: &NodeProbe, _: &Context) -> Result<(), checks::Error> {
        let answer = match probe {
            NodeProbe::Unixctl(probe) => {
                let arguments: Vec<&str> = probe.arguments.iter().map(String::as_str).collect();
                jsonrpc::command(&probe.socket, &probe.command, &arguments).await.map(|said| {
                    let said = said.trim();
                    let good = probe.expect.is_empty() || probe.expect.iter().any(|wanted| wanted == said);
                    (!good)
                        .then(|| format!("{} answers `{said}` to {}", probe.socket.display(), probe.command))
                })
            }
            NodeProbe::OvnCluster(probe) => ovsdb::ask(probe.database, &probe.run_directory).await,
            NodeProbe::Bridge(probe) => {
                let socket = vswitch::database_socket(&probe.run_directory);
                vswitch::bridge_is_unwell(&socket, &probe.name).await
            }
        };
        match answer {
            Ok(None) => Ok(()),
            Ok(Some(what)) => Err(checks::Error::Unwell { what }),
            Err(error) => Err(checks::Error::Unwell { what: chain(&error) }),
        }
    }

    /// What `oaas agent libvirt-hook --cgroup CGROUP --oom-score-adj N -- DOMAIN OPERATION` is told. libvirt calls it
    /// through the hook that the role `libvirt` writes.
    #[derive(Debug, Clone)]
    pub struct LibvirtHook {
        /// The cgroup that guests' ones are below, relative to the root.
        pub cgroup: String,
        /// `oom_score_adj` of the guest's process, -1000 to 1000.
        pub oom_score_adj: i32,
        /// The guest's name.
        pub domain: String,
        /// What happens to it, such as `started`.
        pub operation: String,
    }

    /// Act on what libvirt says of a guest; gives the exit code.
    pub fn libvirt_hook(arguments: &LibvirtHook) -> u8 {
        let LibvirtHook { cgroup, oom_score_adj, domain, operation } = arguments.clone();
        let treatment = libvirt::Treatment { cgroup, oom_score_adj };
        match libvirt::hook(&libvirt::Hook { domain, operation }, &treatment) {
            Ok(()) => 0,
            Err(error) => report_failure(&error.into()),
        }
    }
}
