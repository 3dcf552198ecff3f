//! Where people reach a cloud.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Ports and address of a cloud as people see it. Ports are NodePorts, open on every node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Publish {
    /// Name or address in public URLs, reached by people, pods and guests alike. Default: the first controller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub address: Option<String>,
    /// Port of Horizon. Default: 30080, or the next free one when another cloud has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub horizon_port: Option<u16>,
    /// Port of the web console (noVNC). Default: 30068, or the next free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub console_port: Option<u16>,
    /// Port of the load balancer's statistics. Default: 30090, or the next free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub statistics_port: Option<u16>,
    /// Port of all APIs, below paths such as `/identity`. Default: 30443, or the next free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub public_port: Option<u16>,
    /// Certificate of your own for everything published. Default: one signed by the cloud's own CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<PublicTls>,
}

impl Publish {
    /// The port that the resource names for something published, by its key in the catalog.
    pub fn port(&self, key: &str) -> Option<u16> {
        match key {
            "horizon" => self.horizon_port,
            "console" => self.console_port,
            "statistics" => self.statistics_port,
            "public" => self.public_port,
            _ => None,
        }
    }
}

/// A certificate of your own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublicTls {
    /// Secret of this namespace of the type `kubernetes.io/tls`: `tls.crt` with those who signed it behind it, `tls.key`,
    /// and `ca.crt` where that says more. It must be made for `publish.address`.
    pub secret_name: String,
}
