//! The one member that takes the writes: chosen by the members themselves, told to Kubernetes by a label on its pod.
//!
//! # Guarantees
//! The writer stays the writer while it serves, also when the former one comes back. Two members may carry the label for
//! a moment, when they see different parts of a cluster; Galera certifies their writes against each other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use oaas_feedback::{Explain, Kind};
use reqwest::{Certificate, Client, header, redirect};
use serde_json::{Value, json};
use snafu::{ResultExt as _, Snafu, ensure};

use super::decide::Report;
use crate::tls;
use oaas_agent_config::WriterLabel;

/// How long the API server may take.
const LIMIT: Duration = Duration::from_secs(2);

/// A label could not be set.
#[derive(Debug, Snafu)]
pub enum Error {
    /// Not in a pod, or one without an identity.
    #[snafu(display("failed to find the API server: {what}"))]
    NoServer {
        /// What is missing.
        what: String,
    },
    /// The pod's identity cannot be read.
    #[snafu(display("failed to read {}", path.display()))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The API server's CA cannot be used.
    #[snafu(display("failed to trust the API server"))]
    Trust {
        /// Why.
        source: tls::Error,
    },
    /// No answer.
    #[snafu(display("failed to label pod {pod}"))]
    Request {
        /// The pod.
        pod: String,
        /// Why.
        source: reqwest::Error,
    },
    /// Refused.
    #[snafu(display("failed to label pod {pod}: the API server answered {status}: {said}"))]
    Refused {
        /// The pod.
        pod: String,
        /// The answer's status.
        status: u16,
        /// The answer.
        said: String,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NoServer { .. } | Self::Read { .. } | Self::Trust { .. } => Kind::Environment,
            Self::Request { .. } => Kind::NotReady,
            Self::Refused { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        matches!(self, Self::Refused { status: 401 | 403, .. })
            .then(|| "the pod's service account must be allowed to patch the members' pods".to_owned())
    }
}

/// The member that takes the writes, as `me` sees it; nobody where `me` itself does not serve, for who is cut off knows
/// nothing of the others.
pub fn choose<'a>(me: &str, order: &'a [String], reports: &BTreeMap<String, Report>) -> Option<&'a String> {
    let serves = |member: &str| {
        reports.get(member).is_some_and(|report| {
            let serving = report.serving.as_ref();
            !report.leaving && serving.is_some_and(|serving| serving.primary && serving.synced)
        })
    };
    if !serves(me) {
        return None;
    }
    let is_writer = |member: &&String| reports.get(*member).is_some_and(|report| report.writer);
    let mut serving = order.iter().filter(|member| serves(member));
    serving.clone().find(is_writer).or_else(|| serving.next())
}

/// The labels of the members' pods.
pub struct Labels {
    label: String,
    directory: PathBuf,
    server: Option<String>,
}

impl Labels {
    /// With the pod's own identity.
    pub fn new(config: &WriterLabel) -> Self {
        let server = config.server.clone().or_else(|| {
            let variable = |name: &str| std::env::var(format!("KUBERNETES_SERVICE_{name}")).ok();
            let host = variable("HOST")?;
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            Some(format!("https://{host}:{}", variable("PORT")?))
        });
        Self { label: config.label.clone(), directory: config.identity_directory.clone(), server }
    }

