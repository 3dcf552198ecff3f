//! A member of OVN's northbound or southbound database cluster.
//!
//! # Flow
//! Look at the file and ask the other members' agents; [`decide`](decide::decide); make or join the cluster; start the
//! server; then keep reporting, and as leader tend the cluster ([`lead`](decide::lead)).
//!
//! # Guarantees
//! A new cluster is made at most once: see [`decide`](decide::decide). A file appears at once or not at all. No client sees
//! a database that was lost before it is filled again: see [`mark`].

mod decide;
mod file;
pub mod mark;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use snafu::OptionExt as _;
use tokio::time::sleep;
use tracing::{info, warn};

use decide::{
    ClusterStatus, Decision, Empty, File, Lead, Member, Peer, Remembered, decide, lead, ordinal, parse_status,
};

use super::error::{Error, UnfitSnafu, UnsafeSnafu};
use super::{jsonrpc, system};
use crate::context::Context;
use oaas_agent_config::{Content, OvnDatabase, Ovsdb};
use oaas_agent_config::{Program, TlsFiles};

/// How often the others are asked while nothing is decided.
const UNDECIDED: Duration = Duration::from_millis(500);

/// How often the cluster is looked at when all is well.
const TEND: Duration = Duration::from_secs(3);

/// How long another member's agent may take to answer.
const PEER_LIMIT: Duration = Duration::from_secs(2);

/// What a member reports in `/status`; other members' agents read it too.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Report {
    database: OvnDatabase,
    address: String,
    /// Whether there is a database on the volume.
    has_database: bool,
    cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<ClusterStatus>,
}

/// The part of another member's `/status` that decisions need.
#[derive(Debug, Deserialize)]
struct PeerStatus {
    report: Option<PeerReport>,
}

#[derive(Debug, Deserialize)]
struct PeerReport {
    has_database: bool,
    cluster: Option<String>,
}

/// The options of OVN's and Open vSwitch's programs for TLS.
pub fn tls_options(tls: &TlsFiles) -> [String; 3] {
    [
        format!("--private-key={}", tls.key.display()),
        format!("--certificate={}", tls.cert.display()),
        format!("--ca-cert={}", tls.ca.display()),
    ]
}

/// Run the member; comes back only with an error.
pub async fn run(role: &Ovsdb, context: &Context) -> Result<(), Error> {
    let me = member(role, context)?;
    system::make_directory(&role.directory)?;
    system::make_directory(&role.run_directory)?;
    let file = role.directory.join(format!("{}.db", role.database.short()));
    let memory = role.directory.join(format!("{}.cluster.json", role.database.short()));
    let peers = Peers::new(&me, context);
    prepare(role, &me, &file, &memory, &peers, context).await?;
    let doors = Doors::new(role, &file);
    // Whether there is something in it is known once it runs.
    doors.set(role.content == Content::Own)?;
    let control = start(role, &doors, context)?;
    tend(role, &me, &control, &memory, &peers, &doors, context).await
}

fn member(role: &Ovsdb, context: &Context) -> Result<Member, Error> {
    let ordinal = ordinal(context.host(), &role.name).with_context(|| UnfitSnafu {
        what: format!("failed to find this member's number in its host name {}", context.host()),
        hint: format!("run it as a pod of the StatefulSet {}", role.name),
    })?;
    Ok(Member {
        name: role.name.clone(),
        service: role.service.clone(),
        ordinal,
        replicas: role.replicas,
        port: role.database.cluster_port(),
    })
}

