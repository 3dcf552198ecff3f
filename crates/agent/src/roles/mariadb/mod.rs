//! A MariaDB server, a member of a Galera cluster.
//!
//! # Flow
//! Survey the volume (what is there, at which position) → report it → ask the other members → [`decide`] → initialise,
//! bootstrap or join → ensure accounts → watch, remember the primary view on the volume, report.
//!
//! # Assumptions
//! The members' pods start in parallel (`podManagementPolicy: Parallel`) and are found by name before they are ready
//! (`publishNotReadyAddresses`): a member that starts last may be the one whose report is needed.

pub mod accounts;
pub mod decide;
pub mod server;
pub mod status;
pub mod volume;
pub mod writer;

#[cfg(test)]
mod decide_tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use nix::unistd::{Uid, User};
use oaas_feedback::{Explain, Kind};
use serde::Deserialize;
use snafu::{OptionExt as _, ResultExt as _, Snafu, ensure};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use self::decide::{Decision, Intent, Position, Report, Serving, Volume, Wait, decide, turn};
use self::server::Start;
use self::volume::Store;
use self::writer::Labels;
use crate::context::{Context, Outcome, Phase, Role};
use crate::error::{Failure, chain};
use crate::{checks, mysql};
use crate::{config_file, prepare};
use oaas_agent_config::{Mariadb, Role as RoleConfig};

/// How long a new data directory may take.
const INSTALL_LIMIT: Duration = Duration::from_mins(5);
/// How long finding the position may take: it replays the log of a crash.
const RECOVER_LIMIT: Duration = Duration::from_hours(1);
/// How long another member's agent may take to answer.
const PEER_LIMIT: Duration = Duration::from_secs(2);
/// How long the server may take for a question through its socket.
const SOCKET_LIMIT: Duration = Duration::from_secs(5);
/// How long a server that answers may be without any connection to the cluster: it has given up then.
const GIVEN_UP: Duration = Duration::from_secs(15);
/// Between two looks while something is waited for.
const SOON: Duration = Duration::from_millis(100);
/// Between two looks at the other members, and at a server that serves.
const LATER: Duration = Duration::from_secs(1);
/// How often the writer's label is put on again, in case somebody took it off.
const AFFIRM: Duration = Duration::from_secs(10);

/// What can go wrong with the role.
#[derive(Debug, Snafu)]
enum Error {
    #[snafu(display("failed to find {host} among the members {members:?}"))]
    NotAMember { host: String, members: Vec<String> },
    #[snafu(display("failed to find the name of the user {uid} that the agent runs as"))]
    NoUser { uid: u32 },
    #[snafu(display("failed to find the position of the database in {data}: its log names none"))]
    NoPosition { data: String },
    #[snafu(display(
        "failed to keep the server in the cluster: it has given up and is not connected to any member"
    ))]
    GaveUp,
    #[snafu(display("failed to understand the override: {what}"))]
    Override { what: String },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NotAMember { .. } | Self::Override { .. } => Kind::Input,
            Self::NoUser { .. } => Kind::Environment,
            Self::NoPosition { .. } | Self::GaveUp => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotAMember { .. } => Some("the members' first labels are the pods' names".to_owned()),
            Self::NoUser { uid } => {
                Some(format!("run the pod as a user of the image's /etc/passwd, not as {uid}"))
            }
            Self::GaveUp => Some(
                "the reason stands in the server's log above; a restart of the container joins again"
                    .to_owned(),
            ),
            Self::NoPosition { .. } | Self::Override { .. } => None,
        }
    }
}

impl Role for Mariadb {
    async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        let mut member = Member::new(self, context)?;
        member.lay_out()?;
        let volume = member.survey().await?;
        info!(target: "oaas_agent", ?volume, "the volume was surveyed");
        member.report.volume = Some(volume);
        member.start().await?;
        member.watch().await
    }
}

