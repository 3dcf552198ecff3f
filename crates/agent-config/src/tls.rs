//! Where TLS files lie, and how a server is verified.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a TLS server is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsTrust {
    /// PEM file of the CA that must have signed the server's certificate; nothing else is trusted.
    pub ca: PathBuf,
    /// The name that the certificate must carry, where it differs from the host connected to (a probe of 127.0.0.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// A server's TLS files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsFiles {
    /// The cloud's CA, PEM.
    pub ca: PathBuf,
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

impl Default for TlsFiles {
    /// Where every pod has them: `/etc/oaas/tls/{ca.crt,tls.crt,tls.key}`.
    fn default() -> Self {
        Self {
            ca: "/etc/oaas/tls/ca.crt".into(),
            cert: "/etc/oaas/tls/tls.crt".into(),
            key: "/etc/oaas/tls/tls.key".into(),
        }
    }
}
