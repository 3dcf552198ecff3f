//! Rabbitmq (under construction in this very branch: the real role follows).
use crate::config::Rabbitmq;
use crate::context::{Context, Outcome, Role};
use crate::error::Failure;

impl Role for Rabbitmq {
    async fn run(&self, _: &Context) -> Result<Outcome, Failure> {
        Ok(Outcome::Exit(1))
    }
}
