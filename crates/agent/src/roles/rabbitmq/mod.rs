//! A `RabbitMQ` server, a member of a cluster of any odd size.
//!
//! # Flow
//! Write settings, cookie, TLS files and definitions → start → follow the accounts: what changes in `agent.json` or in
//! the mounted passwords is imported into the running server, and accounts that are gone are removed from it.
//!
//! # Assumptions
//! The members' pods start in parallel and are found by name before they are ready: the server forms its cluster by
//! itself from the list of members, and after a crash of all of them it waits for the others by itself.
//!
//! # Caveats
//! Traffic between members is not encrypted (Erlang's distribution), so a `NetworkPolicy` has to keep it among them. A
//! member whose volume was lost is refused by the others until it is forgotten by `rabbitmqctl forget_cluster_node`.

mod alarms;
mod definitions;
mod settings;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use oaas_feedback::{Explain, Kind};
use serde::Serialize;
use snafu::{OptionExt as _, ResultExt as _, Snafu};
use tokio::time::sleep;
use tracing::{info, warn};

use self::definitions::{Definitions, definitions, users};
use self::settings::{Files, RUN_DIR};
use crate::context::{Context, Outcome, Role};
use crate::error::{Failure, chain};
use crate::mysql::read_password;
use crate::{config_file, prepare};
use oaas_agent_config::{ListedAccount, MessagingAccount, Rabbitmq, Role as RoleConfig};

/// Between two looks at the accounts.
const FOLLOW: Duration = Duration::from_secs(5);
/// How long a command to the server may take: it starts an Erlang machine of its own.
const CONTROL_LIMIT: Duration = Duration::from_mins(1);

#[derive(Debug, Snafu)]
enum Error {
    #[snafu(display("failed to find {host} among the members {members:?}"))]
    NotAMember { host: String, members: Vec<String> },
    #[snafu(display("failed to read {}", path.display()))]
    Read { path: PathBuf, source: io::Error },
    #[snafu(display("failed to understand {}", path.display()))]
    Remembered { path: PathBuf, source: serde_json::Error },
    #[snafu(display("failed to understand the list of accounts {}", path.display()))]
    List { path: PathBuf, source: serde_json::Error },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NotAMember { .. } => Kind::Input,
            Self::Read { .. } => Kind::Environment,
            Self::Remembered { .. } | Self::List { .. } => Kind::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotAMember { .. } => Some("the members' first labels are the pods' names".to_owned()),
            Self::Read { path, .. } | Self::List { path, .. } => {
                Some(format!("check that the Secret with {} is mounted", path.display()))
            }
            Self::Remembered { path, .. } => Some(format!(
                "{} lists the accounts the agent made; removing it loses only that list",
                path.display()
            )),
        }
    }
}

impl Role for Rabbitmq {
    async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        let member = Member::new(self, context)?;
        let wanted = Member::wanted(self)?;
        member.lay_out(&wanted)?;
        context.start("rabbitmq-server", &settings::server(self, &member.me, &member.files))?;
        context.running();
        member.follow(wanted).await
    }
}

/// What the role reports in `/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Report {
    /// The Erlang node's name.
    node: String,
    /// All members' nodes.
    members: Vec<String>,
    /// The accounts that the server was told.
    accounts: BTreeSet<String>,
    /// Why the accounts are not as wanted, while they are not.
    accounts_fail: Option<String>,
}

struct Member {
    context: Context,
    config: Rabbitmq,
    me: String,
    files: Files,
}

/// What the server is to know.
struct Wanted {
    definitions: Definitions,
    users: BTreeSet<String>,
}

impl Member {
    fn new(config: &Rabbitmq, context: &Context) -> Result<Self, Error> {
        let host = context.host();
        let me = config.members.iter().find(|member| member.split('.').next() == Some(host));
        let me = me.with_context(|| NotAMemberSnafu { host, members: config.members.clone() })?.clone();
        Ok(Self { context: context.clone(), config: config.clone(), me, files: Files::default() })
    }

    /// What the server is to know by this configuration and the mounted passwords.
    fn wanted(config: &Rabbitmq) -> Result<Wanted, Failure> {
        let mut passwords: Vec<String> = config
            .accounts
            .iter()
            .map(|account| read_password(&account.user, &account.password_file))
            .collect::<Result<_, _>>()?;
        let mut accounts = config.accounts.clone();
        if let Some(path) = &config.accounts_file {
            let text = std::fs::read_to_string(path).context(ReadSnafu { path })?;
            let listed: Vec<ListedAccount> = serde_json::from_str(&text).context(ListSnafu { path })?;
            for ListedAccount { user, password, vhost } in listed {
                let password_file = path.clone();
                accounts.push(MessagingAccount { user, password_file, vhost, monitoring: false });
                passwords.push(password);
            }
        }
        Ok(Wanted { definitions: definitions(&accounts, &passwords), users: users(&accounts) })
    }