/// Decide until there is a database file to start on.
async fn prepare(
    role: &Ovsdb,
    me: &Member,
    file: &Path,
    memory: &Path,
    peers: &Peers,
    context: &Context,
) -> Result<(), Error> {
    loop {
        let found = inspect(file).await?;
        let remembered: Option<Remembered> = match system::read_if_there(memory)? {
            Some(_) => Some(system::read_json(memory)?),
            None => None,
        };
        let cluster = match &found {
            File::Member { cluster, .. } => cluster.clone(),
            _ => None,
        };
        let address = me.address(me.ordinal);
        let has_database = found != File::Missing;
        context.report(&Report {
            database: role.database,
            address: address.clone(),
            has_database,
            cluster,
            status: None,
        });
        let new = file.with_extension("new");
        let empty = Empty { new_cloud: role.new_cloud, content: role.content };
        match decide(me, &found, remembered.as_ref(), &peers.ask().await, empty) {
            Decision::Start => return Ok(()),
            Decision::Create { to_fill } => {
                let what = if to_fill { ", to be filled with what was lost" } else { "" };
                info!(target: "oaas_agent", "makes a new cluster of {}{what}", role.database.schema());
                create(role, &new, &address, to_fill).await?;
                system::rename(&new, file)?;
            }
            Decision::SetAside => set_aside(file).await?,
            Decision::Join { cluster, members } => {
                info!(target: "oaas_agent", "joins cluster {cluster} of {}", role.database.schema());
                system::remove(&new)?;
                let (path, id) = (new.display().to_string(), format!("--cid={cluster}"));
                let mut command = ["ovsdb-tool", &id, "join-cluster", &path].map(str::to_owned).to_vec();
                command.push(role.database.schema().to_owned());
                command.push(address);
                command.extend(members.into_iter().map(|ordinal| me.address(ordinal)));
                system::run(command).await?;
                system::rename(&new, file)?;
            }
            Decision::Wait(what) => {
                context.waits_for(what);
                sleep(UNDECIDED).await;
            }
            Decision::Refuse { what, hint } => return UnsafeSnafu { what, hint }.fail(),
        }
    }
}

/// The file of a new cluster with this member alone.
async fn create(role: &Ovsdb, new: &Path, address: &str, to_fill: bool) -> Result<(), Error> {
    let alone = new.with_extension("alone");
    system::remove(new)?;
    system::remove(&alone)?;
    let (path, mut from) = (new.display().to_string(), role.database.schema_file());
    if to_fill {
        let empty = alone.display().to_string();
        system::run(["ovsdb-tool", "create", &empty, &from]).await?;
        let marked = json!([role.database.schema(), mark::written()]).to_string();
        system::run(["ovsdb-tool", "transact", &empty, &marked]).await?;
        from = empty;
    }
    system::run(["ovsdb-tool", "create-cluster", &path, &from, address]).await?;
    system::remove(&alone)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let index = u64::try_from(now.as_millis()).unwrap_or(1).max(1);
    let text = file::moved_to(&system::read(new)?, index, role.election_ms);
    let what = || format!("the new cluster in {path}");
    let text = text.map_err(|said| Error::Answer { what: what(), said })?;
    system::write(new, &text, 0o640)
}

/// Give a damaged file another name, if it is still damaged at a second look.
async fn set_aside(file: &Path) -> Result<(), Error> {
    sleep(UNDECIDED).await;
    if let File::Broken(said) = inspect(file).await? {
        let aside = file.with_extension("db.broken");
        warn!(target: "oaas_agent", "the database cannot be read and becomes {}: {said}", aside.display());
        system::rename(file, &aside)?;
    }
    Ok(())
}

/// What is at the place of the database file.
async fn inspect(file: &Path) -> Result<File, Error> {
    if !file.exists() {
        return Ok(File::Missing);
    }
    let path = file.display().to_string();
    if !system::succeeds(["ovsdb-tool", "db-is-clustered", &path]).await? {
        return Ok(match system::run(["ovsdb-tool", "db-name", &path]).await {
            Ok(_) => File::Standalone,
            Err(error) => File::Broken(crate::error::chain(&error)),
        });
    }
    match system::run(["ovsdb-tool", "db-local-address", &path]).await {
        Ok(address) => Ok(File::Member {
            // The id is not in the file before the member has finished joining.
            cluster: system::run(["ovsdb-tool", "db-cid", &path]).await.ok().map(|id| id.trim().to_owned()),
            address: address.trim().to_owned(),
        }),
        Err(error) => Ok(File::Broken(crate::error::chain(&error))),
    }
}

/// Where the server listens: its file of settings, which it reads again when it is told to.
struct Doors<'a> {
    role: &'a Ovsdb,
    settings: PathBuf,
    file: &'a Path,
}

