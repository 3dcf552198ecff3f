//! When a component has started, is alive, is ready: what suits its role, with what its file says on top.

use oaas_agent_config::{
    Check, Checks, Health, HttpProbe, MysqlProbe, MysqlServer, Probe, Role as AgentRole, TlsTrust, UwsgiProbe,
};
use oaas_catalog::{Component, Get, Misfit, Provides, Reference, Service, Template, Value};

use crate::credentials::{OWN_AUTHORITY, account, certificate_secret};
use crate::generation::newest;
use crate::resolve::{ACCOUNTS, AUTHORITY_FILE, Place, World};

/// Milliseconds that the first answer may take: it loads what the later ones have.
const FIRST_ANSWER: u64 = 15_000;
/// Milliseconds without an answer after which it counts as hung.
const PATIENT: u64 = 8000;
/// Seconds that starting may take.
const START: u32 = 180;

/// What is asked of a component.
pub(crate) struct Checked {
    /// What the agent is told; nothing where there is nothing to ask.
    pub(crate) health: Option<Health>,
    /// Seconds that starting may take before it counts as hung.
    pub(crate) startup_seconds: u32,
    /// Does it ask the database as its service, and so need that account?
    pub(crate) asks_database: bool,
}

/// The file with the password of a service's own account in the database, among the mounted accounts.
pub(crate) fn database_account_file(service: &str) -> String {
    format!("db-{service}")
}

/// Everything that is asked of a component whose agent has this role.
pub(crate) fn health(
    world: &World<'_>,
    service: &Service,
    component: &Component,
    role: &AgentRole,
) -> Result<Checked, Misfit> {
    let place = Place::component(service, component);
    let said = &component.health;
    let asks_database = component.pod.role.wsgi().is_some()
        && refers(world, service, component, |reference| matches!(reference, Reference::Database(_)));
    let mut checks = by_default(world, service, component, role);
    if asks_database {
        checks.ready.extend(database(world, service));
    }
    let list = |list: &Option<Template<Vec<Check>>>| {
        list.as_ref().map(|list| list.fill(&world.at(place))).transpose()
    };
    if let Some(all) = list(&said.all)? {
        checks = Checks { startup_seconds: checks.startup_seconds, ..Checks::same(&all) };
    }
    checks.startup = list(&said.startup)?.unwrap_or(checks.startup);
    checks.live = list(&said.live)?.unwrap_or(checks.live);
    checks.ready = list(&said.ready)?.unwrap_or(checks.ready);
    let startup_seconds = said.startup_seconds.or(checks.startup_seconds).unwrap_or(START);
    let Checks { startup, live, ready, .. } = checks;
    let something = [&startup, &live, &ready].iter().any(|list| !list.is_empty());
    let health = something.then_some(Health { port: said.port, bind: None, startup, live, ready });
    Ok(Checked { health, startup_seconds, asks_database })
}

/// The checks that suit a component where its file says no list.
fn by_default(world: &World<'_>, service: &Service, component: &Component, role: &AgentRole) -> Checks {
    let said = &component.health;
    let wsgi = component.pod.role.wsgi();
    if let Some(get) = said.get.clone().or_else(|| wsgi.map(|_| Get::default())) {
        let port = get.port.clone().or_else(|| wsgi.map(|wsgi| wsgi.port.clone()));
        let mut checks = of_api(world, component, &get, port.as_deref());
        if wsgi.is_some() {
            // Workers that serve long requests keep nobody from seeing that they live.
            let probe = Probe::Uwsgi(UwsgiProbe::default());
            checks.live = vec![Check::new("workers", probe).within(PATIENT)];
        }
        return checks;
    }
    if let Some(progress) = &said.progress {
        let port = progress.to.as_ref().map(|component| world.port(component));
        return Checks::of_worker(progress.still_seconds, port);
    }
    if let Some(checks) = role.checks(&world.host(&component.name)) {
        return checks;
    }
    let bus = world.provider(|provides| match provides {
        Provides::Messaging { component } => Some(component),
        _ => None,
    });
    let on_bus = component.ports.is_empty()
        && refers(world, service, component, |reference| *reference == Reference::Messaging);
    match bus.filter(|_| on_bus) {
        Some(bus) => {
            Checks::of_worker(oaas_catalog::Progress::default().still_seconds, Some(world.port(bus)))
        }
        None => Checks::default(),
    }
}

/// Its own port is asked over HTTP, by the name in its certificate.
fn of_api(world: &World<'_>, component: &Component, get: &Get, port: Option<&str>) -> Checks {
    let port = component.ports.iter().find(|found| port.is_none_or(|port| found.name == port));
    let Some(port) = port else { return Checks::default() };
    let shown = world.inputs.credentials.get(&certificate_secret(&component.name));
    let trust = if shown.is_some_and(|keys| keys.contains_key(OWN_AUTHORITY)) {
        // One that shows a certificate of the user's is asked by the name in that one.
        let ca = format!("/etc/oaas/tls/{OWN_AUTHORITY}").into();
        TlsTrust { ca, server_name: Some(world.publish.address.clone()) }
    } else {
        TlsTrust { ca: AUTHORITY_FILE.into(), server_name: Some(world.host(&component.name)) }
    };
    let scheme = if port.tls { "https" } else { "http" };
    let check = Check::new(
        port.name.clone(),
        Probe::Http(HttpProbe {
            url: format!("{scheme}://127.0.0.1:{}{}", port.port, get.path),
            tls: port.tls.then_some(trust),
            statuses: get.statuses.clone(),
            contains: None,
        }),
    );
    Checks {
        startup: vec![check.clone().within(FIRST_ANSWER)],
        live: vec![check.clone().within(PATIENT)],
        ready: vec![check],
        startup_seconds: None,
    }
}

/// The database lets the service in and answers.
fn database(world: &World<'_>, service: &Service) -> Option<Check> {
    let (host, port) = world.database_server()?;
    let file = database_account_file(&service.name);
    let server = MysqlServer {
        host,
        port,
        tls: Some(TlsTrust { ca: AUTHORITY_FILE.into(), server_name: None }),
        user: account(&service.name, newest(world.inputs, &file)),
        password_file: format!("{ACCOUNTS}/{file}").into(),
    };
    let probe = MysqlProbe { server, query: "SELECT 1".to_owned(), expect: None };
    Some(Check::new("database", Probe::Mysql(probe)))
}

/// Does its main file hold a reference of a kind?
fn refers(
    world: &World<'_>,
    service: &Service,
    component: &Component,
    is: impl Fn(&Reference) -> bool,
) -> bool {
    let fragments = component.pod.config.iter().filter_map(|name| world.catalog.fragment(service, name));
    let values =
        fragments.flat_map(|fragment| fragment.options.values()).flat_map(|options| options.values());
    values.flat_map(Value::scalars).flat_map(oaas_catalog::Scalar::references).any(is)
}
