//! How the outside reaches an instance, and how it reaches the outside: published ports, and the host as the router of the clouds'
//! external networks.

use oaas_feedback::Task;

use crate::error::Error;
use crate::files::{self, Access};
use crate::ledger::Ledger;
use crate::lock::Lock;
use crate::options::{ExternalNetwork, Options, PortMap};
use crate::{host, network};

/// Publish these ports on the host, and no others of this instance.
///
/// Addresses of the instance's own bridges are always included: guests and pods reach the same ports there.
pub async fn publish_ports(options: &Options, ports: &[PortMap], task: &Task) -> Result<(), Error> {
    change(options, |now| Outside { ports: ports.to_vec(), ..now }, task).await
}

/// Make the host the router of these external networks, and of no others of this instance.
pub async fn route_external(
    options: &Options,
    networks: &[ExternalNetwork],
    task: &Task,
) -> Result<(), Error> {
    change(options, |now| Outside { networks: networks.to_vec(), ..now }, task).await
}

/// What stands towards the outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outside {
    /// Published ports.
    pub ports: Vec<PortMap>,
    /// External networks whose router the host is.
    pub networks: Vec<ExternalNetwork>,
}

/// Makes it so from nothing, on a host whose bridges stand: what was there last, or what the options say for a start.
pub(crate) async fn restore(options: &Options, ledger: &mut Ledger) -> Result<(), Error> {
    let kept = kept(options)?;
    let start = || Outside { ports: options.ports.clone(), networks: options.external.clone() };
    let wanted = kept.clone().unwrap_or_else(start);
    set(options, &kept.unwrap_or_default(), &wanted, ledger).await
}

/// What follows from what stands now, looked at and changed under the instance's lock.
async fn change(
    options: &Options,
    wanted: impl FnOnce(Outside) -> Outside,
    task: &Task,
) -> Result<(), Error> {
    let layout = options.layout();
    let _lock = Lock::take(&layout.lock(), &options.instance)?;
    let mut ledger = Ledger::open(&layout.ledger())?;
    let kept = kept(options)?;
    let former = kept.clone().unwrap_or_default();
    let wanted = wanted(former.clone());
    if kept.as_ref() == Some(&wanted) {
        task.unchanged();
        return Ok(());
    }
    task.end_with(set(options, &former, &wanted, &mut ledger).await)
}

async fn set(
    options: &Options,
    former: &Outside,
    wanted: &Outside,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let (instance, layout) = (&options.instance, options.layout());
    // Killed between this and the next line, the next run finds less to take away than there is, and `down` all of it.
    host::take(network::external(instance, &former.networks, &wanted.networks, &host::standing()), ledger)
        .await?;
    files::write(&layout.external(), &json(&wanted.networks), Access::Public)?;
    let rules = network::host_table(instance, &options.subnets(), &wanted.networks, &wanted.ports);
    host::set_table(&instance.table(), &rules, ledger).await?;
    files::write(&layout.ports(), &json(&wanted.ports), Access::Public)?;
    Ok(())
}

/// The ports that are published.
pub(crate) fn published(options: &Options) -> Result<Vec<PortMap>, Error> {
    Ok(kept(options)?.unwrap_or_default().ports)
}

/// What was made last; none before the first time.
fn kept(options: &Options) -> Result<Option<Outside>, Error> {
    let layout = options.layout();
    let Some(ports) = files::read_if_there(&layout.ports())? else { return Ok(None) };
    let networks = files::read_if_there(&layout.external())?;
    let networks = networks.and_then(|text| serde_json::from_str(&text).ok());
    Ok(Some(Outside {
        ports: serde_json::from_str(&ports).unwrap_or_default(),
        networks: networks.unwrap_or_else(|| options.external.clone()),
    }))
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
