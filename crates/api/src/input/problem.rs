//! What is wrong in a user's file.

use std::fmt;

use oaas_feedback::brief;

use super::yaml::Place;

/// One thing that is wrong in a user's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, such as `spec.network.external[0].cidr`; empty for the whole document.
    pub path: String,
    /// Where it stands.
    pub place: Place,
    /// What is wrong.
    pub what: String,
    /// The nearest right name.
    pub nearest: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: ", self.place.line)?;
        if !self.path.is_empty() {
            write!(out, "{}: ", brief(&self.path))?;
        }
        out.write_str(&brief(&self.what))?;
        if let Some(nearest) = &self.nearest {
            write!(out, "; did you mean `{nearest}`?")?;
        }
        if let Some(hint) = &self.hint {
            write!(out, " ({hint})")?;
        }
        Ok(())
    }
}
