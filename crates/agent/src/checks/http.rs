//! HTTP checks.

use std::time::Duration;

use reqwest::{Certificate, Client, Url, redirect};
use snafu::ResultExt as _;

use super::error::{Error, HttpSnafu, UnwellSnafu};
use crate::tls;
use oaas_agent_config::{HttpProbe, TlsTrust};

/// How much of a body is read.
const BODY_LIMIT: usize = 64 * 1024;

pub(super) async fn ask(probe: &HttpProbe) -> Result<(), Error> {
    let (status, body) = get(&probe.url, probe.tls.as_ref()).await?;
    judge(probe, status, &body).map_or_else(|what| UnwellSnafu { what }.fail(), Ok)
}

/// GET a URL; gives the status and the first part of the body. No proxies, no redirects, one connection per question.
pub(crate) async fn get(text: &str, trust: Option<&TlsTrust>) -> Result<(u16, String), Error> {
    let mut url: Url = match text.parse() {
        Ok(url) => url,
        Err(error) => return UnwellSnafu { what: format!("{text:?} is not a URL: {error}") }.fail(),
    };
    let mut client = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .connect_timeout(Duration::from_secs(10))
        .user_agent("oaas-agent");
    let mut certificates = Vec::new();
    if let Some(trust) = trust {
        for certificate in tls::read_ca(&trust.ca)? {
            certificates.push(Certificate::from_der(&certificate).context(HttpSnafu { url: text })?);
        }
        if let Some(name) = &trust.server_name {
            // The certificate is verified by the URL's host: call it by its name, and say where that is.
            let (host, port) =
                (url.host_str().unwrap_or_default().to_owned(), url.port_or_known_default().unwrap_or(443));
            let unresolved = |what: String| UnwellSnafu { what }.build();
            let address = tokio::net::lookup_host((host.as_str(), port))
                .await
                .map_err(|error| unresolved(format!("failed to resolve {host}: {error}")))?
                .next()
                .ok_or_else(|| unresolved(format!("failed to resolve {host}: it has no address")))?;
            client = client.resolve(name, address);
            if url.set_host(Some(name)).is_err() {
                return UnwellSnafu { what: format!("{name:?} is not a host name") }.fail();
            }
        }
    }
    // The machine's own CAs are trusted for nothing, and never read.
    client = client.tls_certs_only(certificates);
    let client = client.build().context(HttpSnafu { url: text })?;
    let mut response = client.get(url).send().await.context(HttpSnafu { url: text })?;
    let mut body = Vec::new();
    while body.len() < BODY_LIMIT {
        match response.chunk().await.context(HttpSnafu { url: text })? {
            Some(chunk) => body.extend_from_slice(&chunk),
            None => break,
        }
    }
    Ok((response.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
}

fn judge(probe: &HttpProbe, status: u16, body: &str) -> Result<(), String> {
    if !probe.statuses.contains(&status) {
        let first = body.lines().next().unwrap_or_default();
        let said: String = first.chars().take(120).collect();
        return Err(format!("{} answered {status}, not {:?}: {said}", probe.url, probe.statuses));
    }
    match &probe.contains {
        Some(wanted) if !body.contains(wanted.as_str()) => {
            Err(format!("the answer of {} does not hold {wanted:?}", probe.url))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(contains: Option<&str>) -> HttpProbe {
        HttpProbe {
            url: "http://127.0.0.1/".to_owned(),
            tls: None,
            statuses: vec![200, 300],
            contains: contains.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn the_status_must_be_one_of_those_wanted() {
        assert_eq!(judge(&probe(None), 300, ""), Ok(()));
        let why = judge(&probe(None), 503, "no backend\nmore").unwrap_err();
        assert_eq!(why, "http://127.0.0.1/ answered 503, not [200, 300]: no backend");
    }

    #[test]
    fn the_body_must_hold_what_is_wanted() {
        assert_eq!(judge(&probe(Some("versions")), 200, "{\"versions\": []}"), Ok(()));
        assert!(judge(&probe(Some("versions")), 200, "hello").unwrap_err().contains("does not hold"));
    }
}