    /// Put the label on a pod, or take it off. One that is gone has none.
    pub async fn set(&self, pod: &str, on: bool) -> Result<(), Error> {
        let Some(server) = &self.server else {
            return NoServerSnafu { what: "KUBERNETES_SERVICE_HOST is not set" }.fail();
        };
        // The token is renewed while the pod runs.
        let (namespace, token) = (self.read("namespace")?, self.read("token")?);
        let url = format!("{server}/api/v1/namespaces/{namespace}/pods/{pod}");
        let value = if on { json!("true") } else { Value::Null };
        let patch = json!({ "metadata": { "labels": { &self.label: value } } });
        let response = self
            .client()?
            .patch(url)
            .bearer_auth(token)
            .header(header::CONTENT_TYPE, "application/merge-patch+json")
            .body(patch.to_string())
            .send()
            .await
            .context(RequestSnafu { pod })?;
        let status = response.status().as_u16();
        let gone = status == 404 && !on;
        if !gone && !(200..300).contains(&status) {
            let body = response.text().await.unwrap_or_default();
            let said = serde_json::from_str::<Value>(&body)
                .ok()
                .and_then(|answer| Some(answer["message"].as_str()?.to_owned()))
                .unwrap_or(body);
            return RefusedSnafu { pod, status, said }.fail();
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<String, Error> {
        let path = self.directory.join(name);
        let text = std::fs::read_to_string(&path).context(ReadSnafu { path: &path })?;
        ensure!(!text.trim().is_empty(), NoServerSnafu { what: format!("{} is empty", path.display()) });
        Ok(text.trim().to_owned())
    }

    fn client(&self) -> Result<Client, Error> {
        let ca = tls::read_ca(&self.directory.join("ca.crt")).context(TrustSnafu)?;
        let request = || RequestSnafu { pod: "(none)" };
        let certificates: Result<Vec<Certificate>, _> =
            ca.iter().map(|certificate| Certificate::from_der(certificate)).collect();
        Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .timeout(LIMIT)
            .user_agent("oaas-agent")
            .tls_certs_only(certificates.context(request())?)
            .build()
            .context(request())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::extract::{Path, State};
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::patch;
    use proptest::prelude::*;

    use super::super::decide::Serving;
    use super::*;

    const ORDER: [&str; 3] = ["galera-0.x", "galera-1.x", "galera-2.x"];

    fn order() -> Vec<String> {
        ORDER.map(str::to_owned).to_vec()
    }

    fn report(synced: bool, writer: bool) -> Report {
        let serving = Serving {
            connected: true,
            primary: synced,
            synced,
            position: None,
            members: std::collections::BTreeSet::new(),
        };
        Report { serving: Some(serving), writer, ..Report::default() }
    }

    fn reports(all: &[(usize, Report)]) -> BTreeMap<String, Report> {
        all.iter().map(|(number, report)| (ORDER[*number].to_owned(), report.clone())).collect()
    }

    fn chosen(me: usize, all: &[(usize, Report)]) -> Option<String> {
        choose(ORDER[me], &order(), &reports(all)).cloned()
    }

    #[test]
    fn the_first_that_serves_takes_the_writes() {
        let all = [(0, report(true, false)), (1, report(true, false)), (2, report(true, false))];
        for me in 0..3 {
            assert_eq!(chosen(me, &all).as_deref(), Some(ORDER[0]));
        }
    }

    #[test]
    fn who_comes_back_leaves_it_to_the_one_that_has_it() {
        let all = [(0, report(true, false)), (1, report(true, true)), (2, report(true, false))];
        for me in 0..3 {
            assert_eq!(chosen(me, &all).as_deref(), Some(ORDER[1]));
        }
    }

    #[test]
    fn a_writer_that_is_silent_behind_or_leaving_is_followed_by_another() {
        assert_eq!(
            chosen(1, &[(1, report(true, false)), (2, report(true, false))]).as_deref(),
            Some(ORDER[1])
        );
        let behind = [(0, report(false, true)), (1, report(true, false))];
        assert_eq!(chosen(1, &behind).as_deref(), Some(ORDER[1]));
        let leaving = Report { leaving: true, ..report(true, true) };
        assert_eq!(chosen(1, &[(0, leaving), (1, report(true, false))]).as_deref(), Some(ORDER[1]));
    }

    #[test]
    fn who_does_not_serve_has_no_say() {
        assert_eq!(chosen(0, &[(0, report(false, true)), (1, report(true, false))]), None);
    }

    proptest! {
        /// Those that see the same agree, and whom they choose serves.
        #[test]
        fn members_that_see_the_same_agree(all in prop::collection::vec((any::<bool>(), any::<bool>()), 3)) {
            let all: Vec<(usize, Report)> =
                all.into_iter().map(|(synced, writer)| report(synced, writer)).enumerate().collect();
            let choices: std::collections::BTreeSet<String> =
                (0..3).filter_map(|me| chosen(me, &all)).collect();
            prop_assert!(choices.len() <= 1);
            for choice in &choices {
                let number = ORDER.iter().position(|name| name == choice).unwrap();
                prop_assert!(all[number].1.serving.as_ref().unwrap().synced);
            }
            prop_assert_eq!(choices.is_empty(), all.iter().all(|(_, one)| !one.serving.as_ref().unwrap().synced));
        }
    }

    type Seen = Arc<Mutex<Vec<String>>>;

    async fn take(
        Path(pod): Path<String>,
        State(seen): State<Seen>,
        headers: HeaderMap,
        body: String,
    ) -> (StatusCode, &'static str) {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        let line = format!("{pod} {} {} {body}", header("authorization"), header("content-type"));
        seen.lock().unwrap().push(line);
        match pod.as_str() {
            "gone" => (StatusCode::NOT_FOUND, "{}"),
            "foreign" => (StatusCode::FORBIDDEN, r#"{"message": "you may not"}"#),
            _ => (StatusCode::OK, "{}"),
        }
    }

    #[tokio::test]
    async fn the_label_is_patched_with_the_pods_identity() {
        tls::install_provider();
        let seen = Seen::default();
        let app = Router::new()
            .route("/api/v1/namespaces/demo/pods/{pod}", patch(take))
            .with_state(Arc::clone(&seen));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let identity = tempfile::tempdir().unwrap();
        let key = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
        for (name, text) in [("namespace", "demo"), ("token", "abc\n"), ("ca.crt", &key.cert.pem())] {
            std::fs::write(identity.path().join(name), text).unwrap();
        }
        let labels = Labels::new(&WriterLabel {
            label: "oaas.dev/writer".into(),
            identity_directory: identity.path().into(),
            server: Some(server),
        });
        labels.set("galera-0", true).await.unwrap();
        labels.set("gone", false).await.unwrap();
        assert!(matches!(labels.set("gone", true).await, Err(Error::Refused { status: 404, .. })));
        let error = labels.set("foreign", false).await.unwrap_err();
        assert!(error.to_string().ends_with("answered 403: you may not"), "{error}");
        assert!(error.hint().is_some());
        let seen = seen.lock().unwrap();
        assert_eq!(
            seen[0],
            r#"galera-0 Bearer abc application/merge-patch+json {"metadata":{"labels":{"oaas.dev/writer":"true"}}}"#
        );
        assert!(seen[1].ends_with(r#"{"metadata":{"labels":{"oaas.dev/writer":null}}}"#), "{}", seen[1]);
    }
}
