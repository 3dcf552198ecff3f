//! Any process: prepared, started, and left to its checks.

use crate::context::{Context, Outcome, Role};
use crate::error::Failure;
use crate::prepare::prepare;
use oaas_agent_config::Process;

impl Role for Process {
    async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        prepare(&self.pre, context).await?;
        let name =
            self.program.command.first().map_or("program", |path| path.rsplit('/').next().unwrap_or(path));
        context.start(name, &self.program)?;
        context.running();
        Ok(Outcome::Supervise)
    }
}
