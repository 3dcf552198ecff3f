//! `oaas up`: from a bare machine to a cloud with a virtual machine.
//!
//! # Flow
//! machine fit? → programs of Kubernetes, images → node → images into its store, operator → resource → wait, showing
//! each part of the cloud → ports of the host → what there is now. Steps that do not need each other run side by side.
//! Every step looks at what stands and does what is missing, so the same command goes on where an interrupted one
//! stopped, and changes nothing where all is done.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use kube::Client;
use oaas_api::OpenStack;
use oaas_feedback::{Explain, Kind, Task};
use oaas_image::{BuildOptions, BuiltImages, Cache};
use oaas_node::{Node, Prefix};
use oaas_operator::InstallOptions;
use serde::Serialize;
use snafu::{ResultExt, Snafu};

use crate::bringup::{self, Waited};
use crate::context::Context;
use crate::lock::{self, Lock};
use crate::report::Failure;
use crate::{external, fit, guest, host, reach, wanted};

/// Arguments of `oaas up`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The cloud, as a resource (`-` reads it from stdin); a small one with demo content when left out
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Nodes of the embedded cluster
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(Node::MOST)))]
    nodes: u8,
    /// Private /16 that all addresses of a new cluster are cut out of, where the machine has others in their place
    #[arg(long, value_name = "NETWORK", value_parser = prefix)]
    prefix: Option<Prefix>,
    /// Address of this machine that published ports are opened on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    listen: std::net::Ipv4Addr,
    /// Seconds that the cloud may take to become ready, once its images are built
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,
    /// Write where the time went: a Chrome trace, and beside it a picture (.svg)
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// A prefix; a refusal says the nearest right one.
fn prefix(given: &str) -> Result<Prefix, String> {
    given.parse().map_err(|error: oaas_node::PrefixError| match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}

/// Why a cloud cannot be brought up.
#[derive(Debug, Snafu)]
pub enum Error {
    /// Another `up` is at work.
    #[snafu(display("another `oaas up` is at work for `{instance}`: process {pid}"))]
    Busy {
        /// The instance.
        instance: String,
        /// Who.
        pid: String,
    },
    /// The lock cannot be had.
    #[snafu(display("failed to lock {}", path.display()))]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No image of that name was built.
    #[snafu(display("failed to find the image {name} among those that were built"))]
    NoImage {
        /// Its name.
        name: &'static str,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Busy { .. } => Kind::Busy,
            Self::Lock { .. } => Kind::Environment,
            Self::NoImage { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Busy { pid, .. } => {
                Some(format!("wait for it (`oaas status` shows how far it is), or end it: kill {pid}"))
            }
            Self::Lock { source, .. } if source.kind() == ErrorKind::StorageFull => {
                Some("the disk is full: make room, or choose another place with OAAS_STATE_DIR".into())
            }
            Self::Lock { .. } => Some("choose a directory that root may write to with OAAS_STATE_DIR".into()),
            Self::NoImage { .. } => None,
        }
    }
}

/// The image that the operator runs.
const OPERATOR: &str = "oaas";
/// The image that holds a pod's namespaces.
const PAUSE: &str = "pause";
/// Where servers are asked whether they answer.
const SSH: u16 = 22;
/// How long a server's system may take to boot, beyond what is waited for Nova.
const BOOT: Duration = Duration::from_mins(1);

/// What there is when it is done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    instance: String,
    namespace: String,
    name: String,
    horizon: String,
    servers: Vec<oaas_api::status::ServerSummary>,
    /// Servers that did not answer on their floating IPs in the end, by name.
    silent: Vec<String>,
    seconds: f64,
    changed: bool,
}

/// Bring it up.
pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let mut options = host::with_prefix(&context.global, "up", arguments.prefix)?;
    oaas_node::preflight::require_root()?;
    let cloud = resource(arguments)?;
    wanted::check(&cloud)?;
    let _lock = lock(&options)?;
    let progress = context.progress(arguments.trace.clone());
    let task = Task::root(progress.sink(), format!("up {}", options.instance));
    let result = bring_up(arguments, &mut options, cloud, &task).await;
    let done = match result {
        Ok(done) => {
            if done.changed {
                task.done();
            } else {
                task.unchanged();
            }
            done
        }
        Err(failure) => {
            task.failed(&failure);
            progress.finish()?;
            return Err(failure);
        }
    };
    progress.finish()?;
    let done = Done { seconds: context.clock.elapsed().as_secs_f64(), ..done };
    context.answer(&done, text)
}

