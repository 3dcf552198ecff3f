//! The operator against a real API server (tier 2). Needs `OAAS_TEST_KUBE`; fails without it.

mod brain;
mod cluster;
mod definitions;
mod engine;
mod leaders;
mod rolls;

use std::time::{Duration, Instant};

/// Waits until `probe` gives something, at most `seconds`; panics with `what` when it does not.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    seconds: u64,
    mut probe: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {seconds} s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
