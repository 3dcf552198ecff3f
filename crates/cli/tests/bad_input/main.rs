//! What people are told, and what `oaas` exits with, when something is wrong: the real program on machines, with caches
//! and against servers that really are so. What is wrong with a resource or with arguments is in `tests/cases`.
//!
//! Run as root: machines are made of namespaces, which end with the test.

mod cache;
mod cluster;
mod machine;
mod program;
mod servers;
