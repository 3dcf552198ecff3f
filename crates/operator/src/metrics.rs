//! What the operator counts, for Prometheus. Labels are bounded: kinds and outcomes, never names of clouds.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Labels of a write.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WriteLabels {
    /// Kind of object.
    pub kind: String,
    /// `apply`, `scale`, `create`, `delete`, `status`, `ledger`.
    pub verb: &'static str,
    /// `ok` or `failed`.
    pub result: &'static str,
}

/// Labels of a reconciliation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabels {
    /// `ok` or `failed`.
    pub result: &'static str,
}

/// Labels of a count of clouds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PhaseLabels {
    /// Phase of the cloud.
    pub phase: String,
}

/// Every metric of the operator.
#[derive(Debug)]
pub struct Metrics {
    /// Requests that changed something.
    pub writes: Family<WriteLabels, Counter>,
    /// Objects that were as desired already.
    pub unchanged: Counter,
    /// Reconciliations.
    pub reconciles: Family<ResultLabels, Counter>,
    /// Seconds that reconciliations took.
    pub seconds: Histogram,
    /// Actions that ended.
    pub actions: Family<ResultLabels, Counter>,
    /// 1 while this operator is the leader.
    pub leader: Gauge,
    /// Clouds by phase.
    pub clouds: Family<PhaseLabels, Gauge<i64, std::sync::atomic::AtomicI64>>,
    /// Seconds since 1970 of the last sign of life of the loop.
    pub heartbeat: Gauge<u64, AtomicU64>,
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("oaas");
        let writes = Family::default();
        let unchanged = Counter::default();
        let reconciles = Family::default();
        let seconds = Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]);
        let actions = Family::default();
        let leader = Gauge::default();
        let clouds = Family::default();
        let heartbeat = Gauge::default();
        registry.register("writes", "Requests that changed something", writes.clone());
        registry.register("unchanged", "Objects that were as desired already", unchanged.clone());
        registry.register("reconciles", "Reconciliations", reconciles.clone());
        registry.register("reconcile_seconds", "Seconds that reconciliations took", seconds.clone());
        registry.register("actions", "Actions that ended", actions.clone());
        registry.register("leader", "1 while this operator is the leader", leader.clone());
        registry.register("clouds", "Clouds by phase", clouds.clone());
        registry.register("heartbeat_timestamp_seconds", "Last sign of life of the loop", heartbeat.clone());
        Self { writes, unchanged, reconciles, seconds, actions, leader, clouds, heartbeat, registry }
    }
}

impl Metrics {
    /// Counts one write.
    pub fn wrote(&self, kind: &str, verb: &'static str, ok: bool) {
        let result = if ok { "ok" } else { "failed" };
        self.writes.get_or_create(&WriteLabels { kind: kind.to_owned(), verb, result }).inc();
    }

    /// All writes so far, whatever their kind and outcome.
    pub fn total_writes(&self) -> u64 {
        let text = self.text();
        let counts = text.lines().filter(|line| line.starts_with("oaas_writes_total{"));
        counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    /// Everything in the text format of `OpenMetrics`.
    pub fn text(&self) -> String {
        let mut out = String::new();
        if let Err(error) = prometheus_client::encoding::text::encode(&mut out, &self.registry) {
            // Encoding into a String fails only when a metric's own encoder does; the scrape then says so.
            out.clear();
            write!(out, "# failed to encode the metrics: {error}\n# EOF\n").unwrap_or_default();
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn writes_are_counted_by_kind_verb_and_result() {
        let metrics = Metrics::default();
        metrics.wrote("Secret", "create", true);
        metrics.wrote("Secret", "create", true);
        metrics.wrote("Deployment", "apply", false);
        assert_eq!(metrics.total_writes(), 3);
        let text = metrics.text();
        assert!(
            text.contains("oaas_writes_total{kind=\"Secret\",verb=\"create\",result=\"ok\"} 2"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"));
    }
}
