//! Roles that work on a node: OVN, Open vSwitch, libvirt, nova-compute.

mod compute;
mod controller;
pub mod error;
mod filler;
pub(crate) mod jsonrpc;
mod libvirt;
pub(crate) mod northd;
pub(crate) mod ovsdb;
mod reserve;
mod system;
pub(crate) mod vswitch;

use oaas_agent_config::NodeRole;

use crate::context::{Context, Outcome, Role};
use crate::error::{Failure, report_failure};

impl Role for NodeRole {
    async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        match self {
            Self::Ovsdb(role) => ovsdb::run(role, context).await?,
            Self::OpenVswitch(role) => vswitch::run(role, context).await?,
            Self::OvnController(role) => controller::run(role, context).await?,
            Self::Libvirt(role) => libvirt::run(role, context).await?,
            Self::NovaCompute(role) => compute::run(role, context).await?,
            Self::OvnFiller(role) => filler::run(role, context).await?,
        }
        Ok(Outcome::Supervise)
    }

    async fn before_stop(&self, context: &Context) {
        match self {
            Self::Ovsdb(role) => ovsdb::before_stop(role, context).await,
            Self::OvnController(role) => controller::before_stop(role, context).await,
            Self::OpenVswitch(_) | Self::Libvirt(_) | Self::NovaCompute(_) | Self::OvnFiller(_) => {}
        }
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
