//! Bringing a cluster up.
//!
//! # Guarantees
//! Every step looks at what stands and does what is missing: `up` may be killed at any point and run again, and a
//! second `up` changes nothing. Nodes that run are left running; those whose first process is gone start again
//! with their disks as they were.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node as KubeNode;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use nix::sys::signal::Signal;
use oaas_feedback::Task;
use snafu::{OptionExt, ResultExt};
use tokio::process::Command;

use crate::cgroup::Hierarchies;
use crate::config::{self, Facts};
use crate::error::{ClientSnafu, Error, NoCgroupsSnafu, NotReadySnafu, StartSnafu};
use crate::files::{self, Access, FileSnafu};
use crate::init::Spec;
use crate::instance::Node;
use crate::ledger::Ledger;
use crate::lock::Lock;
use crate::mounts::{self, Sources};
use crate::options::Options;
use crate::pki::{self, Authority, Pki, USERS};
use crate::probe::Prober;
use crate::process::Process;
use crate::services::Probe;
use crate::supervise::SERVICES;
use crate::sysctl::{Machine, claimant};
use crate::{artefacts, bootstrap, host, machine, network, observe, outside, services, status};

/// How long the API server and each node may take. Measured: 3 to 5 seconds on two cores.
const PATIENCE: Duration = Duration::from_secs(90);

/// A cluster that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// How an administrator reaches the API server.
    pub kubeconfig: PathBuf,
    /// The built programs.
    pub artefacts: artefacts::Artefacts,
    /// Was anything started or changed?
    pub changed: bool,
    /// How long it took from here to all nodes Ready.
    pub took: Duration,
}

/// Bring a cluster up. The machine must have passed [`crate::preflight()`].
pub async fn up(options: &Options, task: &Task) -> Result<Cluster, Error> {
    let began = Instant::now();
    let layout = options.layout();
    let _lock = Lock::take(&layout.lock(), &options.instance)?;
    let mut ledger = Ledger::open(&layout.ledger())?;
    // Before the ledger's first line, which says that the instance stands.
    match options.prefix {
        Some(prefix) => {
            files::make_directory(layout.root(), Access::Secret)?;
            files::write(&layout.prefix(), prefix.to_string().as_bytes(), Access::Public)?;
        }
        None => _ = files::remove(&layout.prefix())?,
    }
    host::make_root(layout.root(), &mut ledger)?;

    let programs = task.child("programs of Kubernetes");
    let built = programs.end_with(artefacts::ensure(&options.cache_dir, &programs).await)?;
    let key = built.key().to_owned();
    artefacts::install(&built, &layout.kubernetes()).await?;
    let program = install_program(&options.program, &layout.programs()).await?;

    let keys = task.child("keys and configuration");
    let prepared = prepare(options, &key);
    let configured = keys.end_with(prepared)?;

    let machine = task.child("host");
    let network = prepare_host(options, &mut ledger).await;
    machine.end_with(network)?;

    let mut changed = configured.values().any(|changed| *changed) || program;
    for node in options.nodes() {
        let child = task.child(node.to_string());
        let started = ensure_node(options, node, configured[&node] || program, &mut ledger).await;
        changed |= child.end_with(started)?;
    }

    let ready = task.child("Kubernetes");
    let result = wait_ready(options, &ready).await;
    ready.end_with(result)?;
    Ok(Cluster { kubeconfig: layout.admin_kubeconfig(), artefacts: built, changed, took: began.elapsed() })
}

