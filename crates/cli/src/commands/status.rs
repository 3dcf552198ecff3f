//! `oaas status`: how far a cloud is.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use oaas_api::{OpenStack, OpenStackStatus};
use oaas_node::{Instance, Probe, State, Status as HostStatus};
use serde_json::json;

use crate::clouds::{self, CloudArgs};
use crate::context::Context;
use crate::host;
use crate::kubernetes::Patience;
use crate::progress::Style;
use crate::progress::style::Tone;
use crate::report::Failure;
use crate::silence::{self, Silence};
use crate::table::columns;

/// Arguments of `oaas status`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Print what runs for the embedded cluster, and what is changed on this machine for it
    #[arg(long, conflicts_with = "cloud")]
    pub host: bool,
    #[command(flatten)]
    cloud: CloudArgs,
}

/// Print the status.
pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    if arguments.host {
        return of_host(context);
    }
    let (client, cloud) = clouds::connect(&context.global, &arguments.cloud, Patience::Answer).await?;
    let silence = silence::of_operator(&client).await;
    let status = cloud.status.clone().unwrap_or_default();
    let value = json!({
        "namespace": cloud.namespace(),
        "name": cloud.name_any(),
        "release": cloud.spec.release,
        "status": status,
        "operatorSilent": silence,
    });
    let style = Style::from_environment(context.colors());
    context.answer(&value, |_| text(&cloud, &status, silence.as_ref(), Timestamp::now(), style))
}

/// Print what is on this machine.
fn of_host(context: &Context) -> Result<(), Failure> {
    let options = host::options(&context.global, "status --host")?;
    let status = oaas_node::status(&options)?;
    context.answer(&status, |status| host_text(&options.instance, status))
}

/// What is on this machine, as people read it.
pub fn host_text(instance: &Instance, status: &HostStatus) -> String {
    if status.nodes.is_empty() && status.host_changes.is_empty() {
        return format!("there is no embedded Kubernetes `{instance}` on this machine\n");
    }
    let mut rows = vec![["NODE", "SERVICE", "STATE", "RESTARTS"].map(str::to_owned).to_vec()];
    for node in &status.nodes {
        let state = node.process.as_ref().map_or("is off", |_| "runs");
        rows.push(vec![node.name.clone(), String::new(), state.to_owned()]);
        rows.extend(node.services.iter().map(|record| {
            let state = match &record.state {
                State::Waiting { until } => {
                    let until: Vec<&str> = until.iter().map(place).collect();
                    format!("waits for {}", until.join(", "))
                }
                State::Running { .. } => "runs".to_owned(),
                State::Resting { how } => format!("rests: {how}"),
            };
            vec![String::new(), record.service.name.clone(), state, record.restarts.to_string()]
        }));
    }
    let mut out = columns(&rows);
    out += &format!("\nkubeconfig  {}\n", status.kubeconfig.display());
    if !status.ports.is_empty() {
        out += "\npublished\n";
        for port in &status.ports {
            out += &format!("  {} -> {}\n", port.listen, port.node_port);
        }
    }
    out += "\nchanged on this machine (`oaas down` undoes it)\n";
    out += &status.host_changes.iter().map(|change| format!("  {change}\n")).collect::<String>();
    out
}

/// What a service waits for.
fn place(probe: &Probe) -> &str {
    match probe {
        Probe::Https { url, .. } => url,
        Probe::Socket { path } => path,
    }
}