/// One running member.
struct Member {
    context: Context,
    /// Followed as the mounted file changes: accounts, the override, whether the cloud is new.
    config: Mariadb,
    me: String,
    system_user: String,
    store: Store,
    report: Report,
    /// Whether its pod has the writer's label, and since when that is known.
    labelled: Option<(bool, Instant)>,
    /// Why it could not be labelled the last time.
    label_failure: Option<String>,
}

impl Member {
    fn new(config: &Mariadb, context: &Context) -> Result<Self, Failure> {
        let host = context.host();
        let me = config.members.iter().find(|member| server::first_label(member) == host);
        let me = me.with_context(|| NotAMemberSnafu { host, members: config.members.clone() })?.clone();
        let uid = Uid::effective();
        let system_user =
            User::from_uid(uid).ok().flatten().with_context(|| NoUserSnafu { uid: uid.as_raw() })?.name;
        let store = Store::new(&config.volume);
        let report = Report { last_view: store.last_view()?, ..Report::default() };
        Ok(Self {
            context: context.clone(),
            config: config.clone(),
            me,
            system_user,
            store,
            report,
            labelled: None,
            label_failure: None,
        })
    }

    /// The system user that the server runs as: the configured one where the agent is root, else the agent's own.
    fn server_user(&self) -> &str {
        if Uid::effective().is_root() { &self.config.user } else { &self.system_user }
    }

    /// The directories and files that the server needs, at each start.
    fn lay_out(&self) -> Result<(), Failure> {
        let owner = Some(self.config.user.as_str());
        let run_dir = server::run_dir(&self.config);
        prepare::make_dir(&run_dir, Some("0755"), owner)?;
        prepare::copy_tls(&self.config.tls, &server::tls_files(&self.config), owner)?;
        let text = server::options(&self.config, &self.me, &self.store.data(), self.server_user());
        prepare::write_file(&server::options_path(&self.config), text.as_bytes(), 0o600, owner)?;
        self.store.remove_fresh()?;
        prepare::make_dir(&self.store.data(), Some("0700"), owner)?;
        self.store.keep_room();
        Ok(())
    }

    /// What does the volume hold, and where is it?
    async fn survey(&self) -> Result<Volume, Failure> {
        let (empty, database, cut_off) =
            (self.store.is_empty()?, self.store.has_database(), self.store.transfer_cut_off());
        let recovered = if database && !cut_off { Some(self.position().await?) } else { None };
        Ok(volume::judge(empty, database, cut_off, recovered, self.report.last_view.as_ref()))
    }

    /// Where the database is: by Galera's file after a clean stop, else by the server's own recovery.
    async fn position(&self) -> Result<Position, Failure> {
        if let Some(state) = self.store.grastate()? {
            let clean = Position { uuid: state.uuid, seqno: state.seqno };
            if clean.is_defined() {
                return Ok(clean);
            }
        }
        self.context.waits_for("the database's recovery from its log");
        let name = "mariadbd --wsrep-recover";
        let recover = server::recover(&self.config);
        let mut finished = self.context.finish(name, &recover, RECOVER_LIMIT).await?;
        if !finished.status.success() && finished.stderr.contains("tc-heuristic-recover") {
            // Transactions that were prepared and not committed when it crashed: no client was told that they are done.
            warn!(target: "oaas_agent", "rolls back transactions that were prepared when the server crashed");
            let mut heuristic = recover.clone();
            heuristic.command.push("--tc-heuristic-recover=ROLLBACK".to_owned());
            // It exits with a failure once it is done.
            self.context.finish("mariadbd --tc-heuristic-recover", &heuristic, RECOVER_LIMIT).await?;
            finished = self.context.finish(name, &recover, RECOVER_LIMIT).await?;
        }
        let log = finished.stderr.clone();
        finished.success(name)?;
        let data = || self.store.data().display().to_string();
        let position = volume::parse_recovered(&log).with_context(|| NoPositionSnafu { data: data() })?;
        Ok(position)
    }