async fn bring_up(
    arguments: &Arguments,
    options: &mut oaas_node::Options,
    cloud: OpenStack,
    task: &Task,
) -> Result<Done, Failure> {
    let machine = task.child("machine");
    options.nodes = arguments.nodes;
    // What is published in the end is looked at now: a port that is taken is better told before all the work.
    options.ports = bringup::same_ports(wanted::published(&cloud.spec)?, arguments.listen);
    options.external = external::networks([&cloud.spec]);
    let fit = oaas_node::preflight::preflight(options).await;
    for warning in fit.warnings() {
        machine.status(warning.to_string());
    }
    if let Err(unfit) = fit::require(&fit) {
        machine.failed(unfit.summary());
        return Err(unfit.into());
    }
    // A cloud that is there has its place; whether another one fits beside it, the operator knows.
    let is_new = !options.layout().admin_kubeconfig().exists();
    let memory = oaas_node::memory_for_pods(arguments.nodes);
    machine.end_with(if is_new { wanted::fits(&cloud, memory) } else { Ok(()) })?;

    let needed = wanted::images(&cloud)?;
    let ((), built) = tokio::try_join!(programs(options, task), images(needed, task))?;
    let reference = |built: &BuiltImages, name: &'static str| {
        built.images.get(name).map(|image| image.reference.clone()).ok_or(Error::NoImage { name })
    };
    options.images.pause = reference(&built, PAUSE)?;

    let node = task.child("node");
    let cluster = node.end_with(oaas_node::up(options, &node).await)?;
    let client = oaas_node::client(&cluster.kubeconfig).await?;
    let others = bringup::others(&client, &cloud).await?;
    let built = with_those_of_others(&others, built, task).await?;

    let images: oaas_plan::Images =
        built.images.iter().map(|(name, image)| (name.clone(), bringup::image(image))).collect();
    let revision = oaas_plan::revision(&images);
    let install = InstallOptions::new(reference(&built, OPERATOR)?, images);
    let (fetched, installed) =
        tokio::try_join!(prefetch(options, &built, task), operator(&client, &install, task))?;

    let (namespace, name) = bringup::place(&cloud);
    let part = task.child(format!("cloud {namespace}/{name}"));
    let patience = Duration::from_secs(arguments.timeout);
    bringup::awake(&client, &began(options)?, patience, &part).await?;
    let applied = bringup::apply(&client, &cloud).await?;
    let news = (revision.as_str(), applied.asked.as_str());
    let Waited { status, waited } =
        part.end_with(bringup::wait(&client, &cloud, news, patience, &part).await)?;

    let router = task.child("external networks of this machine");
    let networks = external::networks(others.iter().chain([&cloud]).map(|cloud| &cloud.spec));
    router.end_with(oaas_node::route_external(options, &networks, &router).await)?;
    let endpoints = status.endpoints.clone().unwrap_or_default();
    let changed = cluster.changed || fetched || installed || applied.changed || waited;
    let ports = task.child("ports of this machine");
    let maps = bringup::port_maps(&endpoints, arguments.listen);
    ports.end_with(oaas_node::publish_ports(options, &maps, &ports).await)?;
    let silent = if changed && status.servers.iter().any(|server| server.floating_ip.is_some()) {
        let part = task.child("servers");
        let silent = reach::wait(&status.servers, SSH, BOOT.min(patience), &part).await;
        part.done();
        silent
    } else {
        Vec::new()
    };
    Ok(Done {
        instance: options.instance.to_string(),
        namespace,
        name,
        horizon: bringup::on_host(endpoints.horizon.as_deref().unwrap_or_default(), arguments.listen),
        servers: status.servers,
        silent,
        seconds: 0.0,
        changed,
    })
}

/// Since when each node runs.
fn began(options: &oaas_node::Options) -> Result<BTreeMap<String, Timestamp>, Failure> {
    let nodes = oaas_node::status(options)?.nodes;
    let since =
        |node: oaas_node::NodeStatus| Some((node.name, Timestamp::try_from(node.process?.since()?).ok()?));
    Ok(nodes.into_iter().filter_map(since).collect())
}

/// The programs of Kubernetes, so that they are built beside the images and not after them.
async fn programs(options: &oaas_node::Options, task: &Task) -> Result<(), Failure> {
    let part = task.child("programs");
    part.end_with(oaas_node::build_programs(&options.cache_dir, &part).await)?;
    Ok(())
}

