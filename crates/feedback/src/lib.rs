//! What people see of OaaS at work: progress of long steps and errors that explain themselves.
//!
//! Two small contracts that every crate which does I/O shares, so that the command line can draw one tree of
//! everything and turn every error into a message, a hint and an exit code:
//!
//! - [`Task`]: a handle on one line of the progress tree; it sends [`Event`]s to a [`Sink`].
//! - [`Explain`]: what an error adds for people: its [`Kind`] (the exit code) and a hint; [`nearest`] finds the right name
//!   for hints; [`brief`] cuts foreign text in messages to what a screen shows.

mod brief;
mod explain;
mod nearest;
mod task;

pub use brief::{brief, within};
pub use explain::{Explain, Kind};
pub use nearest::nearest;
pub use task::{Event, Null, Outcome, Sink, Task, TaskId};