    /// Decide until there is something to start, and start it.
    async fn start(&mut self) -> Result<(), Failure> {
        let mut joins_since = None;
        let how = loop {
            self.follow_config();
            let reports = self.reports().await;
            let decision = decide(&self.me, &self.intent()?, &reports);
            self.decided(&decision);
            match decision {
                Decision::Initialise => {
                    self.initialise().await?;
                    break Start::Bootstrap;
                }
                Decision::Bootstrap { .. } => break Start::Bootstrap,
                Decision::Join => {
                    let since = *joins_since.get_or_insert_with(Instant::now);
                    match turn(&self.me, &self.config.members, &reports, since.elapsed()) {
                        None => break Start::Join(self.config.members.clone()),
                        Some(first) => self.context.waits_for(Wait::Turn(first).to_string()),
                    }
                }
                Decision::Wait(wait) => self.context.waits_for(wait.to_string()),
                Decision::Refuse(refusal) => self.context.waits_for(refusal.to_string()),
            }
            sleep(LATER).await;
        };
        self.report.joining = how != Start::Bootstrap;
        self.context.report(&self.report);
        self.store.forget_view()?;
        if how == Start::Bootstrap {
            self.store.allow_bootstrap(Some(&self.config.user))?;
        }
        let position = match &self.report.volume {
            Some(Volume::Data(position)) => Some(position.clone()),
            _ => None,
        };
        self.context.waits_for("the server to start");
        self.context.start("mariadbd", &server::start(&self.config, &how, position.as_ref()))?;
        Ok(())
    }

    async fn initialise(&self) -> Result<(), Failure> {
        self.context.waits_for("a new data directory");
        let fresh = self.store.fresh();
        prepare::make_dir(&fresh, Some("0700"), Some(&self.config.user))?;
        let install = server::install(&self.config, &fresh, self.server_user());
        self.context
            .finish("mariadb-install-db", &install, INSTALL_LIMIT)
            .await?
            .success("mariadb-install-db")?;
        self.store.adopt_fresh()?;
        Ok(())
    }

    fn intent(&self) -> Result<Intent, Error> {
        let chosen = match &self.config.override_ {
            Some(chosen) => {
                let parsed = chosen.position.parse::<Position>();
                let position = parsed.map_err(|what| OverrideSnafu { what }.build())?;
                Some((chosen.bootstrap_from.clone(), position))
            }
            None => None,
        };
        Ok(Intent { members: self.config.members.clone(), new_cloud: self.config.new_cloud, chosen })
    }

    fn decided(&mut self, decision: &Decision) {
        if self.report.decision.as_ref() != Some(decision) {
            info!(target: "oaas_agent", ?decision, "decided");
            self.report.decision = Some(decision.clone());
        }
        self.context.report(&self.report);
    }

    /// Take over what may change while the agent runs. A file that is half written or wrong changes nothing.
    fn follow_config(&mut self) -> bool {
        match config_file::read(self.context.config_path()) {
            Ok(fresh) => match fresh.role {
                RoleConfig::Mariadb(fresh) if fresh != self.config => {
                    self.config = fresh;
                    return true;
                }
                _ => {}
            },
            Err(error) => {
                warn!(target: "oaas_agent", "goes on with the former configuration: {}", chain(&error));
            }
        }
        false
    }

    /// This member's report, and those of the members that answer.
    async fn reports(&self) -> BTreeMap<String, Report> {
        self.context.report(&self.report);
        let others = self.config.members.iter().filter(|member| **member != self.me);
        let ask = others.map(async |member| {
            let url = format!("http://{member}:{}/status", self.config.peer_port);
            let report = timeout(PEER_LIMIT, ask_peer(&url)).await.ok()??;
            Some((member.clone(), report))
        });
        let mut reports: BTreeMap<String, Report> = join_all(ask).await.into_iter().flatten().collect();
        reports.insert(self.me.clone(), self.report.clone());
        reports
    }

