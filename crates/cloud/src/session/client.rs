//! One identity on one cloud.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Url};
use serde_json::Value;
use tokio::sync::Mutex;

use super::auth::{Identity, Scope, Token};
use super::catalog::{self, Interface};
use super::error::{Error, fault_message};
use super::retry::Retry;
use super::tls;
use crate::Secret;
use crate::content::spec::Qualified;
use crate::engine::{Call, Method};
use crate::service::Service;

/// Where a cloud is and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Config {
    /// Keystone's address, with or without `/v3`. Calls to Keystone always go here, so that logging in works before
    /// there is a catalog.
    pub auth_url: String,
    /// Who logs in.
    pub identity: Identity,
    /// The region whose endpoints are used; any when none is named.
    pub region: Option<String>,
    /// Which endpoints are used.
    pub interface: Interface,
    /// Addresses that go before the catalog's.
    pub endpoints: BTreeMap<Service, String>,
    /// The CA that signs the cloud's certificates, as PEM; without it, what the machine trusts.
    pub ca_pem: Option<Vec<u8>>,
    /// Time-outs and retries.
    pub limits: Limits,
}

/// Time-outs and retries.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For a connection to come about.
    pub connect: Duration,
    /// For a whole call.
    pub request: Duration,
    /// For an upload or download that makes no progress.
    pub stall: Duration,
    /// When and how often a call is tried again.
    pub retry: Retry,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            request: Duration::from_secs(30),
            stall: Duration::from_mins(1),
            retry: Retry::default(),
        }
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status, below 400.
    pub status: u16,
    /// The body; null when there is none.
    pub body: Value,
}

/// One identity on one cloud. Clones share their token. See the [module](super) for what it does.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
    identity: Arc<Identity>,
    token: Arc<Mutex<Option<Arc<Token>>>>,
}

struct Shared {
    http: Client,
    auth_root: Url,
    region: Option<String>,
    interface: Interface,
    endpoints: BTreeMap<Service, Url>,
    limits: Limits,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Session({} at {})", self.identity.user, self.shared.auth_root)
    }
}

impl Session {
    /// Set up a session. Does no I/O.
    ///
    /// # Errors
    /// The CA or an address is malformed.
    pub fn new(config: Config) -> Result<Self, Error> {
        let http = tls::builder(config.ca_pem.as_deref())?
            .no_proxy()
            .connect_timeout(config.limits.connect)
            // A connection for every call: uWSGI's own HTTP server closes kept-alive connections without a word, and
            // a POST on one of those is lost. A handshake costs a few milliseconds; a lost POST another look.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| Error::Configure { what: error.to_string() })?;
        let mut endpoints = BTreeMap::new();
        for (service, address) in &config.endpoints {
            endpoints.insert(*service, catalog::address(address)?);
        }
        let shared = Shared {
            http,
            auth_root: catalog::address(&config.auth_url)?,
            region: config.region,
            interface: config.interface,
            endpoints,
            limits: config.limits,
        };
        Ok(Self { shared: Arc::new(shared), identity: Arc::new(config.identity), token: Arc::default() })
    }

    /// Another identity on the same cloud, over the same connections.
    #[must_use]
    pub fn with_identity(&self, identity: Identity) -> Self {
        Self { shared: Arc::clone(&self.shared), identity: Arc::new(identity), token: Arc::default() }
    }

    /// Who this is.
    pub fn user(&self) -> &Qualified {
        &self.identity.user
    }

    /// Time-outs and retries.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// A token that is good for a while: the one at hand, or a new one. Only one login is under way at a time.
    pub async fn token(&self) -> Result<Arc<Token>, Error> {
        let mut held = self.token.lock().await;
        if let Some(token) = held.as_ref()
            && Instant::now() < token.renew_at
        {
            return Ok(Arc::clone(token));
        }
        let token = Arc::new(self.login(&self.identity).await?);
        *held = Some(Arc::clone(&token));
        Ok(token)
    }

