//! How long what a cloud signs is valid.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The certificates of a cloud. Each is made anew when two thirds of its life are over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificates {
    /// How long the certificate of a component is valid, such as `90d`. Default: `825d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// How long the cloud's certificate authority is valid. Default: `3650d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_duration: Option<Span>,
}

impl Certificates {
    /// How long the certificate of a component is valid: 825 days, as long as browsers accept, unless it is written.
    pub fn duration(&self) -> Duration {
        self.duration.as_ref().and_then(Span::duration).unwrap_or(Duration::from_hours(24 * 825))
    }

    /// How long the authority is valid: ten years, unless it is written.
    pub fn ca_duration(&self) -> Duration {
        self.ca_duration.as_ref().and_then(Span::duration).unwrap_or(Duration::from_hours(24 * 3650))
    }
}

/// A length of time: a whole number and one of `s`, `m`, `h`, `d`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub String);

impl Span {
    /// Seconds of a day.
    const DAY: u64 = 24 * 60 * 60;

    /// The time; nothing where it is not written as one.
    pub fn duration(&self) -> Option<Duration> {
        let at = self.0.len().checked_sub(1).filter(|at| self.0.is_char_boundary(*at))?;
        let (number, unit) = self.0.split_at(at);
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => Self::DAY,
            _ => return None,
        };
        // A hundred years are longer than anything signed should last, and far from what a date can hold.
        let number: u64 = number.parse().ok()?;
        number.checked_mul(seconds).filter(|all| *all <= 36_500 * Self::DAY).map(Duration::from_secs)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]{1,9}[smhd]$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        let seconds = |text: &str| Span(text.into()).duration().map(|span| span.as_secs());
        assert_eq!(seconds("120s"), Some(120));
        assert_eq!(seconds("2m"), Some(120));
        assert_eq!(seconds("1h"), Some(3600));
        assert_eq!(seconds("90d"), Some(90 * 86400));
        for wrong in ["", "d", "1", "1w", "-1s", "1.5h", "36501d", "99999999999999999999s", "1µ"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
        assert_eq!(Certificates::default().duration().as_secs(), 825 * 86400);
    }
}
