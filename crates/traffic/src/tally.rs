//! What came of the requests of one kind: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// Counts and gaps of one kind of request. Times are since the traffic began.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Tally {
    /// How many were sent and have ended.
    pub sent: u64,
    /// How many of these failed: no answer in time, or one that is no success.
    pub failed: u64,
    /// The longest time without a success, in seconds: between two that were answered one after the other, and at both ends of the run.
    pub longest_gap: f64,
    /// The slowest success, in seconds.
    pub slowest: f64,
    /// What went wrong, and how often.
    pub failures: BTreeMap<String, u64>,
    #[serde(skip)]
    last_success: Duration,
}

impl Tally {
    /// A request that was sent at `sent` and succeeded at `answered`.
    pub fn success(&mut self, sent: Duration, answered: Duration) {
        self.sent += 1;
        self.slowest = self.slowest.max(answered.saturating_sub(sent).as_secs_f64());
        self.up_to(answered);
        self.last_success = self.last_success.max(answered);
    }

    /// A request that failed, and why.
    pub fn failure(&mut self, why: &str) {
        self.sent += 1;
        self.failed += 1;
        *self.failures.entry(why.to_owned()).or_default() += 1;
    }

    /// The traffic ends: the time since the last success counts as well.
    pub fn end(&mut self, now: Duration) {
        self.up_to(now);
    }

    fn up_to(&mut self, now: Duration) {
        self.longest_gap = self.longest_gap.max(now.saturating_sub(self.last_success).as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_longest_time_without_a_success_is_the_gap() {
        let mut tally = Tally::default();
        tally.success(at(0), at(100));
        tally.failure("503");
        tally.failure("503");
        tally.success(at(3000), at(3100));
        // An older request that is answered late takes nothing back.
        tally.success(at(200), at(3000));
        tally.success(at(3200), at(3250));
        tally.end(at(3500));
        assert!((tally.longest_gap - 3.0).abs() < 1e-9, "{tally:?}");
        assert!((tally.slowest - 2.8).abs() < 1e-9, "{tally:?}");
        assert_eq!((tally.sent, tally.failed), (6, 2));
        assert_eq!(tally.failures, BTreeMap::from([("503".to_owned(), 2)]));
    }

    #[test]
    fn a_gap_that_does_not_end_counts() {
        let mut tally = Tally::default();
        tally.success(at(0), at(100));
        tally.failure("no answer");
        tally.end(at(9100));
        assert!((tally.longest_gap - 9.0).abs() < 1e-9, "{tally:?}");
        let mut never = Tally::default();
        never.end(at(4000));
        assert!((never.longest_gap - 4.0).abs() < 1e-9);
    }
}
