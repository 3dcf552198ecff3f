//! Keeping declared things in place: the parts that every kind of thing shares.
//!
//! [`decide()`] is the judgement, a pure function of one [`Item`] and what was seen of it. [`apply()`] is the rest: it
//! looks, asks, and does.

mod decide;
mod item;
mod key;
mod order;
mod report;
pub mod template;

#[cfg(feature = "client")]
mod api;
#[cfg(feature = "client")]
mod apply;
#[cfg(feature = "client")]
mod pages;

pub(crate) use decide::CHECKSUM_PROPERTY;
pub use decide::{Action, Decision, Verdict, decide, is_ours};
pub use item::{
    Absent, Actor, Call, CallTemplate, Checksum, Correction, Fixed, Gate, ImageSource, Item, Judge, Look,
    Method, Place, Shape, Step, id_of,
};
pub use key::{Ids, Key, Kind};
pub use order::{OrderError, order};
pub use report::{Outcome, Report, State};
pub use template::{Fields, Piece, Template, fields};

#[cfg(feature = "client")]
pub use api::{Api, list};
#[cfg(feature = "client")]
pub use apply::{Options, apply};