/// The status as people read it.
pub fn text(
    cloud: &OpenStack,
    status: &OpenStackStatus,
    silence: Option<&Silence>,
    now: Timestamp,
    style: Style,
) -> String {
    let phase = status.phase.map_or_else(|| "not looked at yet".to_owned(), |phase| phase.to_string());
    let ready = status.ready.as_deref().map(|ready| format!(", {ready} ready")).unwrap_or_default();
    let mut out = format!(
        "{}  release {}  {phase}{ready}\n",
        style.paint(Tone::Strong, &format!("{}/{}", cloud.namespace().unwrap_or_default(), cloud.name_any())),
        cloud.spec.release,
    );
    if let Some(silence) = silence {
        let old = style.paint(Tone::Bad, "old news:");
        out.push_str(&format!("{old} the operator {}; `oaas why` tells more\n", silence.words()));
    }
    if let Some(waiting) = &status.waiting_for {
        out.push_str(&format!("waits for {waiting}; `oaas why` tells more\n"));
    }
    for told in &status.credentials {
        if let Some(message) = &told.message {
            out.push_str(&format!("{}: {message}\n", told.name));
        }
    }
    if !status.components.is_empty() {
        out.push('\n');
        let mut rows =
            vec![["COMPONENT", "READY", "SINCE", "REASON", "WAITING FOR"].map(str::to_owned).to_vec()];
        rows.extend(status.components.iter().map(|component| {
            let since = component.since.as_ref().map(|since| age(now.duration_since(since.0)));
            vec![
                component.name.clone(),
                component.ready.clone(),
                since.unwrap_or_default(),
                component.reason.map(|reason| reason.to_string()).unwrap_or_default(),
                component.waiting_for.clone().unwrap_or_default(),
            ]
        }));
        out.push_str(&columns(&rows));
    }
    if !status.servers.is_empty() {
        out.push('\n');
        let mut rows = vec![["SERVER", "STATUS", "ADDRESS", "FLOATING IP"].map(str::to_owned).to_vec()];
        rows.extend(status.servers.iter().map(|server| {
            vec![
                server.name.clone(),
                server.status.clone(),
                server.address.clone().unwrap_or_default(),
                server.floating_ip.clone().unwrap_or_default(),
            ]
        }));
        out.push_str(&columns(&rows));
    }
    if let Some(endpoints) = &status.endpoints {
        let named = [
            ("Horizon", &endpoints.horizon),
            ("identity", &endpoints.identity),
            ("console", &endpoints.console),
            ("statistics", &endpoints.statistics),
        ];
        let rows: Vec<Vec<String>> = named
            .into_iter()
            .filter_map(|(name, url)| url.as_ref().map(|url| vec![name.to_owned(), url.clone()]))
            .collect();
        if !rows.is_empty() {
            out.push('\n');
            out.push_str(&columns(&rows));
        }
    }
    out
}

/// `45s`, `12m`, `3h`, `8d`, as kubectl has it.
fn age(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::progress::Style;
    use crate::silence::Silence;
    use oaas_api::status::{Endpoints, ServerSummary};
    use oaas_api::{ComponentSummary, OpenStack, OpenStackSpec, OpenStackStatus, Phase, Reason};

    #[test]
    fn the_status_of_a_cloud_on_its_way() {
        let spec = OpenStackSpec { release: "2026.1".to_owned(), ..OpenStackSpec::default() };
        let mut cloud = OpenStack::new("demo", spec);
        cloud.metadata.namespace = Some("demo".to_owned());
        let component = |name: &str, ready: &str, reason, waiting: Option<&str>| ComponentSummary {
            name: name.to_owned(),
            ready: ready.to_owned(),
            reason,
            waiting_for: waiting.map(str::to_owned),
            since: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                "2026-11-23T06:00:00Z".parse().unwrap(),
            )),
            ..ComponentSummary::default()
        };
        let status = OpenStackStatus {
            phase: Some(Phase::Deploying),
            ready: Some("1/2".to_owned()),
            waiting_for: Some("galera: its volume".to_owned()),
            components: vec![
                component("rabbitmq", "1/1", None, None),
                component("galera", "0/1", Some(Reason::VolumePending), Some("its volume")),
            ],
            servers: vec![ServerSummary {
                name: "demo-vm".to_owned(),
                project: None,
                status: "ACTIVE".to_owned(),
                address: Some("172.16.0.10".to_owned()),
                floating_ip: Some("192.168.100.120".to_owned()),
            }],
            endpoints: Some(Endpoints {
                horizon: Some("https://127.0.0.1:30080".to_owned()),
                ..Endpoints::default()
            }),
            ..OpenStackStatus::default()
        };
        let now = "2026-11-23T06:05:00Z".parse().unwrap();
        insta::assert_snapshot!(text(&cloud, &status, None, now, Style::PLAIN));
        let since = "2026-11-23T06:00:00Z".parse().unwrap();
        let silence = Silence { since, seconds: 300 };
        let old = text(&cloud, &status, Some(&silence), now, Style::PLAIN);
        assert!(
            old.contains("\nold news: the operator has given no sign of life for 5 min, since 2026-11-23"),
            "{old}"
        );
    }
}
