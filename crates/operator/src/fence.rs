//! The right to write: held while the lease is, and over by itself when the lease is not renewed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use oaas_feedback::{Explain, Kind};
use snafu::Snafu;

/// Nothing may be written: another operator may be the leader by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Snafu)]
#[snafu(display("failed to write: this operator does not hold the lease (any more)"))]
pub struct NotLeader;

impl Explain for NotLeader {
    fn kind(&self) -> Kind {
        Kind::Busy
    }

    fn hint(&self) -> Option<String> {
        Some("the operator that holds it does the work".to_owned())
    }
}

/// The right to write, shared by everything that writes. Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Fence(Arc<Mutex<State>>);

#[derive(Debug, Clone, Copy)]
enum State {
    Closed,
    OpenUntil(Instant),
    Open,
}

impl Fence {
    /// Closed until [`Fence::open_for`].
    pub fn closed() -> Self {
        Self(Arc::new(Mutex::new(State::Closed)))
    }

    /// Always open: for one-time work such as installing, and for tests.
    pub fn open() -> Self {
        Self(Arc::new(Mutex::new(State::Open)))
    }

    /// Opens for so long, counted from `from`: the moment before the lease was asked for.
    pub fn open_for(&self, from: Instant, lasts: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::OpenUntil(from + lasts);
    }

    /// Closes at once.
    pub fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::Closed;
    }

    /// Whether writing is allowed now.
    pub fn check(&self) -> Result<(), NotLeader> {
        self.check_at(Instant::now())
    }

    fn check_at(&self, now: Instant) -> Result<(), NotLeader> {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Open => Ok(()),
            State::OpenUntil(end) if now < end => Ok(()),
            State::OpenUntil(_) | State::Closed => Err(NotLeader),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_closes_by_itself() {
        let fence = Fence::closed();
        let now = Instant::now();
        assert_eq!(fence.check_at(now), Err(NotLeader));
        fence.open_for(now, Duration::from_secs(10));
        assert_eq!(fence.check_at(now + Duration::from_secs(9)), Ok(()));
        assert_eq!(fence.check_at(now + Duration::from_secs(10)), Err(NotLeader));
        fence.open_for(now, Duration::from_secs(20));
        assert_eq!(fence.clone().check_at(now + Duration::from_secs(19)), Ok(()));
        fence.close();
        assert_eq!(fence.check_at(now), Err(NotLeader));
    }
}
