//! A cloud as its users reach it: clouds.yaml, Keystone's catalog, requests that are tried once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oaas_feedback::{Explain, Kind};
use reqwest::{Certificate, Client, Method};
use serde::Deserialize;
use serde_json::{Value, json};
use snafu::{OptionExt, ResultExt, Snafu};

/// After so long an answer is not waited for any more.
const ANSWER: Duration = Duration::from_secs(20);

/// The cloud cannot be asked at all.
#[derive(Debug, Snafu)]
pub enum CloudError {
    /// A file cannot be read.
    #[snafu(display("failed to read {}", path.display()))]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no clouds.yaml.
    #[snafu(display("failed to understand {}", path.display()))]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_yaml_ng::Error,
    },
    /// The file has no such cloud.
    #[snafu(display("there is no cloud `{name}` in {}", path.display()))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that are there.
        known: Vec<String>,
        /// The file.
        path: PathBuf,
    },
    /// The CA or the client is unusable.
    #[snafu(display("failed to set up a client for the cloud"))]
    Client {
        /// Why.
        source: reqwest::Error,
    },
    /// Something that must be there to ask for it.
    #[snafu(display("failed to find {what} in the cloud: {why}"))]
    Missing {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
}

impl Explain for CloudError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } | Self::Parse { .. } | Self::Unknown { .. } => Kind::Input,
            Self::Client { .. } | Self::Missing { .. } => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => Some("`oaas credentials > clouds.yaml` writes one".to_owned()),
            Self::Unknown { name, known, .. } => {
                oaas_feedback::nearest(name, known).map(|near| format!("did you mean `{near}`?"))
            }
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct Clouds {
    clouds: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Login,
    cacert: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Login {
    auth_url: String,
    username: String,
    password: String,
    project_name: String,
    #[serde(default = "default_domain")]
    user_domain_name: String,
    #[serde(default = "default_domain")]
    project_domain_name: String,
}

fn default_domain() -> String {
    "Default".to_owned()
}

/// One user on one cloud.
pub struct Cloud {
    http: Client,
    login: Value,
    keystone: String,
    endpoints: BTreeMap<String, String>,
    token: String,
    server: String,
}

impl Cloud {
    /// Reads clouds.yaml, logs in, and finds the APIs and a server that runs.
    pub async fn open(path: &Path, name: &str) -> Result<Self, CloudError> {
        let text = std::fs::read_to_string(path).context(ReadSnafu { path })?;
        let mut all: Clouds = serde_yaml_ng::from_str(&text).context(ParseSnafu { path })?;
        let entry = all.clouds.remove(name);
        let known = all.clouds.into_keys().collect::<Vec<_>>();
        let Entry { auth, cacert } = entry.context(UnknownSnafu { name, known, path })?;
        // Only fails where somebody has chosen a provider before, and theirs is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = Client::builder()
            .no_proxy()
            .connect_timeout(ANSWER)
            .timeout(ANSWER)
            // A connection for every request, as a user who comes anew.
            .pool_max_idle_per_host(0);
        if let Some(path) = &cacert {
            let pem = std::fs::read(path).context(ReadSnafu { path })?;
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(&pem).context(ClientSnafu)?);
        }
        let login = json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": {
                "name": auth.username, "domain": { "name": auth.user_domain_name }, "password": auth.password } } },
            "scope": { "project": { "name": auth.project_name, "domain": { "name": auth.project_domain_name } } },
        } });
        let mut cloud = Self {
            http: builder.build().context(ClientSnafu)?,
            login,
            keystone: auth.auth_url.trim_end_matches('/').trim_end_matches("/v3").to_owned(),
            endpoints: BTreeMap::new(),
            token: String::new(),
            server: String::new(),
        };
        let (token, body) =
            cloud.log_in().await.map_err(|why| CloudError::Missing { what: "a token", why })?;
        cloud.token = token;
        for service in body["token"]["catalog"].as_array().into_iter().flatten() {
            let public = service["endpoints"].as_array().into_iter().flatten();
            let url = public.filter(|end| end["interface"] == "public").find_map(|end| end["url"].as_str());
            if let (Some(kind), Some(url)) = (service["type"].as_str(), url) {
                cloud.endpoints.insert(kind.to_owned(), url.trim_end_matches('/').to_owned());
            }
        }
        let servers = cloud
            .call(Method::GET, "compute", "/servers/detail?status=ACTIVE", None)
            .await
            .map_err(|why| CloudError::Missing { what: "its servers", why })?;
        let server = servers["servers"][0]["id"].as_str();
        let server = server.context(MissingSnafu { what: "a server that runs", why: "none is ACTIVE" })?;
        Ok(Self { server: server.to_owned(), ..cloud })
    }

    /// The services that have a public endpoint.
    pub fn services(&self) -> Vec<String> {
        self.endpoints.keys().cloned().collect()
    }

    /// A new token, without touching the one that is kept.
    pub async fn new_token(&self) -> Result<(), String> {
        self.log_in().await.map(|_| ())
    }

    /// What an API says of itself to anybody.
    pub async fn greet(&self, service: &str) -> Result<(), String> {
        // Up to the service's own prefix: what follows belongs to a version.
        let url = self.endpoints.get(service).map(String::as_str).unwrap_or_default();
        let version =
            |last: &str| last.starts_with('v') && last[1..].starts_with(|c: char| c.is_ascii_digit());
        let root = url.rsplit_once('/').filter(|(_, last)| version(last)).map_or(url, |(root, _)| root);
        let request = self.http.get(format!("{root}/"));
        answer(request).await.map(|_| ())
    }

    /// The project's networks.
    pub async fn list(&self) -> Result<(), String> {
        self.call(Method::GET, "network", "/v2.0/networks", None).await.map(|_| ())
    }

    /// A new image record without data; its id.
    pub async fn write(&self, name: &str) -> Result<String, String> {
        let image = json!({ "name": name, "container_format": "bare", "disk_format": "raw", "tags": ["oaas-traffic"] });
        let made = self.call(Method::POST, "image", "/v2/images", Some(image)).await?;
        made["id"].as_str().map(ToOwned::to_owned).ok_or_else(|| "an image without id".to_owned())
    }

    /// Whether an image record is there.
    pub async fn is_there(&self, image: &str) -> Result<(), String> {
        self.call(Method::GET, "image", &format!("/v2/images/{image}"), None).await.map(|_| ())
    }

    /// Deletes an image record.
    pub async fn delete(&self, image: &str) -> Result<(), String> {
        self.call(Method::DELETE, "image", &format!("/v2/images/{image}"), None).await.map(|_| ())
    }

    /// The last line of a server's console: from nova-compute, over the message bus.
    pub async fn compute(&self) -> Result<(), String> {
        let path = format!("/servers/{}/action", self.server);
        let body = json!({ "os-getConsoleOutput": { "length": 1 } });
        self.call(Method::POST, "compute", &path, Some(body)).await.map(|_| ())
    }

    async fn log_in(&self) -> Result<(String, Value), String> {
        let request = self.http.post(format!("{}/v3/auth/tokens", self.keystone)).json(&self.login);
        let response = request.send().await.map_err(|error| told(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(|error| told(&error))?;
        let token = headers.get("x-subject-token").and_then(|token| token.to_str().ok());
        match token {
            Some(token) if status.is_success() => {
                Ok((token.to_owned(), serde_json::from_slice(&body).unwrap_or_default()))
            }
            _ => Err(format!("{status}")),
        }
    }

    async fn call(
        &self,
        method: Method,
        service: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, String> {
        let root = self.endpoints.get(service).ok_or_else(|| format!("no public endpoint of `{service}`"))?;
        let mut request =
            self.http.request(method, format!("{root}{path}")).header("x-auth-token", &self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }
}

/// Sends once. A success is an answer below 400, whole.
async fn answer(request: reqwest::RequestBuilder) -> Result<Value, String> {
    let response = request.send().await.map_err(|error| told(&error))?;
    let status = response.status();
    let body = response.bytes().await.map_err(|error| told(&error))?;
    if status.is_success() || status.is_redirection() {
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    } else {
        let text: String = String::from_utf8_lossy(&body).chars().take(120).collect();
        Err(format!("{status}: {}", text.split_whitespace().collect::<Vec<_>>().join(" ")))
    }
}

/// The innermost cause, without the address: equal failures are counted together.
fn told(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer in {} s", ANSWER.as_secs());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
