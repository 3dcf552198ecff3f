//! `oaas down`: takes the embedded cluster with its clouds away, and restores the machine.

use clap::Args;
use oaas_feedback::Task;
use oaas_node::{Change, Files};
use serde::Serialize;

use crate::context::Context;
use crate::host;
use crate::report::Failure;

/// Arguments of `oaas down`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Keep volumes, keys and etcd's data; the next `oaas up` goes on with them
    #[arg(long)]
    pub keep_data: bool,
}

/// What was taken away.
#[derive(Debug, Serialize)]
struct Removed {
    instance: String,
    removed: Vec<Change>,
}

/// Take it down and say what was removed.
pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let options = host::options(&context.global, "down")?;
    let files = if arguments.keep_data { Files::Keep } else { Files::Remove };
    let progress = context.progress(None);
    let task = Task::root(progress.sink(), format!("down {}", options.instance));
    let removed = task.end_with(oaas_node::down(&options, files, &task).await);
    progress.finish()?;
    let removed = Removed { instance: options.instance.to_string(), removed: removed? };
    context.answer(&removed, text)
}

fn text(removed: &Removed) -> String {
    if removed.removed.is_empty() {
        return format!("there was nothing of `{}` on this machine\n", removed.instance);
    }
    removed.removed.iter().map(|change| format!("removed {change}\n")).collect()
}