/// Copy the program that runs as first process into the instance's directory, by its content, so that it can be
/// removed, moved or built anew meanwhile. Says whether it is another one than before.
async fn install_program(program: &Path, directory: &Path) -> Result<bool, Error> {
    let name = artefacts::sha256_remembered(program, &directory.join("source.json")).await?;
    let copy = directory.join(&name);
    if !copy.exists() {
        let content = fs::read(program).context(FileSnafu { verb: "read", path: program })?;
        let new = directory.join(format!(".{name}.new"));
        files::write(&new, &content, Access::Public)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&new, mode).context(FileSnafu { verb: "make executable", path: &new })?;
        fs::rename(&new, &copy).context(FileSnafu { verb: "put into place", path: &copy })?;
    }
    let current = directory.join("current");
    if fs::read_link(&current).is_ok_and(|link| link == Path::new(&name)) {
        return Ok(false);
    }
    let new = directory.join(".current.new");
    files::remove(&new)?;
    std::os::unix::fs::symlink(&name, &new).context(FileSnafu { verb: "link", path: &new })?;
    fs::rename(&new, &current).context(FileSnafu { verb: "put into place", path: &current })?;
    Ok(true)
}

/// Make keys and every node's configuration; says of each node whether its configuration changed.
fn prepare(options: &Options, key: &str) -> Result<BTreeMap<Node, bool>, Error> {
    let layout = options.layout();
    let subnets = options.subnets();
    let today = jiff::Zoned::now().date();
    let pki = Pki::ensure(&layout.pki(), &pki::leaves(&subnets, options.nodes), today)?;
    let mut changed = BTreeMap::new();
    for node in options.nodes() {
        let facts = Facts {
            subnets: options.subnets(),
            node,
            nodes: options.nodes,
            programs: key.to_owned(),
            pause: options.images.pause.clone(),
            may_lower_oom_score: machine::may_lower_oom_score(),
            memory: machine::memory(),
            dns: config::reachable_servers(&observe::resolv_conf()),
        };
        changed.insert(node, write_configuration(options, &facts, &pki)?);
    }
    let admin = pki.kubeconfig(options.instance.as_str(), &facts_api(options), "admin")?;
    files::write(&layout.admin_kubeconfig(), admin.as_bytes(), Access::Secret)?;
    Ok(changed)
}

fn facts_api(options: &Options) -> String {
    format!("https://{}:{}", options.subnets().node(Node::FIRST), config::API_PORT)
}

/// Which of the cluster's keys a node has: its kubelet's, and on the first node those of the control plane.
fn keys_of(node: Node) -> Vec<String> {
    let mut names = vec![format!("kubelet-{node}")];
    if node.is_first() {
        let control_plane = [
            "ca",
            "apiserver",
            "apiserver-kubelet-client",
            "apiserver-etcd-client",
            "etcd",
            "front-proxy-client",
            "images",
        ];
        names.extend(control_plane.map(str::to_owned));
    }
    names
}

fn write_configuration(options: &Options, facts: &Facts, pki: &Pki) -> Result<bool, Error> {
    let node = facts.node;
    let directory = options.layout().node(node).config();
    let mut public: BTreeMap<String, Vec<u8>> =
        config::files(facts).into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    let mut secret: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for authority in Authority::ALL {
        let name = authority.name();
        public.insert(format!("pki/{name}.crt"), files::read(&pki.certificate(name))?.into_bytes());
    }
    for name in keys_of(node) {
        public.insert(format!("pki/{name}.crt"), files::read(&pki.certificate(&name))?.into_bytes());
        secret.insert(format!("pki/{name}.key"), files::read(&pki.key(&name))?.into_bytes());
    }
    if node.is_first() {
        for name in ["service-accounts.key", "encryption.json"] {
            secret.insert(format!("pki/{name}"), files::read(&pki.file(name))?.into_bytes());
        }
        let verifying = "service-accounts.pub";
        public.insert(format!("pki/{verifying}"), files::read(&pki.file(verifying))?.into_bytes());
    }
    let instance = options.instance.as_str();
    let mut users = vec![("kubelet", format!("kubelet-{node}"))];
    users.extend(
        USERS.iter().filter(|(user, ..)| *user != "admin").map(|(user, ..)| (*user, (*user).to_owned())),
    );
    for (file, leaf) in users {
        if node.is_first() || ["kubelet", "proxy", "node-controllers"].contains(&file) {
            let text = pki.kubeconfig(instance, &facts.api(), &leaf)?;
            secret.insert(format!("{file}.kubeconfig"), text.into_bytes());
        }
    }

    let mut all = public.clone();
    all.extend(secret.clone());
    let services = services::services(facts, &all);
    let services = serde_json::to_vec_pretty(&services).unwrap_or_default();
    let mut changed = false;
    for (content, access) in [(&public, Access::Public), (&secret, Access::Secret)] {
        for (name, content) in content {
            changed |= files::write(&directory.join(name), content, access)?;
        }
    }
    // Last: the supervisor reads the rest only through what stands here.
    changed |= files::write(&directory.join(SERVICES), &services, Access::Public)?;
    Ok(changed)
}

