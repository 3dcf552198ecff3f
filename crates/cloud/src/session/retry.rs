//! When a failed call is tried again, and after which pause.

use std::time::Duration;

use super::error::Error;

/// The rule of retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all.
    pub tries: u32,
    /// The first pause; each further is twice as long.
    pub first: Duration,
    /// The longest pause, also when the service asks for a longer one.
    pub longest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { tries: 4, first: Duration::from_millis(200), longest: Duration::from_secs(3) }
    }
}

impl Retry {
    /// The pause before the next try, or none to give up. `tried` counts the tries so far. What never reached the
    /// service is always tried again; what may have reached it only when sending it twice is the same as once.
    /// Time-outs are not tried again: the caller has waited long enough and should report.
    pub fn pause(&self, tried: u32, idempotent: bool, error: &Error) -> Option<Duration> {
        let again = match error {
            Error::Connect { .. } => true,
            Error::Broken { .. } | Error::Status { status: 502..=504, .. } => idempotent,
            _ => false,
        };
        if !again || tried >= self.tries {
            return None;
        }
        let grown = self.first.saturating_mul(2_u32.saturating_pow(tried.saturating_sub(1)));
        let asked = match error {
            Error::Status { retry_after, .. } => *retry_after,
            _ => None,
        };
        Some(asked.unwrap_or(grown).min(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Service;

    fn refusal(status: u16, retry_after: Option<Duration>) -> Error {
        Error::Status {
            service: Service::Compute,
            method: "GET",
            path: "/".to_owned(),
            status,
            message: String::new(),
            request_id: None,
            retry_after,
        }
    }

    #[test]
    fn pauses_double_and_end() {
        let retry = Retry::default();
        let pauses: Vec<_> = (1..=4).map(|tried| retry.pause(tried, true, &refusal(503, None))).collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(pauses, [ms(200), ms(400), ms(800), None]);
    }

    #[test]
    fn what_may_have_happened_is_not_repeated() {
        let retry = Retry::default();
        assert_eq!(retry.pause(1, false, &refusal(503, None)), None);
        assert_eq!(retry.pause(1, true, &refusal(500, None)), None);
        assert_eq!(retry.pause(1, true, &refusal(409, None)), None);
    }

    #[test]
    fn the_service_may_ask_for_a_pause_but_not_for_hours() {
        let retry = Retry::default();
        let asked = |seconds| retry.pause(1, true, &refusal(503, Some(Duration::from_secs(seconds))));
        assert_eq!(asked(1), Some(Duration::from_secs(1)));
        assert_eq!(asked(3600), Some(Duration::from_secs(3)));
    }
}
