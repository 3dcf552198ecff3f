//! Errors for people: which kind it is, and what to do next.

use std::error::Error;

/// What sort of failure an error is; decides the exit code of `oaas`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Something failed that was expected to work. Exit code 1.
    Failed,
    /// What the user wrote (arguments, a resource, a file) is wrong. Exit code 2.
    Input,
    /// The machine or cluster lacks something OaaS needs, or has something in the way. Exit code 3.
    Environment,
    /// Someone else is at it: a lock, a conflict, a second `up`. Exit code 4.
    Busy,
    /// What was asked for did not become ready in time. Exit code 5.
    NotReady,
    /// Data did not match the hash it is pinned to, or a cache entry is corrupt. Exit code 6.
    Integrity,
    /// The user interrupted. Exit code 130, as shells have it for SIGINT.
    Interrupted,
}

impl Kind {
    /// The process exit code for this kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Input => 2,
            Self::Environment => 3,
            Self::Busy => 4,
            Self::NotReady => 5,
            Self::Integrity => 6,
            Self::Interrupted => 130,
        }
    }
}

/// What an error says to people beyond its message.
///
/// The message (`Display`) says what is wrong and where, naming the object and not repeating its source; the
/// chain of sources follows through [`Error::source`]; the hint says the nearest right thing or what to do next.
pub trait Explain: Error + Send + Sync + 'static {
    /// Which sort of failure this is.
    fn kind(&self) -> Kind;
    /// One sentence on what to do next, where we know.
    fn hint(&self) -> Option<String> {
        None
    }
}