    /// Whether a password is the user's: asks Keystone for a token that is good for nothing else.
    pub async fn password_works(&self, user: &Qualified, password: &Secret) -> Result<bool, Error> {
        let identity = Identity { user: user.clone(), password: password.clone(), scope: Scope::Unscoped };
        match self.login(&identity).await {
            Ok(_) => Ok(true),
            Err(Error::Login { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Make a call: with a token, renewed once on 401, repeated as [`Retry`] says. A DELETE of what is gone is fine.
    pub async fn send(&self, call: &Call) -> Result<Reply, Error> {
        let mut tried = 0;
        let mut renewed = false;
        loop {
            let token = self.token().await?;
            tried += 1;
            let error = match self.exchange(call, &token).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            match error.status() {
                Some(401) if !renewed => {
                    renewed = true;
                    tried -= 1;
                    self.forget(&token).await;
                    continue;
                }
                Some(404) if call.method == Method::Delete => {
                    return Ok(Reply { status: 404, body: Value::Null });
                }
                _ => {}
            }
            match self.shared.limits.retry.pause(tried, call.method.idempotent(), &error) {
                Some(pause) => {
                    tracing::debug!(?call, error = error.line(), ?pause, "call failed, is tried again");
                    tokio::time::sleep(pause).await;
                }
                None => return Err(error),
            }
        }
    }

    /// The root of a service's endpoint for this session, logged in where the catalog is needed.
    pub async fn endpoint(&self, service: Service) -> Result<Url, Error> {
        if let Some(url) = self.fixed_endpoint(service) {
            return Ok(url);
        }
        let token = self.token().await?;
        self.endpoint_with(service, &token)
    }

    /// GET an address of a service without a token and without retries: for asking whether it answers at all.
    pub(crate) async fn ask(&self, service: Service, root: &Url, path: &str) -> Result<Reply, Error> {
        let call = Call::get(service, path);
        let url = catalog::below(root, path);
        self.finish(&call, &url, self.shared.http.get(url.clone()).timeout(self.shared.limits.request)).await
    }

    /// Forget a token that a service did not take, unless it was renewed meanwhile.
    pub(super) async fn forget(&self, refused: &Arc<Token>) {
        let mut held = self.token.lock().await;
        if held.as_ref().is_some_and(|token| Arc::ptr_eq(token, refused)) {
            *held = None;
        }
    }

    /// A request with everything but its body and time-out.
    pub(super) fn request(&self, call: &Call, token: &Token) -> Result<(Url, RequestBuilder), Error> {
        let mut url = catalog::below(&self.endpoint_with(call.service, token)?, &call.path);
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let method = match call.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut request = self
            .shared
            .http
            .request(method, url.clone())
            .header("X-Auth-Token", token.value.expose())
            .header("Accept", "application/json");
        if let Some(version) = call.service.microversion() {
            request = request.header("OpenStack-API-Version", version);
        }
        Ok((url, request))
    }

    /// Send a request and read its answer.
    pub(super) async fn finish(
        &self,
        call: &Call,
        url: &Url,
        request: RequestBuilder,
    ) -> Result<Reply, Error> {
        let started = Instant::now();
        let after = self.shared.limits.request;
        let answer = request.send().await.map_err(|error| transport(call, url, after, error))?;
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let text = answer.text().await.map_err(|error| transport(call, url, after, error))?;
        tracing::trace!(
            ?call,
            status,
            ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(0),
            "called"
        );
        if status >= 400 {
            return Err(refusal(call, status, &headers, &text));
        }
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).map_err(|error| Error::Answer {
                service: call.service,
                method: call.method.as_str(),
                path: call.path.clone(),
                what: format!("it is not JSON ({error})"),
            })?
        };
        Ok(Reply { status, body })
    }

    async fn exchange(&self, call: &Call, token: &Token) -> Result<Reply, Error> {
        let (url, mut request) = self.request(call, token)?;
        request = request.timeout(self.shared.limits.request);
        if let Some(body) = &call.body {
            // Image API v2: a patch in this form replaces what is there when it says "add".
            let kind = if call.json_patch {
                "application/openstack-images-v2.1-json-patch"
            } else {
                "application/json"
            };
            request = request.header(CONTENT_TYPE, kind).body(body.to_string());
        }
        self.finish(call, &url, request).await
    }

    async fn login(&self, identity: &Identity) -> Result<Token, Error> {
        let call = Call::new(Service::Identity, Method::Post, "/v3/auth/tokens");
        let root = self.fixed_endpoint(Service::Identity).unwrap_or_else(|| self.shared.auth_root.clone());
        let url = catalog::below(&root, &call.path);
        let mut tried = 0;
        loop {
            tried += 1;
            let error = match self.login_once(identity, &call, &url).await {
                Ok(token) => return Ok(token),
                Err(error) => error,
            };
            // A login changes nothing, so it may be repeated though it is a POST.
            match self.shared.limits.retry.pause(tried, true, &error) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    async fn login_once(&self, identity: &Identity, call: &Call, url: &Url) -> Result<Token, Error> {
        let after = self.shared.limits.request;
        let request = self.shared.http.post(url.clone()).json(&identity.body()).timeout(after);
        let answer = request.send().await.map_err(|error| transport(call, url, after, error))?;
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let text = answer.text().await.map_err(|error| transport(call, url, after, error))?;
        if status == 401 {
            return Err(Error::Login {
                user: identity.user.clone(),
                message: identity.password.black_out(&fault_message(&text)),
                request_id: request_id(&headers),
            });
        }
        if status >= 400 {
            let hidden = Call { hidden: vec![identity.password.clone()], ..call.clone() };
            return Err(refusal(&hidden, status, &headers, &text));
        }
        let unreadable = |what: String| Error::Answer {
            service: Service::Identity,
            method: call.method.as_str(),
            path: call.path.clone(),
            what,
        };
        let value = headers.get("X-Subject-Token").and_then(|value| value.to_str().ok());
        let value = value.ok_or_else(|| unreadable("it has no X-Subject-Token".to_owned()))?.to_owned();
        let body = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        Token::read(value, body, Instant::now()).map_err(|error| unreadable(error.to_string()))
    }

    fn fixed_endpoint(&self, service: Service) -> Option<Url> {
        let over = self.shared.endpoints.get(&service).cloned();
        over.or_else(|| (service == Service::Identity).then(|| self.shared.auth_root.clone()))
    }

    fn endpoint_with(&self, service: Service, token: &Token) -> Result<Url, Error> {
        match self.fixed_endpoint(service) {
            Some(url) => Ok(url),
            None => {
                catalog::choose(&token.catalog, service, self.shared.interface, self.shared.region.as_deref())
            }
        }
    }
}

/// What a failure of the connection means.
pub(super) fn transport(call: &Call, url: &Url, after: Duration, error: reqwest::Error) -> Error {
    let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
    let host = format!("{}{port}", url.host_str().unwrap_or("?"));
    let (service, method, path) = (call.service, call.method.as_str(), call.path.clone());
    let source = error.without_url();
    if source.is_connect() {
        Error::Connect { service, host, method, path, source }
    } else if source.is_timeout() {
        Error::TimedOut { service, host, method, path, after }
    } else {
        Error::Broken { service, host, method, path, source }
    }
}

/// What a service refused, without the secrets that it may quote.
pub(super) fn refusal(call: &Call, status: u16, headers: &HeaderMap, body: &str) -> Error {
    let message = call.hidden.iter().fold(fault_message(body), |message, secret| secret.black_out(&message));
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Error::Status {
        service: call.service,
        method: call.method.as_str(),
        path: call.path.clone(),
        status,
        message,
        request_id: request_id(headers),
        retry_after: seconds.map(Duration::from_secs),
    }
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    let names = ["x-openstack-request-id", "x-compute-request-id"];
    names.iter().find_map(|name| headers.get(*name)?.to_str().ok().map(str::to_owned))
}
