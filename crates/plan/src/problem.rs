//! What is wrong with a resource.

use oaas_api::Reason;
use oaas_feedback::{brief, nearest};

/// One mistake in a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `spec.services.nova.config.DEFAULT.debgu`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// The nearest right thing, or what to do.
    pub hint: Option<String>,
    /// Which sort of refusal it is: [`Reason::Invalid`], [`Reason::NotYet`], [`Reason::Conflict`] with another cloud, or
    /// [`Reason::NotSchedulable`] for want of room.
    pub reason: Reason,
}

impl Problem {
    /// The reason for all of `problems`: theirs where they have one and the same.
    pub fn reason_of(problems: &[Self]) -> Reason {
        let mut reasons = problems.iter().map(|problem| problem.reason);
        let first = reasons.next().unwrap_or(Reason::Invalid);
        if reasons.all(|reason| reason == first) { first } else { Reason::Invalid }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", brief(&self.path), brief(&self.message))?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(out, "; {hint}"))
    }
}

/// Mistakes as they are found.
#[derive(Default)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    pub(crate) fn add(
        &mut self,
        path: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.add_as(Reason::Invalid, path, message, hint);
    }

    /// A problem of another sort than a mistake.
    pub(crate) fn add_as(
        &mut self,
        reason: Reason,
        path: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.0.push(Problem { path: path.into(), message: message.into(), hint: hint.into(), reason });
    }
}

/// `did you mean X?`, or the list of what there is.
pub(crate) fn suggestion<'a>(name: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(name, candidates.clone()) {
        Some(candidate) => format!("did you mean {candidate}?"),
        None => format!("there are: {}", candidates.collect::<Vec<_>>().join(", ")),
    }
}