    /// Watch over the running server for ever.
    async fn watch(&mut self) -> Result<Outcome, Failure> {
        let mut conn: Option<Conn> = None;
        let mut connected = Instant::now();
        loop {
            let looked = match timeout(SOCKET_LIMIT, self.look(&mut conn)).await {
                Ok(looked) => looked.map_err(|error| {
                    if error.is_an_answer() {
                        self.context.answered();
                    }
                    chain(&error)
                }),
                Err(_) => Err(format!("no answer through its socket within {} s", SOCKET_LIMIT.as_secs())),
            };
            match looked {
                Ok(serving) => {
                    self.context.answered();
                    let (primary, synced) = (serving.primary, serving.synced);
                    if serving.connected {
                        connected = Instant::now();
                    }
                    ensure!(connected.elapsed() < GIVEN_UP, GaveUpSnafu);
                    self.report.serving = Some(serving);
                    if primary && synced {
                        self.report.joining = false;
                        let served = self.serve(&mut conn).await;
                        self.goes_on(served, &mut conn);
                    } else {
                        self.gives_up_writing();
                        if !primary && self.context.phase() == Phase::Running {
                            let healed = self.heal(&mut conn).await;
                            self.goes_on(healed, &mut conn);
                        } else {
                            self.context
                                .waits_for("the server to follow the cluster (a state transfer, perhaps)");
                        }
                    }
                }
                Err(why) => {
                    conn = None;
                    connected = Instant::now();
                    self.report.serving = None;
                    self.gives_up_writing();
                    if self.context.phase() == Phase::Preparing {
                        self.context.waits_for(format!("the server to answer: {why}"));
                    }
                }
            }
            self.context.report(&self.report);
            sleep(if self.context.phase() == Phase::Running { LATER } else { SOON }).await;
        }
    }

    /// What fails beside a server that serves, such as a write to a full disk, is told and tried again: ending the server
    /// for it would be worse.
    fn goes_on(&mut self, done: Result<(), Failure>, conn: &mut Option<Conn>) {
        let failure = done.err().map(|failure| {
            // Perhaps it is the connection that broke.
            *conn = None;
            let hint = failure.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("{failure}{hint}")
        });
        if let (Some(failure), Phase::Preparing) = (&failure, self.context.phase()) {
            self.context.waits_for(format!("the server's accounts: {failure}"));
        }
        self.context.alarms(failure.into_iter().collect());
    }

    /// Ask the server how it is.
    async fn look(&self, conn: &mut Option<Conn>) -> Result<Serving, mysql::Error> {
        let open = if let Some(open) = conn {
            open
        } else {
            let socket: &Path = &self.config.socket;
            conn.insert(mysql::connect_socket(socket, &self.system_user).await?)
        };
        let pairs = mysql::pairs(open, "ask for the state of Galera", status::QUERY).await?;
        Ok(status::understand(&pairs))
    }

    /// The server serves: its accounts are as wanted, and the volume remembers the view.
    async fn serve(&mut self, conn: &mut Option<Conn>) -> Result<(), Failure> {
        let changed = self.follow_config();
        if changed || self.context.phase() == Phase::Preparing {
            let Some(open) = conn.as_mut() else { return Ok(()) };
            self.context.waits_for("the server's accounts");
            accounts::ensure(open, &self.config.accounts).await?;
            self.context.running();
        }
        // A renewed certificate: new connections of clients get it at once.
        let owner = Some(self.config.user.as_str());
        if prepare::copy_tls(&self.config.tls, &server::tls_files(&self.config), owner)?
            && let Some(open) = conn.as_mut()
        {
            info!(target: "oaas_agent", "takes over renewed TLS files");
            open.query_drop("FLUSH LOCAL SSL")
                .await
                .context(mysql::QuerySnafu { what: "take over renewed TLS files" })?;
            if self.config.members.len() > 1 {
                // Those among the members, too. A provider that does not know the option takes them at its next start.
                let reload = "SET GLOBAL wsrep_provider_options = 'socket.ssl_reload=1'";
                if let Err(error) = open.query_drop(reload).await {
                    warn!(target: "oaas_agent", "replication keeps its TLS files until the next start: {error}");
                }
            }
        }
        let reports = if self.config.members.len() > 1 { self.reports().await } else { BTreeMap::new() };
        self.choose_writer(&reports).await;
        self.remember(&reports)
    }