/// The images of a cloud, and what every cluster needs.
async fn images(of_cloud: BTreeSet<String>, task: &Task) -> Result<BuiltImages, Failure> {
    let names: Vec<String> = of_cloud.into_iter().chain([OPERATOR, PAUSE].map(str::to_owned)).collect();
    let mut options = BuildOptions::of_user()?;
    if oaas_image::artefacts(&names)?.contains("guest") {
        let part = task.child("guest image");
        let disk = part.end_with(guest::ensure(&Cache::of_user()?, &part).await)?;
        options.artefacts.insert("guest".into(), disk);
    }
    let part = task.child("images");
    Ok(part.end_with(oaas_image::build(&options, &names, &part).await)?)
}

/// What was built, and the images that the cluster's other clouds name: one operator runs them all.
async fn with_those_of_others(
    others: &[OpenStack],
    mut built: BuiltImages,
    task: &Task,
) -> Result<BuiltImages, Failure> {
    let mut missing = BTreeSet::new();
    for other in others {
        // What the operator refuses runs on as it was accepted, on images that are there.
        missing.extend(wanted::images(other).unwrap_or_default());
    }
    missing.retain(|name| !built.images.contains_key(name));
    if !missing.is_empty() {
        built.images.extend(images(missing, task).await?.images);
    }
    Ok(built)
}

/// Images into the nodes' stores, so that no pod waits for its own. Says whether one was missing.
async fn prefetch(options: &oaas_node::Options, built: &BuiltImages, task: &Task) -> Result<bool, Failure> {
    let images: Vec<String> = built.images.values().map(|image| image.reference.clone()).collect();
    let part = task.child("images into the node's store");
    let nodes = options.nodes().map(|node| {
        let part = if options.nodes == 1 { part.clone() } else { part.child(node.to_string()) };
        let images = &images;
        async move { oaas_node::prefetch(options, node, images, &part).await }
    });
    let pulled: usize = futures::future::try_join_all(nodes).await?.into_iter().sum();
    if options.nodes > 1 {
        part.done();
    }
    Ok(pulled > 0)
}

/// The operator. Says whether something of it was written.
async fn operator(client: &Client, options: &InstallOptions, task: &Task) -> Result<bool, Failure> {
    let part = task.child("operator");
    let report = part.end_with(oaas_operator::install(client, options, &part).await)?;
    Ok(!report.written.is_empty())
}

/// The resource of the file, or the small one with demo content.
fn resource(arguments: &Arguments) -> Result<OpenStack, Failure> {
    match &arguments.file {
        Some(path) => wanted::read(path),
        None => Ok(oaas_api::parse_resource(include_str!("../demo.yaml"))?),
    }
}

/// Become the one `up` of this instance. The file says which process that is.
fn lock(options: &oaas_node::Options) -> Result<File, Error> {
    let layout = options.layout();
    std::fs::create_dir_all(layout.root()).context(LockSnafu { path: layout.root() })?;
    let path = layout.root().join("up.lock");
    match lock::take(&path).context(LockSnafu { path })? {
        Lock::Ours(file) => Ok(file),
        Lock::Held(pid) => BusySnafu { instance: options.instance.to_string(), pid }.fail(),
    }
}

fn text(done: &Done) -> String {
    let mut out = String::new();
    let cloud = format!("{}/{}", done.namespace, done.name);
    if done.changed {
        out += &format!("The cloud {cloud} is ready after {:.0} s.\n\n", done.seconds);
    } else {
        out += &format!("The cloud {cloud} is ready; nothing had to be done ({:.1} s).\n\n", done.seconds);
    }
    out += &format!("Horizon       {}\n", done.horizon);
    out += "Credentials   oaas credentials            (user admin; --user demo for demo)\n";
    out += "Client        oaas openstack server list --all-projects\n";
    for server in &done.servers {
        let address = server.floating_ip.as_deref().or(server.address.as_deref()).unwrap_or("no address yet");
        out += &format!("Server        {} at {address} ({})\n", server.name, server.status);
    }
    for name in &done.silent {
        out += &format!(
            "              {name} does not answer on port {SSH}: its system still boots, or its security\n"
        );
        out += &format!("              groups close it (oaas openstack console log show {name})\n");
    }
    if let Some(address) = done.servers.iter().find_map(|server| server.floating_ip.as_deref()) {
        out += "Log in        (umask 077; oaas credentials ssh-key > demo.pem)\n";
        out += &format!("              ssh -i demo.pem oaas@{address}\n");
    }
    out
}
