//! Roles that work on a node: OVN, Open vSwitch, libvirt, nova-compute.

pub mod config;
