//! Speaks to a running OpenStack cloud: Keystone, Glance, Nova, Neutron.
