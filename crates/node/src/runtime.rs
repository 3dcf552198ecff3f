//! What is done in a running node from outside.

use std::path::PathBuf;

use oaas_feedback::Task;
use serde::Deserialize;
use snafu::OptionExt;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::command::CommandError;
use crate::config::CONTAINERD;
use crate::error::{Error, NotRunningSnafu};
use crate::host;
use crate::instance::Node;
use crate::options::Options;
use crate::process::Process;

/// One line of what `kube cri pull` says.
#[derive(Deserialize)]
struct Pulled {
    image: String,
    pulled: bool,
}

/// Pull images into a node's store, through its container runtime and from the cluster's own registry, so that pods
/// that use them start at once. Those that are there already are left. Returns how many were pulled.
pub async fn prefetch(options: &Options, node: Node, images: &[String], task: &Task) -> Result<usize, Error> {
    if images.is_empty() {
        task.unchanged();
        return Ok(0);
    }
    let pulled = pull(options, node, images, task).await;
    match &pulled {
        Ok(0) => task.unchanged(),
        Ok(_) => task.done(),
        Err(error) => task.failed(error),
    }
    pulled
}

async fn pull(options: &Options, node: Node, images: &[String], task: &Task) -> Result<usize, Error> {
    let first = first_process(options, node)?;
    let program = program(options)?;
    // Sockets are files: the node's is reached through its root directory.
    let socket = first.root().join(CONTAINERD.trim_start_matches('/'));
    let line = format!("{} cri pull", program.display());
    let start = |source| CommandError::Start { program: line.clone(), source };
    let mut child = Command::new(&program)
        .args(["cri", "pull", &format!("--endpoint=unix://{}", socket.display())])
        .args(images)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    let (mut done, mut count) = (0, 0);
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(said) = serde_json::from_str::<Pulled>(&line) {
                done += 1;
                count += usize::from(said.pulled);
                task.status(said.image);
                task.progress(done, images.len() as u64, "images");
            }
        }
    }
    let output = child.wait_with_output().await.map_err(start)?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let why =
            why.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it did not say why").to_owned();
        return Err(CommandError::Ended { line, why }.into());
    }
    Ok(count)
}

/// The words to put before a command so that it runs in a node: in its namespaces, as root.
pub fn enter(options: &Options, node: Node) -> Result<Vec<String>, Error> {
    let first = first_process(options, node)?;
    let words = ["nsenter", "--all", "--root", "--wd=/", "--target"];
    Ok(words.into_iter().map(str::to_owned).chain([first.pid.to_string(), "--".to_owned()]).collect())
}

/// The program that is all of Kubernetes, as an instance that was brought up runs it.
pub fn program(options: &Options) -> Result<PathBuf, Error> {
    let not_running = || NotRunningSnafu { instance: options.instance.clone() };
    let services = options.layout().node(Node::FIRST).config().join(crate::supervise::SERVICES);
    let text = crate::files::read_if_there(&services)?.context(not_running())?;
    let services: Vec<crate::services::Service> = serde_json::from_str(&text).ok().context(not_running())?;
    let etcd = services.iter().find(|service| service.name == "etcd").context(not_running())?;
    let inside = etcd.command.first().context(not_running())?;
    let relative = inside.trim_start_matches(crate::options::inside::KUBERNETES).trim_start_matches('/');
    Ok(options.layout().kubernetes().join(relative))
}

fn first_process(options: &Options, node: Node) -> Result<Process, Error> {
    host::first_process(&options.layout().node(node).process())
        .context(NotRunningSnafu { instance: options.instance.clone() })
}
