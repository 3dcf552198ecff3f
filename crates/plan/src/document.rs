//! Configuration files with every reference resolved, before they are written as text.

use std::collections::BTreeMap;

use oaas_catalog::FileFormat;
use serde::Serialize;

use crate::sensitive::Sensitive;

/// A configuration file. Its content may hold passwords, so it is not shown by `Debug`.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Where it lies in the container.
    pub path: String,
    /// How it is written.
    pub format: FileFormat,
    /// What stands in it.
    pub content: Sensitive<Content>,
}

/// The directory of files that change under running pods.
pub const LIVE: &str = "/etc/oaas/live";

impl Document {
    /// Does whoever reads it follow it while it runs? Then nobody rolls for it.
    pub fn is_live(&self) -> bool {
        self.path.rsplit_once('/').is_some_and(|(directory, _)| directory == LIVE)
    }
}

/// Section → option → values; several values are repeated keys.
pub type Sections = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// What stands in a file.
#[derive(Clone, PartialEq, Serialize)]
pub enum Content {
    /// Sections of options.
    Sections(Sections),
    /// Nested data.
    Tree(serde_json::Value),
    /// Lines as they stand.
    Lines(Vec<String>),
    /// The public endpoint.
    PublicEndpoint(PublicEndpointModel),
}

/// What the public endpoint leads to.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct PublicEndpointModel {
    /// Port that it listens on.
    pub port: u16,
    /// Port of its statistics.
    pub statistics_port: u16,
    /// The user of the statistics page.
    pub statistics_user: String,
    /// The password of the statistics page.
    pub statistics_password: String,
    /// File with certificate and key.
    pub certificate: String,
    /// File with the authority that back ends are checked by.
    pub authority: String,
    /// The public host and port, as forwarded headers give it.
    pub host: String,
    /// Where each path leads.
    pub routes: Vec<PublicRoute>,
}

/// One path of the public endpoint.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct PublicRoute {
    /// The name of the back end.
    pub name: String,
    /// The path prefix, such as `/identity`.
    pub path: String,
    /// The DNS name of the Service.
    pub host: String,
    /// Its port.
    pub port: u16,
}
