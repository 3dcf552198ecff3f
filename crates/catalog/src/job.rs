//! A job: work of a service that ends.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use crate::pod::Pod;

/// Work of a service that ends. Without a schedule it is done once, by a Kubernetes Job that is named by all that it is made
/// from, and again when that changes; with one it is done again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The name.
    pub name: String,
    /// What it does, for people: `loads the schema of nova`.
    pub title: String,
    /// When it is done; once, where nothing is said.
    pub schedule: Option<Schedule>,
    /// Its pod.
    pub pod: Pod,
}

/// When a job is done, as cron and Kubernetes write it: minute, hour, day of the month, month, day of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(String);

impl Schedule {
    /// As Kubernetes takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Read one.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FIELDS: [(&str, u32, u32); 5] = [
            ("minute", 0, 59),
            ("hour", 0, 23),
            ("day of the month", 1, 31),
            ("month", 1, 12),
            ("day of the week", 0, 7),
        ];
        let parts: Vec<&str> = text.split_ascii_whitespace().collect();
        if parts.len() != FIELDS.len() {
            return Err(format!(
                "{text:?} is no schedule: five fields, such as \"30 3 * * *\" for half past three"
            ));
        }
        for (part, (name, least, most)) in parts.iter().zip(FIELDS) {
            for item in part.split(',') {
                let (range, step) =
                    item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
                let number = |text: &str| text.parse().ok().filter(|number| (least..=most).contains(number));
                let good = range == "*"
                    || match range.split_once('-') {
                        None => number(range).is_some(),
                        Some((from, to)) => {
                            matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to)
                        }
                    };
                if !good || step.is_some_and(|step| !step.parse::<u32>().is_ok_and(|step| step > 0)) {
                    return Err(format!("{item:?} is no {name}: {least} to {most}"));
                }
            }
        }
        Ok(Self(parts.join(" ")))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn schedules_are_those_of_cron() {
        for good in ["30 3 * * *", "*/15 * * * 1-5", "0 0,12 1 */2 *"] {
            assert!(Schedule::parse(good).is_ok(), "{good}");
        }
        for (bad, named) in [
            ("daily", "five fields"),
            ("60 3 * * *", "minute"),
            ("0 3 0 * *", "day of the month"),
            ("0 3 * * 5-1", "day of the week"),
            ("*/0 * * * *", "minute"),
        ] {
            assert!(Schedule::parse(bad).expect_err(bad).contains(named), "{bad}");
        }
    }
}
