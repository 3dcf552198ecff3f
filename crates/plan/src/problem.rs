//! What is wrong with a resource.

use oaas_feedback::nearest;

/// One mistake in a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `spec.services.nova.config.DEFAULT.debgu`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// The nearest right thing, or what to do.
    pub hint: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.path, self.message)?;
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
        self.0.push(Problem { path: path.into(), message: message.into(), hint: hint.into() });
    }
}

/// `did you mean X?`, or the list of what there is.
pub(crate) fn suggestion<'a>(name: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(name, candidates.clone()) {
        Some(candidate) => format!("did you mean {candidate}?"),
        None => format!("there are: {}", candidates.collect::<Vec<_>>().join(", ")),
    }
}
