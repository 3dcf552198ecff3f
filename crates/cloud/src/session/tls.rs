//! The HTTP client and what it trusts.

use std::sync::Once;

use reqwest::{Certificate, ClientBuilder};

use super::error::Error;

/// A builder that trusts the given CA alone, or, without one, what the machine trusts.
pub(super) fn builder(ca_pem: Option<&[u8]>) -> Result<ClientBuilder, Error> {
    static PROVIDER: Once = Once::new();
    // Somebody else in this process may have chosen a provider already: theirs is as good.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("oaas/", env!("CARGO_PKG_VERSION")));
    let Some(pem) = ca_pem else { return Ok(builder) };
    let certificates = Certificate::from_pem_bundle(pem)
        .map_err(|error| Error::Configure { what: format!("the CA is not a PEM certificate ({error})") })?;
    if certificates.is_empty() {
        return Err(Error::Configure { what: "the CA has no certificate in it".to_owned() });
    }
    Ok(builder.tls_certs_only(certificates))
}
