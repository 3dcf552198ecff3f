//! One cloud: from what is observed to what is applied, acted and reported.

pub mod acting;
pub mod brain;
pub mod certificates;
pub mod content;
pub mod counts;
pub mod credentials;
pub mod decide;
pub mod facts;
pub mod generate;
pub mod known;
pub mod memo;
pub mod rolls;
pub mod status;

pub use brain::CloudBrain;
