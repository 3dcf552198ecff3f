//! Probes and metrics: `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use jiff::Timestamp;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// How often the runtime shows that it is alive.
const BEAT: Duration = Duration::from_secs(5);
/// Without a sign of life for so long, something blocks the runtime, and a restart helps.
const DEAD: u64 = 60;

/// What the probes answer from.
#[derive(Debug, Clone)]
pub struct State {
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
}

impl State {
    /// Alive, not ready yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, ready: Arc::new(AtomicBool::new(false)) }
    }

    /// Every watch has listed: it can lead, or take over at once.
    pub fn ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }
}

/// Shows that the runtime is alive, for ever.
pub async fn heartbeat(metrics: Arc<Metrics>) {
    loop {
        metrics.heartbeat.set(seconds());
        tokio::time::sleep(BEAT).await;
    }
}

fn seconds() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or(0)
}

/// The three pages.
pub fn router(state: State) -> Router {
    let (alive, ready) = (state.clone(), state.clone());
    Router::new()
        .route(
            "/healthz",
            get(move || async move {
                let silent = seconds().saturating_sub(alive.metrics.heartbeat.get());
                if silent < DEAD {
                    (StatusCode::OK, "ok\n".to_owned())
                } else {
                    (StatusCode::SERVICE_UNAVAILABLE, format!("no sign of life for {silent} s\n"))
                }
            }),
        )
        .route(
            "/readyz",
            get(move || async move {
                if ready.ready.load(Ordering::Relaxed) {
                    (StatusCode::OK, "ok\n")
                } else {
                    (StatusCode::SERVICE_UNAVAILABLE, "waiting for the first lists\n")
                }
            }),
        )
        .route(
            "/metrics",
            get(move || async move {
                let text = state.metrics.text();
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                ([(header::CONTENT_TYPE, kind)], text).into_response()
            }),
        )
}

/// Serves the pages until the operator ends.
pub async fn serve(listener: TcpListener, state: State) {
    if let Err(error) = axum::serve(listener, router(state)).await {
        tracing::error!(%error, "probes and metrics are not served any more");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn probes_say_what_is_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::default());
        let state = State::new(Arc::clone(&metrics));
        let server = tokio::spawn(serve(listener, state.clone()));

        let dead = get(address, "/healthz").await;
        assert!(dead.starts_with("HTTP/1.1 503") && dead.contains("no sign of life"), "{dead}");
        metrics.heartbeat.set(seconds());
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        state.ready();
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        metrics.wrote("Secret", "create", true);
        let text = get(address, "/metrics").await;
        assert!(text.contains("application/openmetrics-text"), "{text}");
        assert!(text.contains("oaas_writes_total{kind=\"Secret\""), "{text}");
        server.abort();
    }
}