impl<'a> Doors<'a> {
    fn new(role: &'a Ovsdb, file: &'a Path) -> Self {
        let settings = role.run_directory.join(format!("{}.json", role.database.short()));
        Self { role, settings, file }
    }

    /// Write where to listen: for clients, or only for who fills the database.
    fn set(&self, for_clients: bool) -> Result<(), Error> {
        let database = self.role.database;
        let port = if for_clients { database.client_port() } else { database.filler_port() };
        let described = json!({
            "remotes": {
                format!("punix:{}", database.client_socket(&self.role.run_directory).display()): {},
                format!("pssl:{port}"): { "inactivity-probe": self.role.client_probe_ms },
            },
            "databases": { self.file.display().to_string(): {} },
        });
        system::write(&self.settings, &described.to_string(), 0o644)
    }

    /// Let clients in if the database is whole; says whether they are in.
    async fn open_if_whole(&self, control: &Path, context: &Context) -> Result<bool, Error> {
        let socket = self.role.database.client_socket(&self.role.run_directory);
        if !mark::is_whole(self.role.database, &socket).await? {
            context.waits_for("what belongs into the database to be written to it");
            return Ok(false);
        }
        self.set(true)?;
        jsonrpc::command(control, "ovsdb-server/reload", &[]).await?;
        context.waits_no_more();
        info!(target: "oaas_agent", "lets clients in");
        Ok(true)
    }
}

/// Start the server; gives its control socket.
fn start(role: &Ovsdb, doors: &Doors<'_>, context: &Context) -> Result<PathBuf, Error> {
    let control = role.database.control_socket(&role.run_directory);
    let mut command = vec![
        "ovsdb-server".to_owned(),
        format!("--config-file={}", doors.settings.display()),
        format!("--unixctl={}", control.display()),
        "-vconsole:info".to_owned(),
        "-vsyslog:off".to_owned(),
    ];
    command.extend(tls_options(&role.tls));
    context.start("ovsdb-server", &Program::new(command))?;
    Ok(control)
}

/// Report, remember, and as leader tend the cluster, for ever.
async fn tend(
    role: &Ovsdb,
    me: &Member,
    control: &Path,
    memory: &Path,
    peers: &Peers,
    doors: &Doors<'_>,
    context: &Context,
) -> Result<(), Error> {
    context.running();
    let schema = role.database.schema();
    let mut converted = false;
    let mut open = role.content == Content::Own;
    loop {
        let status = match jsonrpc::command(control, "cluster/status", &[schema]).await {
            Ok(text) => parse_status(&text),
            Err(error) => {
                warn!(target: "oaas_agent", "{}", crate::error::chain(&error));
                None
            }
        };
        let Some(status) = status else {
            sleep(UNDECIDED).await;
            continue;
        };
        context.report(&Report {
            database: role.database,
            address: me.address(me.ordinal),
            has_database: true,
            cluster: status.cluster.clone(),
            status: Some(status.clone()),
        });
        if !status.takes_part() {
            sleep(UNDECIDED).await;
            continue;
        }
        if let Some(cluster) = status.cluster.clone() {
            let text = json!(Remembered { cluster }).to_string();
            system::write(memory, &text, 0o644)?;
        }
        if status.leads() && !converted {
            converted = convert(role).await;
        }
        if !open {
            open = doors.open_if_whole(control, context).await.unwrap_or_else(|error| {
                warn!(target: "oaas_agent", "{}", crate::error::chain(&error));
                false
            });
        }
        match lead(me, &status, role.election_ms, &peers.ask().await) {
            Some(Lead::SetElectionTimer(milliseconds)) => {
                tell(control, "cluster/change-election-timer", &[schema, &milliseconds.to_string()]).await;
            }
            Some(Lead::Leave) => {
                info!(target: "oaas_agent", "leaves the cluster: there are to be {} members", me.replicas);
                tell(control, "cluster/leave", &[schema]).await;
            }
            Some(Lead::Remove { id, why }) => {
                info!(target: "oaas_agent", "removes the member {id}: {why}");
                tell(control, "cluster/kick", &[schema, &id]).await;
            }
            None => {}
        }
        sleep(if open { TEND } else { UNDECIDED }).await;
    }
}