    /// The files that the server needs, at each start.
    fn lay_out(&self, wanted: &Wanted) -> Result<(), Failure> {
        let owner = Some(self.config.user.as_str());
        prepare::make_dir(RUN_DIR.as_ref(), Some("0750"), owner)?;
        prepare::make_dir(&self.config.volume, None, owner)?;
        self.copy_tls()?;
        let cookie_file = &self.config.cookie_file;
        let cookie = std::fs::read_to_string(cookie_file).context(ReadSnafu { path: cookie_file })?;
        // Erlang reads it as the owner alone, and takes a final newline for a part of it.
        let path = self.config.volume.join(".erlang.cookie");
        // It lies on the volume, which may be full.
        if std::fs::read(&path).ok().as_deref() != Some(cookie.trim().as_bytes()) {
            prepare::write_file(&path, cookie.trim().as_bytes(), 0o400, owner)?;
        }
        let settings = settings::settings(&self.config, &self.files);
        prepare::write_file(&self.files.settings, settings.as_bytes(), 0o640, owner)?;
        prepare::write_file(&self.files.plugins, b"[].\n", 0o640, owner)?;
        prepare::write_file(
            &self.files.command_line,
            settings::command_line(&self.me).as_bytes(),
            0o644,
            None,
        )?;
        self.write_definitions(wanted)
    }

    fn copy_tls(&self) -> Result<(), Failure> {
        // Erlang reads them anew for new connections, within two minutes.
        prepare::copy_tls(&self.config.tls, &self.files.tls, Some(&self.config.user))?;
        Ok(())
    }

    fn write_definitions(&self, wanted: &Wanted) -> Result<(), Failure> {
        let path = &self.files.definitions;
        let text = serde_json::to_vec(&wanted.definitions).context(RememberedSnafu { path })?;
        prepare::write_file(path, &text, 0o600, Some(&self.config.user))?;
        Ok(())
    }

    /// Keep the accounts as wanted for as long as the server runs.
    async fn follow(&self, mut told: Wanted) -> Result<Outcome, Failure> {
        let mut fails = None;
        loop {
            let report = Report {
                node: settings::node(&self.me),
                members: self.config.members.iter().map(|member| settings::node(member)).collect(),
                accounts: told.users.clone(),
                accounts_fail: fails.take(),
            };
            self.context.report(&report);
            self.context.alarms(alarms::alarms(&self.config, &self.context.programs()));
            sleep(FOLLOW).await;
            match self.tell(&told).await {
                Ok(Some(fresh)) => told = fresh,
                Ok(None) => {}
                Err(failure) => {
                    warn!(target: "oaas_agent", "the accounts are not as wanted: {failure}");
                    fails = Some(failure.to_string());
                }
            }
        }
    }

    /// Compare what is wanted now with what the server was told, and tell it the difference.
    async fn tell(&self, told: &Wanted) -> Result<Option<Wanted>, Failure> {
        self.copy_tls()?;
        let config = match config_file::read(self.context.config_path()) {
            Ok(config) => config,
            Err(error) => {
                warn!(target: "oaas_agent", "goes on with the former configuration: {}", chain(&error));
                return Ok(None);
            }
        };
        let RoleConfig::Rabbitmq(config) = config.role else { return Ok(None) };
        let wanted = Self::wanted(&config)?;
        let remembered = self.remembered()?;
        let made = self.remember_more(&remembered, &wanted.users)?;
        let changed = wanted.definitions != told.definitions;
        if changed {
            info!(target: "oaas_agent", "imports changed accounts");
            self.write_definitions(&wanted)?;
            let path = self.files.definitions.display().to_string();
            self.control("import_definitions", ["import_definitions", &path]).await?;
        }
        let gone: Vec<&String> = made.difference(&wanted.users).collect();
        for user in &gone {
            info!(target: "oaas_agent", "removes the account {user}");
            self.control("delete_user", ["delete_user", user]).await?;
        }
        if !gone.is_empty() {
            self.write_remembered(&wanted.users)?;
        }
        Ok(changed.then_some(wanted))
    }

    async fn control<const N: usize>(&self, name: &str, arguments: [&str; N]) -> Result<(), Failure> {
        let program = settings::control(&self.config, &self.me, &self.files, arguments);
        self.context.finish(name, &program, CONTROL_LIMIT).await?.success(name)?;
        Ok(())
    }

    fn memory(&self) -> PathBuf {
        self.config.volume.join("oaas-accounts.json")
    }

    /// The accounts that the agent made and has not removed: also those of former configurations.
    fn remembered(&self) -> Result<BTreeSet<String>, Error> {
        let path = self.memory();
        match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).context(RememberedSnafu { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(source) => Err(source).context(ReadSnafu { path }),
        }
    }

    fn write_remembered(&self, users: &BTreeSet<String>) -> Result<(), Failure> {
        let path = self.memory();
        let text = serde_json::to_vec(users).context(RememberedSnafu { path: &path })?;
        prepare::write_file(&path, &text, 0o640, Some(&self.config.user))?;
        Ok(())
    }

    /// Remember accounts before they are made, so that a killed agent forgets none.
    fn remember_more(
        &self,
        before: &BTreeSet<String>,
        wanted: &BTreeSet<String>,
    ) -> Result<BTreeSet<String>, Failure> {
        let all: BTreeSet<String> = before.union(wanted).cloned().collect();
        if all != *before {
            self.write_remembered(&all)?;
        }
        Ok(all)
    }
}
