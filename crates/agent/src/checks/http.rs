//! HTTP checks.

use std::time::Duration;

use reqwest::header::HOST;
use reqwest::{Client, Url, redirect};
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
    let url: Url = match text.parse() {
        Ok(url) => url,
        Err(error) => return UnwellSnafu { what: format!("{text:?} is not a URL: {error}") }.fail(),
    };
    let mut client = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .connect_timeout(Duration::from_secs(10))
        .user_agent("oaas-agent");
    // The machine's own CAs are trusted for nothing, and never read.
    client = match trust {
        Some(TlsTrust { ca, server_name: Some(name) }) => {
            client.tls_backend_preconfigured(tls::client_of(ca, name)?)
        }
        Some(TlsTrust { ca, server_name: None }) => {
            client.tls_backend_preconfigured((*tls::client(ca)?).clone())
        }
        None => client.tls_certs_only([]),
    };
    let client = client.build().context(HttpSnafu { url: text })?;
    let mut request = client.get(url.clone());
    if let Some(name) = trust.and_then(|trust| trust.server_name.as_deref()) {
        // As its other clients call it.
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        request = request.header(HOST, format!("{name}{port}"));
    }
    let mut response = request.send().await.context(HttpSnafu { url: text })?;
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
    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

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

    /// A server whose certificate is of these names answers one question; what it was asked for as its host is said.
    async fn ask_server_of(names: &[&str], called: &str) -> Result<(u16, String), Error> {
        tls::install_provider();
        let directory = tempfile::tempdir().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().unwrap();
        let path = directory.path().join("ca.crt");
        std::fs::write(&path, ca.self_signed(&ca_key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
            let mut asked = vec![0; 4096];
            let read = stream.read(&mut asked).await.unwrap();
            let asked = String::from_utf8_lossy(&asked[..read]).to_lowercase();
            let host =
                asked.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
            let host = host.replace(&port.to_string(), "PORT");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{host}", host.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let trust = TlsTrust { ca: path, server_name: Some(called.to_owned()) };
        let answer = get(&format!("https://127.0.0.1:{port}/"), Some(&trust)).await;
        server.abort();
        answer
    }

    /// A certificate of the cloud's own names services, one of a person's own may name the public address alone.
    #[tokio::test]
    async fn a_server_is_verified_by_its_name_or_its_address() {
        let named = |name: &str| Ok((200, format!("{name}:PORT")));
        let ask = async |names: &[&str], called| {
            ask_server_of(names, called).await.map_err(|error| error.to_string())
        };
        assert_eq!(ask(&["edge.demo.svc", "192.0.2.7"], "edge.demo.svc").await, named("edge.demo.svc"));
        assert_eq!(ask(&["192.0.2.7"], "192.0.2.7").await, named("192.0.2.7"));
        assert!(ask(&["192.0.2.7"], "192.0.2.8").await.is_err());
        assert!(ask(&["127.0.0.1"], "192.0.2.7").await.is_err());
        assert!(ask(&["edge.demo.svc"], "other.demo.svc").await.is_err());
    }
}
