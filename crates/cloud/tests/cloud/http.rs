//! The emulator behind HTTP on loopback, with headers checked and faults on demand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use futures::StreamExt;
use oaas_cloud::Secret;
use oaas_cloud::service::Service;
use oaas_cloud::session::{Config, Identity, Interface, Limits, Retry, Scope, Session};
use serde_json::{Value, json};

use crate::emulator::{Ask, Emulator, PASSWORD, Who};

/// What goes wrong with calls to a path.
#[derive(Debug, Clone)]
pub struct Fault {
    pub method: &'static str,
    pub path: String,
    pub times: u32,
    pub what: Wrong,
}

#[derive(Debug, Clone)]
pub enum Wrong {
    /// The call is refused with this status.
    Refused(u16),
    /// The call takes long.
    Slow(Duration),
    /// The call is carried out, and its answer is lost.
    AnswerLost,
}

/// What a call looked like.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
}

#[derive(Default)]
struct Inner {
    cloud: Emulator,
    tokens: BTreeMap<String, Who>,
    issued: u32,
    life: i64,
    faults: Vec<Fault>,
    seen: Vec<Seen>,
}

/// A running server; it ends when this is dropped.
pub struct Server {
    pub address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(mut cloud: Emulator) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        cloud.base = format!("http://{address}");
        let inner = Arc::new(Mutex::new(Inner { cloud, life: 3600, ..Inner::default() }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, inner, task }
    }

