//! WSGI applications behind uWSGI.

use std::collections::BTreeMap;

use oaas_agent_config::{Process, Program, Role, Stop, UwsgiProbe};
use oaas_catalog::{Component, FileFormat, Misfit, Wsgi};

use crate::document::{Content, Document, Sections};
use crate::overrides::resources;
use crate::resolve::{Place, World};
use crate::sensitive::Sensitive;

/// Seconds that a client may be silent within a request, as many as in front of the public endpoint. uWSGI's own 4 cut
/// off uploads that only pause. Connections without a request take no worker meanwhile: the kernel keeps them
/// (`TCP_DEFER_ACCEPT`, uwsgi's `core/socket.c`).
const PATIENCE: &str = "300";
/// Where uWSGI's settings are.
const SETTINGS: &str = "/etc/oaas/uwsgi.ini";

/// A WSGI application: uWSGI with TLS in front of it, as the agent's role `process`.
///
/// `start-time` is what Neutron's maintenance asks for (neutron, `doc/source/admin/config-wsgi.rst`); it is expanded in
/// an ini file only. Clients are told to close, since uWSGI's own HTTP does close each connection after its answer.
pub(crate) fn expand(
    world: &World<'_>,
    place: Place<'_>,
    component: &Component,
    wsgi: &Wsgi,
) -> Result<(Role, Document), Misfit> {
    let port = component.ports.iter().find(|port| port.name == wsgi.port).map_or(0, |port| port.port);
    let workers = resources(world.inputs, place.service, place.name, &place.pod.resources).workers;
    let entry = match &wsgi.warm_up {
        None => ("module", wsgi.module.clone()),
        Some(warm_up) => {
            let (package, name) = wsgi.module.rsplit_once(':').unwrap_or((&wsgi.module, "application"));
            ("eval", format!("from {package} import {name}; {warm_up}"))
        }
    };
    let fixed = [
        entry,
        ("virtualenv", "/opt/openstack".to_owned()),
        ("https-socket", format!("0.0.0.0:{port},/etc/oaas/tls/tls.crt,/etc/oaas/tls/tls.key")),
        ("master", "true".to_owned()),
        ("processes", workers.to_string()),
        ("threads", "4".to_owned()),
        ("enable-threads", "true".to_owned()),
        ("lazy-apps", "true".to_owned()),
        ("need-app", "true".to_owned()),
        ("die-on-term", "true".to_owned()),
        ("thunder-lock", "true".to_owned()),
        ("buffer-size", "65535".to_owned()),
        ("disable-logging", "true".to_owned()),
        ("log-4xx", "true".to_owned()),
        ("log-5xx", "true".to_owned()),
        ("add-header", "Connection: close".to_owned()),
        ("set", "start-time=%t".to_owned()),
        ("socket-timeout", PATIENCE.to_owned()),
        ("http-timeout", PATIENCE.to_owned()),
        ("stats", UwsgiProbe::default().stats),
    ];
    let mut options: BTreeMap<String, Vec<String>> =
        fixed.into_iter().map(|(name, value)| (name.to_owned(), vec![value])).collect();
    for (name, value) in &wsgi.options {
        options.insert(name.clone(), vec![world.text(place, value)]);
    }
    let settings = Document {
        path: SETTINGS.into(),
        format: FileFormat::Oslo,
        content: Sensitive::new(Content::Sections(Sections::from([("uwsgi".to_owned(), options)]))),
    };
    let mut program = Program::new(["uwsgi", "--ini", SETTINGS]);
    program.stop = Stop { drain_seconds: 2, ..Stop::default() };
    program.env = wsgi.env.iter().map(|(name, value)| (name.clone(), world.text(place, value))).collect();
    let pre = wsgi.pre.iter().map(|step| step.fill(&world.at(place))).collect::<Result<_, _>>()?;
    Ok((Role::Process(Process { pre, program }), settings))
}
