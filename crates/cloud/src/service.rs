//! The services of OpenStack that this crate speaks to.

use std::fmt;

/// A service by its role in the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Keystone, Identity API v3.
    Identity,
    /// Glance, Image API v2.
    Image,
    /// Nova, Compute API v2.1.
    Compute,
    /// Neutron, Networking API v2.0.
    Network,
    /// Placement.
    Placement,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Identity, Self::Image, Self::Compute, Self::Network, Self::Placement];

    /// The type it has in Keystone's catalog.
    pub const fn catalog_type(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Image => "image",
            Self::Compute => "compute",
            Self::Network => "network",
            Self::Placement => "placement",
        }
    }

    /// The component of the cloud that answers it, by the name that OaaS gives it.
    pub const fn component(self) -> &'static str {
        match self {
            Self::Identity => "keystone",
            Self::Image => "glance",
            Self::Compute => "nova-api",
            Self::Network => "neutron-server",
            Self::Placement => "placement",
        }
    }

    /// The value of `OpenStack-API-Version`, for services with microversions. Compute 2.65 is what Rocky ends with,
    /// the oldest release in the catalog, and has all we need: `user_id` of keypairs (2.10), remote consoles (2.6),
    /// `extra_specs` in the list of flavors (2.61). Placement 1.17 has `allocation_candidates` with `limit` (1.16).
    /// Source: the API version histories of Nova and Placement.
    pub const fn microversion(self) -> Option<&'static str> {
        match self {
            Self::Compute => Some("compute 2.65"),
            Self::Placement => Some("placement 1.17"),
            Self::Identity | Self::Image | Self::Network => None,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.component())
    }
}