async fn prepare_host(options: &Options, ledger: &mut Ledger) -> Result<(), Error> {
    let instance = &options.instance;
    host::load_modules(ledger).await?;
    host::set_settings(&Machine::default(), &claimant(options.layout().root()), ledger)?;
    host::take(network::bridges(instance, &options.subnets(), &host::standing()), ledger).await?;
    outside::restore(options, ledger).await
}

/// Start a node whose first process is gone; tell one that runs about a new configuration. Says whether it did
/// either.
async fn ensure_node(
    options: &Options,
    node: Node,
    changed: bool,
    ledger: &mut Ledger,
) -> Result<bool, Error> {
    let layout = options.layout().node(node);
    if let Some(first) = host::first_process(&layout.process()) {
        host::take(network::routes(&options.instance, &options.subnets(), node, options.nodes), ledger)
            .await?;
        if changed {
            first.signal(Signal::SIGHUP);
        }
        return Ok(changed);
    }
    let instance = &options.instance;
    let hierarchies = Hierarchies::from_mountinfo(&files::read(Path::new("/proc/self/mountinfo"))?)
        .context(NoCgroupsSnafu)?;
    host::take(network::node(instance, &options.subnets(), node, options.nodes, &host::standing()), ledger)
        .await?;
    let cgroups = host::make_cgroups(&hierarchies, &instance.cgroup(node), ledger)?;
    for directory in [layout.logs(), layout.var().join("tmp")] {
        files::make_directory(&directory, Access::Public)?;
    }
    files::make_directory(&options.images.cache, Access::Public)?;
    let sources = Sources {
        var: layout.var(),
        config: layout.config(),
        programs: options.layout().programs(),
        kubernetes: options.layout().kubernetes(),
        images: options.images.cache.clone(),
    };
    let spec = Spec {
        node,
        network_namespace: Path::new("/run/netns").join(instance.network_namespace(node)),
        cgroups,
        mounts: mounts::plan(&sources, &hierarchies),
        hierarchies,
        process: layout.process(),
    };
    files::write(&layout.spec(), &serde_json::to_vec_pretty(&spec).unwrap_or_default(), Access::Public)?;
    let change = crate::ledger::Change::Processes { node, file: layout.process() };
    ledger.record([change])?;
    launch(options, node).await?;
    Ok(true)
}