/// Tell the server something; if it refuses, the next look decides anew.
async fn tell(control: &Path, command: &str, arguments: &[&str]) {
    if let Err(error) = jsonrpc::command(control, command, arguments).await {
        warn!(target: "oaas_agent", "{}", crate::error::chain(&error));
    }
}

/// Bring the database to the schema of this image, if it is not there; says whether that is settled.
async fn convert(role: &Ovsdb) -> bool {
    let socket = format!("unix:{}", role.database.client_socket(&role.run_directory).display());
    let schema = role.database.schema_file();
    let result = match system::run(["ovsdb-client", "needs-conversion", &socket, &schema]).await {
        Ok(answer) if answer.trim() == "yes" => {
            info!(target: "oaas_agent", "converts {} to the schema of this image", role.database.schema());
            system::run(["ovsdb-client", "convert", &socket, &schema]).await.map(|_| ())
        }
        other => other.map(|_| ()),
    };
    if let Err(error) = &result {
        warn!(target: "oaas_agent", "{}", crate::error::chain(error));
    }
    result.is_ok()
}

/// Hand leadership over and end: the server does both when asked to exit on its control socket.
pub async fn before_stop(role: &Ovsdb, context: &Context) {
    tell(&role.database.control_socket(&role.run_directory), "exit", &[]).await;
    system::wait_for_end(context, "ovsdb-server").await;
}

/// Whether the member takes part in its cluster; the error says what it does instead.
pub async fn ask(database: OvnDatabase, run_directory: &Path) -> Result<Option<String>, Error> {
    let socket = database.control_socket(run_directory);
    let text = jsonrpc::command(&socket, "cluster/status", &[database.schema()]).await?;
    Ok(match parse_status(&text) {
        Some(status) if status.takes_part() => None,
        Some(status) if status.status == "cluster member" => Some("the cluster has no leader".to_owned()),
        Some(status) => Some(format!("this member is not in its cluster: {}", status.status)),
        None => Some(format!("the server's answer is not understood: {text}")),
    })
}

/// Whether the database is whole; the error says why not.
pub async fn ask_content(database: OvnDatabase, run_directory: &Path) -> Result<Option<String>, Error> {
    let whole = mark::is_whole(database, &database.client_socket(run_directory)).await?;
    Ok((!whole).then(|| "the database was lost with its volume, and is being filled anew".to_owned()))
}

/// The other members' agents.
struct Peers {
    client: reqwest::Client,
    urls: BTreeMap<u32, String>,
}

impl Peers {
    fn new(me: &Member, context: &Context) -> Self {
        let port = context.config().health.as_ref().map_or(9100, |health| health.port);
        let urls =
            me.others().map(|other| (other, format!("http://{}:{port}/status", me.host(other)))).collect();
        Self { client: reqwest::Client::new(), urls }
    }

    async fn ask(&self) -> BTreeMap<u32, Peer> {
        let asked = self.urls.iter().map(async |(ordinal, url)| {
            let peer = self.ask_one(url).await.unwrap_or_else(|error| {
                let text = crate::error::chain(&error);
                Peer::Unknown(text.rsplit(": ").next().unwrap_or_default().to_owned())
            });
            (*ordinal, peer)
        });
        futures::future::join_all(asked).await.into_iter().collect()
    }

    async fn ask_one(&self, url: &str) -> Result<Peer, reqwest::Error> {
        let status: Value = self.client.get(url).timeout(PEER_LIMIT).send().await?.json().await?;
        let report = serde_json::from_value::<PeerStatus>(status).ok().and_then(|status| status.report);
        Ok(match report {
            None => Peer::Unknown("it has not looked yet".to_owned()),
            Some(PeerReport { cluster: Some(cluster), .. }) => Peer::Member { cluster },
            Some(PeerReport { has_database: false, .. }) => Peer::Empty,
            Some(_) => Peer::Unknown("it is joining a cluster".to_owned()),
        })
    }
}
