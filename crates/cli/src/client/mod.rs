//! Running OpenStack's client in its pod as if it ran here.
//!
//! # Flow
//! [`files`] finds what of the caller's files the arguments name, [`stdin`] whether the client reads what is given to it;
//! both are pure. [`script`] writes what the pod's shell does: take in the files, wait for room, run the client, hand
//! back files and exit code. [`exchange`] runs that, passing data both ways.
//!
//! # Guarantees
//! Nothing is read from the caller's stdin unless the client reads it. The end of the client is the end of the command: the
//! pod's shell tells it in band, so neither an open stdin nor data still on its way can hold it up. A file that the
//! client writes appears whole or not at all.

pub mod exchange;
pub mod files;
pub mod script;
pub mod stdin;
