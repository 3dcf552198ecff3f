//! Ports of the host that lead into the cluster.

use oaas_feedback::Task;

use crate::error::Error;
use crate::files::{self, Access};
use crate::host;
use crate::ledger::Ledger;
use crate::lock::Lock;
use crate::network;
use crate::options::{Options, PortMap};

/// Publish these ports on the host, and no others of this instance.
///
/// Addresses of the instance's own bridges are always included: guests and pods reach the same ports there.
pub async fn publish_ports(options: &Options, ports: &[PortMap], task: &Task) -> Result<(), Error> {
    let layout = options.layout();
    let _lock = Lock::take(&layout.lock(), &options.instance)?;
    let mut ledger = Ledger::open(&layout.ledger())?;
    if published(options, Vec::new())? == ports {
        task.unchanged();
        return Ok(());
    }
    task.end_with(set(options, ports, &mut ledger).await)
}

/// Publish these ports and no others.
pub(crate) async fn set(options: &Options, published: &[PortMap], ledger: &mut Ledger) -> Result<(), Error> {
    let instance = &options.instance;
    host::set_table(&instance.table(), &network::host_table(instance, published), ledger).await?;
    keep(options, published)
}

/// The ports that are published, or `else_these` if nothing was published yet.
pub(crate) fn published(options: &Options, else_these: Vec<PortMap>) -> Result<Vec<PortMap>, Error> {
    let text = files::read_if_there(&options.layout().ports())?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(else_these))
}

/// Write down what is published.
fn keep(options: &Options, ports: &[PortMap]) -> Result<(), Error> {
    let text = serde_json::to_vec(ports).unwrap_or_default();
    files::write(&options.layout().ports(), &text, Access::Public)?;
    Ok(())
}
