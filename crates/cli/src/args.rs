//! What can be written on the command line.

use clap::{Parser, Subcommand};

use crate::commands::{
    approve, completion, credentials, down, image, kubectl, logs, openstack, plan, rotate, status, up,
    version, why,
};
use crate::global::Global;

/// OpenStack as a Service on Kubernetes: from a bare machine to a virtual machine with one command.
#[derive(Debug, Parser)]
#[command(name = "oaas", bin_name = "oaas", version, propagate_version = false, max_term_width = 100)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands, each in a file of its own under `commands`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring up a cloud on this machine, from nothing to a virtual machine
    Up(up::Arguments),
    /// Take the embedded cluster with its clouds away, and restore this machine
    Down(down::Arguments),
    /// Print how far a cloud is
    Status(status::Arguments),
    /// Print what a resource would change, before it is applied
    Plan(plan::Arguments),
    /// Let a plan that waits for approval be done
    Approve(approve::Arguments),
    /// Print why a cloud, or one component of it, is not ready
    Why(why::Arguments),
    /// Print what OpenStack's clients need to reach a cloud
    Credentials(credentials::Arguments),
    /// Make secrets and certificates anew, or print how far that is
    Rotate(rotate::Arguments),
    /// Run the OpenStack client
    Openstack(openstack::Arguments),
    /// Print what a component wrote
    Logs(logs::Arguments),
    /// Run kubectl for the cluster
    Kubectl(kubectl::Arguments),
    /// Build, list and lock images
    Image(image::Arguments),
    /// Print the version of OaaS
    Version(version::Arguments),
    /// Print a script that completes `oaas` in a shell
    Completion(completion::Arguments),
}