    /// The same behind TLS, with a certificate for `localhost`.
    pub async fn start_tls(mut cloud: Emulator, certificate: Vec<u8>, key: Vec<u8>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        cloud.base = format!("https://localhost:{}", address.port());
        let inner = Arc::new(Mutex::new(Inner { cloud, life: 3600, ..Inner::default() }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        let config = axum_server::tls_rustls::RustlsConfig::from_pem(certificate, key).await.unwrap();
        let server = axum_server::from_tcp_rustls(listener, config).unwrap();
        let task = tokio::spawn(async move { server.serve(router.into_make_service()).await.unwrap() });
        Self { address, inner, task }
    }

    pub fn cloud<T>(&self, use_it: impl FnOnce(&mut Emulator) -> T) -> T {
        use_it(&mut self.lock().cloud)
    }

    pub fn fault(&self, method: &'static str, path: &str, times: u32, what: Wrong) {
        self.lock().faults.push(Fault { method, path: path.to_owned(), times, what });
    }

    pub fn expire_tokens(&self) {
        self.lock().tokens.clear();
    }

    pub fn token_life(&self, seconds: i64) {
        self.lock().life = seconds;
    }

    pub fn logins(&self) -> u32 {
        self.lock().issued
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    pub fn base(&self) -> String {
        self.lock().cloud.base.clone()
    }

    /// The administrator's configuration, with short time-outs.
    pub fn config(&self) -> Config {
        Config {
            auth_url: format!("{}/identity/v3", self.base()),
            identity: Identity {
                user: "admin".into(),
                password: Secret::new(PASSWORD),
                scope: Scope::Project("admin".into()),
            },
            region: Some("RegionOne".to_owned()),
            interface: Interface::Internal,
            endpoints: BTreeMap::new(),
            ca_pem: None,
            limits: Limits {
                connect: Duration::from_secs(10),
                request: Duration::from_mins(1),
                stall: Duration::from_mins(1),
                retry: Retry { first: Duration::from_millis(5), ..Retry::default() },
            },
        }
    }

    pub fn session(&self) -> Session {
        Session::new(self.config()).unwrap()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

async fn answer(State(inner): State<Arc<Mutex<Inner>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let method = parts.method.as_str().to_owned();
    let path = parts.uri.path().to_owned();
    let wrong = {
        let mut inner = inner.lock().unwrap();
        inner.seen.push(Seen { path: path.clone(), headers: parts.headers.clone() });
        let fault = inner
            .faults
            .iter_mut()
            .find(|fault| fault.times > 0 && fault.method == method && fault.path == path);
        fault.map(|fault| {
            fault.times -= 1;
            fault.what.clone()
        })
    };
    match wrong {
        Some(Wrong::Refused(status)) => {
            return reply(
                status,
                &json!({"error": {"message": "not now"}}),
                &[("x-openstack-request-id", "req-1")],
            );
        }
        Some(Wrong::Slow(pause)) => tokio::time::sleep(pause).await,
        Some(Wrong::AnswerLost) | None => {}
    }
    let done = if path == "/identity/v3/auth/tokens" {
        login(&inner, body).await
    } else {
        call(&inner, &method, &parts.uri, &parts.headers, body).await
    };
    if matches!(wrong, Some(Wrong::AnswerLost)) {
        let broken = futures::stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("cut"))]);
        return Response::builder().status(200).body(Body::from_stream(broken)).unwrap();
    }
    done
}

async fn login(inner: &Mutex<Inner>, body: Body) -> Response {
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    let mut inner = inner.lock().unwrap();
    match inner.cloud.login(&body) {
        Err((status, body)) => reply(status, &body, &[("x-openstack-request-id", "req-login")]),
        Ok((who, mut token)) => {
            inner.issued += 1;
            let name = format!("token-{}", inner.issued);
            inner.tokens.insert(name.clone(), who);
            // Far from our clock: only the difference counts.
            let start = jiff::Timestamp::from_second(1_000_000_000).unwrap();
            let end = jiff::Timestamp::from_second(1_000_000_000 + inner.life).unwrap();
            token["issued_at"] = json!(start.to_string());
            token["expires_at"] = json!(end.to_string());
            reply(201, &json!({"token": token}), &[("X-Subject-Token", &name)])
        }
    }
}

async fn call(inner: &Mutex<Inner>, method: &str, uri: &Uri, headers: &HeaderMap, body: Body) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let services = [
        ("/identity", Service::Identity, None),
        ("/image", Service::Image, None),
        ("/compute", Service::Compute, Some("compute 2.65")),
        ("/network", Service::Network, None),
        ("/placement", Service::Placement, Some("placement 1.17")),
    ];
    let Some((prefix, service, version)) =
        services.into_iter().find(|(prefix, ..)| uri.path().starts_with(prefix))
    else {
        return reply(404, &json!({"error": {"message": "no such service"}}), &[]);
    };
    let path = &uri.path()[prefix.len()..];
    if path == "/" || path.is_empty() {
        return reply(
            300,
            &json!({"versions": [{"id": "v2.1", "status": "CURRENT", "version": "2.100"}]}),
            &[],
        );
    }
    let Some(who) = text("X-Auth-Token").and_then(|token| inner.lock().unwrap().tokens.get(token).cloned())
    else {
        return reply(
            401,
            &json!({"error": {"code": 401, "message": "The request you have made requires authentication."}}),
            &[],
        );
    };
    if text("OpenStack-API-Version") != version {
        return reply(406, &json!({"error": {"message": "another microversion was expected"}}), &[]);
    }
    if let Some(id) = path.strip_prefix("/v2/images/").and_then(|rest| rest.strip_suffix("/file")) {
        return upload(inner, id, method, headers, body).await;
    }
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let expected = match (service, method) {
        (Service::Image, "PATCH") => "application/openstack-images-v2.1-json-patch",
        _ => "application/json",
    };
    if !bytes.is_empty() && text("Content-Type") != Some(expected) {
        return reply(415, &json!({"error": {"message": "another content type was expected"}}), &[]);
    }
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    let query: Vec<(String, String)> =
        reqwest::Url::parse(&format!("http://any{uri}")).unwrap().query_pairs().into_owned().collect();
    let ask = Ask { who: &who, method, path, query: &query, body: &body };
    let (status, body) = inner.lock().unwrap().cloud.handle(service, &ask);
    reply(status, &body, &[("x-openstack-request-id", "req-2")])
}

/// The bytes of an image: all that the length promises, or the image stays half-uploaded.
async fn upload(inner: &Mutex<Inner>, id: &str, method: &str, headers: &HeaderMap, body: Body) -> Response {
    assert_eq!(method, "PUT");
    let Some(length) =
        headers.get("content-length").and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
    else {
        return reply(411, &json!({"error": {"message": "Length Required"}}), &[]);
    };
    inner.lock().unwrap().cloud.saving(id);
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(Ok(chunk)) = stream.next().await {
        bytes.extend_from_slice(&chunk);
    }
    if bytes.len() != length {
        return reply(400, &json!({"error": {"message": "short"}}), &[]);
    }
    let (status, body) = inner.lock().unwrap().cloud.stored(id, &bytes);
    reply(status, &body, &[])
}

fn reply(status: u16, body: &Value, headers: &[(&str, &str)]) -> Response {
    let mut builder = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let text = match body {
        Value::Null => String::new(),
        Value::String(html) => html.clone(),
        json => json.to_string(),
    };
    builder.body(Body::from(text)).unwrap()
}
