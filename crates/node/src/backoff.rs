//! How long to wait before a crashed process is started again.

use std::time::Duration;

/// The wait after the first crash.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);
/// A process that ran this long is taken to have worked, so that the next crash counts as a first one.
const WORKED: Duration = Duration::from_mins(1);

/// What is known of a process's crashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    crashes: u32,
}

impl Backoff {
    /// It ended after running this long; how long to wait before the next start.
    pub fn ended_after(&mut self, ran: Duration) -> Duration {
        if ran >= WORKED {
            self.crashes = 0;
        }
        let wait = FIRST.saturating_mul(1 << self.crashes.min(16)).min(LONGEST);
        self.crashes += 1;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_anew_after_it_worked() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> =
            (0..9).map(|_| backoff.ended_after(Duration::from_secs(1)).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.ended_after(WORKED), FIRST);
        assert_eq!(backoff.ended_after(Duration::ZERO), FIRST * 2);
    }
}