async fn launch(options: &Options, node: Node) -> Result<Process, Error> {
    let layout = options.layout().node(node);
    let log = layout.logs().join("init.log");
    let open = || {
        File::options().create(true).append(true).open(&log).context(FileSnafu { verb: "open", path: &log })
    };
    files::remove(&layout.process())?;
    let program = options.layout().programs().join("current");
    let failed = |log: PathBuf| {
        let said = status::last_line(&log).unwrap_or_else(|| "it said nothing".into());
        StartSnafu { node, said, log }
    };
    let launched = Command::new(&program)
        .args(["node-init", "launch"])
        .arg(layout.spec())
        .stdin(Stdio::null())
        .stdout(open()?)
        .stderr(open()?)
        .current_dir("/")
        .status()
        .await
        .context(FileSnafu { verb: "run", path: &program })?;
    if !launched.success() {
        return failed(log).fail();
    }
    // The first process writes down which it is before it does anything that can fail.
    let until = Instant::now() + Duration::from_secs(10);
    let first = loop {
        if let Some(first) = host::first_process(&layout.process()) {
            break first;
        }
        if Instant::now() >= until {
            return failed(log).fail();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    // With the supervisor running its view of the files is complete.
    while fs::symlink_metadata(crate::supervise::state_file(first)).is_err() {
        if !first.is_alive() || Instant::now() >= until {
            return failed(log).fail();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(first)
}

/// A client of the cluster's API server.
pub async fn client(kubeconfig: &Path) -> Result<Client, Error> {
    crate::install_crypto();
    let config =
        Kubeconfig::read_from(kubeconfig).map_err(|error| Box::new(error) as _).context(ClientSnafu)?;
    let mut config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
        .await
        .map_err(|error| Box::new(error) as _)
        .context(ClientSnafu)?;
    // Proxies of the environment do not lead to this machine.
    config.proxy_url = None;
    Client::try_from(config).map_err(|error| Box::new(error) as _).context(ClientSnafu)
}

async fn wait_ready(options: &Options, task: &Task) -> Result<(), Error> {
    let client = client(&options.layout().admin_kubeconfig()).await?;
    task.status("waits for the API server");
    // A node that ran before would answer all of this before its supervisor has restarted what changed.
    for node in options.nodes() {
        wait(&format!("services of {node}"), options, task, async || status::settled(options, node)).await?;
    }
    let probe = Probe::Https {
        url: format!("{}/readyz", facts_api(options)),
        ca: options.layout().pki().join("ca.crt").to_string_lossy().into_owned(),
    };
    wait("the API server", options, task, async || {
        let answers = Prober::default().ask(BTreeSet::from([probe.clone()])).await;
        if answers.is_empty() { Err("it does not answer".to_owned()) } else { Ok(()) }
    })
    .await?;
    let subnets = options.subnets();
    let apply = bootstrap::apply(&client, &subnets, options.nodes);
    let nodes: Api<KubeNode> = Api::all(client.clone());
    let ready = async {
        for node in options.nodes() {
            task.status(format!("waits for {node}"));
            let name = node.to_string();
            wait(&name, options, task, async || match nodes.get_opt(&name).await {
                Ok(Some(found)) => is_ready(&found),
                Ok(None) => Err("its kubelet has not registered it".to_owned()),
                Err(error) => Err(error.to_string()),
            })
            .await?;
        }
        Ok::<(), Error>(())
    };
    let (applied, ready) = tokio::join!(apply, ready);
    applied?;
    ready
}

/// Is a node Ready? If not, why.
fn is_ready(node: &KubeNode) -> Result<(), String> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let Some(ready) = conditions.and_then(|all| all.iter().find(|condition| condition.type_ == "Ready"))
    else {
        return Err("it has no Ready condition yet".into());
    };
    if ready.status == "True" {
        return Ok(());
    }
    Err(ready.message.clone().unwrap_or_else(|| "it is not Ready".into()))
}

/// Ask until the answer is good or patience ends.
async fn wait(
    what: &str,
    options: &Options,
    task: &Task,
    ask: impl AsyncFn() -> Result<(), String>,
) -> Result<(), Error> {
    let until = Instant::now() + PATIENCE;
    let mut say = Instant::now() + Duration::from_secs(5);
    loop {
        let Err(why) = ask().await else { return Ok(()) };
        let dead = options
            .nodes()
            .find(|node| host::first_process(&options.layout().node(*node).process()).is_none());
        if let Some(node) = dead {
            let log = options.layout().node(node).logs().join("init.log");
            let said = status::last_line(&log).unwrap_or_else(|| "its first process ended".into());
            return StartSnafu { node, said, log }.fail();
        }
        if Instant::now() >= say {
            say = Instant::now() + Duration::from_secs(5);
            task.status(format!(
                "waits for {what}: {}",
                status::trouble(options).unwrap_or_else(|| why.clone())
            ));
        }
        if Instant::now() >= until {
            let logs = options.layout().node(Node::FIRST).logs();
            let why = status::trouble(options).unwrap_or(why);
            return NotReadySnafu { what, seconds: PATIENCE.as_secs(), why, logs }.fail();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