    /// See to it that the one member that takes the writes has the label, and no other.
    async fn choose_writer(&mut self, reports: &BTreeMap<String, Report>) {
        let Some(config) = self.config.writer.clone().filter(|_| self.config.members.len() > 1) else {
            return;
        };
        let wanted = writer::choose(&self.me, &self.config.members, reports) == Some(&self.me);
        let due = |at: Instant| at.elapsed() >= AFFIRM;
        if self.labelled.is_some_and(|(is, at)| is == wanted && !(wanted && due(at))) {
            return;
        }
        match self.label(&Labels::new(&config), wanted).await {
            Ok(()) => {
                if self.report.writer != wanted {
                    info!(target: "oaas_agent", writer = wanted, "who takes the writes has changed");
                }
                self.report.writer = wanted;
                self.labelled = Some((wanted, Instant::now()));
                self.label_failure = None;
            }
            Err(error) => {
                let failure = chain(&error);
                if self.label_failure.as_ref() != Some(&failure) {
                    warn!(target: "oaas_agent", "{failure}");
                    self.label_failure = Some(failure);
                }
            }
        }
    }

    async fn label(&self, labels: &Labels, wanted: bool) -> Result<(), writer::Error> {
        labels.set(server::first_label(&self.me), wanted).await?;
        if wanted && !self.report.writer {
            // Who had it and is cut off cannot take it off by itself.
            for other in self.config.members.iter().filter(|member| **member != self.me) {
                labels.set(server::first_label(other), false).await?;
            }
        }
        Ok(())
    }

    /// It does not serve, so it takes no writes: when it serves again, another one may.
    fn gives_up_writing(&mut self) {
        self.report.writer = false;
        self.labelled = None;
    }

    fn remember(&mut self, reports: &BTreeMap<String, Report>) -> Result<(), Failure> {
        let Some(Serving { position: Some(position), members, .. }) = self.report.serving.clone() else {
            return Ok(());
        };
        let synced: BTreeSet<String> = if members.len() > 1 {
            let is_synced = |report: &Report| report.serving.as_ref().is_some_and(|serving| serving.synced);
            reports.iter().filter(|(_, report)| is_synced(report)).map(|(member, _)| member.clone()).collect()
        } else {
            BTreeSet::from([self.me.clone()])
        };
        if let Some(view) = status::to_remember(self.report.last_view.as_ref(), position, &members, &synced) {
            self.store.remember(&view)?;
            self.store.keep_room();
            self.report.last_view = Some(view);
        }
        Ok(())
    }

    /// The server runs outside of a primary component: Galera heals a partition by itself, but not a cluster most of
    /// whose members restarted. Then one of those that know most makes the new component.
    async fn heal(&mut self, conn: &mut Option<Conn>) -> Result<(), Failure> {
        let reports = self.reports().await;
        let decision = decide(&self.me, &self.intent()?, &reports);
        self.decided(&decision);
        if matches!(decision, Decision::Bootstrap { .. })
            && let Some(open) = conn.as_mut()
        {
            warn!(target: "oaas_agent", "makes a primary component of the members that are left");
            let what = "make a primary component";
            open.query_drop("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'")
                .await
                .context(mysql::QuerySnafu { what })?;
        }
        Ok(())
    }
}

/// The part of another agent's `/status` that matters here.
#[derive(Deserialize)]
struct PeerStatus {
    report: Option<Report>,
    phase: Option<String>,
}

async fn ask_peer(url: &str) -> Option<Report> {
    let (status, body) = checks::get(url, None).await.ok()?;
    let peer = serde_json::from_str::<PeerStatus>(&body).ok()?;
    let leaving = peer.phase.as_deref() == Some("stopping");
    (status == 200).then_some(Report { leaving, ..peer.report? })
}
