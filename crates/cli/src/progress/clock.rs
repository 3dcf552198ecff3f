//! Time, passed in.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Where sinks take the time from, so that tests can pass one in.
pub trait Clock: Send + Sync {
    /// Time since the command began.
    fn elapsed(&self) -> Duration;
    /// The time of day when the command began.
    fn began(&self) -> Timestamp;

    /// The time of day.
    fn now(&self) -> Timestamp {
        // `elapsed` of one command is far from the end of jiff's range, so the addition does not saturate.
        jiff::SignedDuration::try_from(self.elapsed())
            .ok()
            .and_then(|elapsed| self.began().checked_add(elapsed).ok())
            .unwrap_or(Timestamp::MAX)
    }
}

/// The machine's clock: monotonic since the command began.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    began: Timestamp,
}

impl SystemClock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self { start: Instant::now(), began: Timestamp::now() }
    }
}

impl Clock for SystemClock {
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn began(&self) -> Timestamp {
        self.began
    }
}
