//! Roles that work on a node: OVN, Open vSwitch, libvirt, nova-compute.

pub mod config;

#[cfg(feature = "run")]
mod dispatch {
    use super::config::{NodeProbe, NodeRole};
    use crate::checks;
    use crate::context::{Context, Outcome, Role};
    use crate::error::Failure;

    impl Role for NodeRole {
        async fn run(&self, _: &Context) -> Result<Outcome, Failure> {
            // The roles land one after another in this directory; what is not there yet is refused by name.
            Err(crate::checks::UnwellSnafu { what: format!("the role {self:?} is not part of this agent") }.build().into())
        }
    }

    /// Ask a daemon of a node; called with a time limit around it.
    // Asynchronous as soon as there is a probe.
    #[allow(clippy::unused_async)]
    pub(crate) async fn ask(probe: &NodeProbe, _: &Context) -> Result<(), checks::Error> {
        checks::UnwellSnafu { what: format!("the check {probe:?} is not part of this agent") }.fail()
    }
}

#[cfg(feature = "run")]
pub(crate) use dispatch::ask;
