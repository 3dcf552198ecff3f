//! One cloud: from what is observed to what is applied, acted and reported.

pub mod acting;
pub mod content;
pub mod facts;
pub mod generate;
