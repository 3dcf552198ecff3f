//! libvirt of a node.
//!
//! # Flow
//! Files → what stands in front of the emulator → `libvirtd` → its first answer (which is slow: it asks the emulator
//! what it can) and the KVM probe beside it → `oaas-virt-type` for nova-compute → tend the guests' processes, hand a newer
//! certificate to their consoles, keep what they write there short.
//!
//! # Guarantees
//! A guest outlives this pod: its process is moved out of the pod's cgroups as soon as it has started (by libvirt's
//! hook) and, should that have failed, at the next look. Ending `libvirtd` ends no guest; a new one takes them over.

mod cgroups;
mod files;
mod guests;
mod kvm;
mod logs;
mod pki;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use snafu::ResultExt as _;
use tokio::time::sleep;
use tracing::{info, warn};

pub use guests::{Hook, Treatment, hook, memory_mib as guests_memory_mib};

use super::error::{Error, ReadSnafu};
use super::{system, vswitch};
use crate::context::Context;
use oaas_agent_config::Program;
use oaas_agent_config::{Datapath, Libvirt, VirtType};

/// The file, in libvirt's run directory, that tells nova-compute how guests are run.
pub const VIRT_TYPE_FILE: &str = "oaas-virt-type";

/// How long `libvirtd` may take to its first answer.
const START_SECONDS: u64 = 120;

/// Where Nova keeps what guests write to their first serial port, each in a directory of its own.
const INSTANCES: &str = "/var/lib/nova/instances";

/// How often the guests' processes are looked at.
const TEND: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize)]
struct Report<'a> {
    virt_type: VirtType,
    virt_type_reason: &'a str,
    datapath: Datapath,
    /// Whether the emulator is told not to offer large segments to guests.
    emulator_wrapped: bool,
    #[serde(flatten)]
    tended: &'a guests::Tended,
}

/// The word that libvirt and Nova have for it.
pub const fn virt_type_name(virt_type: VirtType) -> &'static str {
    match virt_type {
        VirtType::Kvm => "kvm",
        VirtType::Qemu => "qemu",
    }
}

/// Run libvirt; comes back only with an error.
pub async fn run(role: &Libvirt, context: &Context) -> Result<(), Error> {
    let treatment = Treatment { cgroup: role.cgroup.clone(), oom_score_adj: role.oom_score_adj };
    write_files(role, &treatment).await?;
    own_kvm_device().await?;
    let datapath = system::wait_for(context, "Open vSwitch on this node", async || {
        vswitch::datapath(&role.vswitch_run_directory).await
    })
    .await;
    let emulator = PathBuf::from(format!("/usr/bin/qemu-system-{}", std::env::consts::ARCH));
    wrap_emulator(&emulator, datapath).await?;
    start(role, context)?;
    context.waits_for("libvirt's first answer and the KVM probe");
    let answer = system::within(START_SECONDS, "an answer of libvirtd", async || {
        // The first question for capabilities makes libvirt ask the emulator, which takes seconds.
        system::run(["virsh", "--quiet", "--connect", "qemu:///system", "capabilities"]).await.map(Some)
    });
    let (answer, outcome) = tokio::join!(answer, kvm::find_out(role, &emulator));
    answer?;
    let outcome = outcome?;
    info!(target: "oaas_agent", "guests are run by {}: {}", virt_type_name(outcome.virt_type), outcome.reason);
    let file = Path::new("/run/libvirt").join(VIRT_TYPE_FILE);
    system::write(&file, &format!("{}\n", virt_type_name(outcome.virt_type)), 0o644)?;
    context.running();
    let mut known = None;
    loop {
        if let Some(tls) = &role.console
            && let Err(error) = pki::follow(role, tls, known.is_none()).await
        {
            warn!(target: "oaas_agent", "guests' consoles keep their former certificate: {error}");
        }
        let tended = guests::tend(&treatment)?;
        logs::shorten(Path::new(INSTANCES));
        if known.as_ref() != Some(&tended) {
            for exposed in &tended.exposed {
                warn!(target: "oaas_agent", "a guest would end with this pod: {exposed}");
            }
            context.report(&Report {
                virt_type: outcome.virt_type,
                virt_type_reason: &outcome.reason,
                datapath,
                emulator_wrapped: datapath == Datapath::Netdev,
                tended: &tended,
            });
            known = Some(tended);
        }
        sleep(TEND).await;
    }
}

async fn write_files(role: &Libvirt, treatment: &Treatment) -> Result<(), Error> {
    for directory in ["/run/libvirt", "/run/oaas", "/var/lib/libvirt", "/etc/libvirt/qemu"] {
        system::make_directory(Path::new(directory))?;
    }
    let identity = Path::new("/var/lib/libvirt/oaas-host-uuid");
    if system::read_if_there(identity)?.is_none_or(|text| text.trim().len() != 36) {
        system::write(identity, &system::read(Path::new("/proc/sys/kernel/random/uuid"))?, 0o644)?;
    }
    let host_uuid = system::read(identity)?;
    if let Some(tls) = &role.console {
        pki::write(Path::new(files::CONSOLE_PKI), role, tls).await?;
    }
    let address = match &role.migration {
        Some(migration) => {
            pki::write(Path::new(files::PKI), role, &migration.tls).await?;
            system::environment("NODE_ADDRESS")?
        }
        None => String::new(),
    };
    system::write(Path::new("/etc/libvirt/qemu.conf"), &files::qemu_conf(role), 0o644)?;
    let libvirtd = files::libvirtd_conf(role, host_uuid.trim(), &address);
    system::write(Path::new("/etc/libvirt/libvirtd.conf"), &libvirtd, 0o644)?;
    let agent = std::env::current_exe().context(ReadSnafu { path: "/proc/self/exe" })?;
    system::write(Path::new("/etc/libvirt/hooks/qemu"), &files::hook(&agent, treatment), 0o755)
}

/// Put a `/dev/kvm` of this container's own in place of the node's, for the group of guests' processes: the node's
/// device keeps its owner and permissions.
async fn own_kvm_device() -> Result<(), Error> {
    let device = Path::new("/dev/kvm");
    let own = Path::new("/run/oaas/kvm");
    if !device.exists() || own.exists() {
        return Ok(());
    }
    system::run(["mknod", "--mode=0660", "/run/oaas/kvm", "c", "10", "232"]).await?;
    system::run(["chown", "root:kvm", "/run/oaas/kvm"]).await?;
    system::run(["mount", "--bind", "/run/oaas/kvm", "/dev/kvm"]).await?;
    Ok(())
}

/// Put the wrapper in place of the emulator, with the userspace datapath. The wrapper is a file of the node, mounted
/// over the emulator's: so its times stay the same, and libvirt need not ask the emulator anew after each restart.
async fn wrap_emulator(emulator: &Path, datapath: Datapath) -> Result<(), Error> {
    let real = PathBuf::from(format!("{}.real", emulator.display()));
    let wrapped = real.exists();
    if datapath != Datapath::Netdev {
        // In a container that ran before with the other datapath.
        if wrapped {
            system::run(["umount", &emulator.display().to_string()]).await?;
            system::run(["umount", &real.display().to_string()]).await?;
            system::remove(&real)?;
        }
        return Ok(());
    }
    if wrapped {
        return Ok(());
    }
    let version = system::run([&emulator.display().to_string(), "--version"]).await?;
    let text = files::emulator_wrapper(emulator, &real, version.lines().next().unwrap_or_default());
    let file = Path::new("/var/lib/libvirt/oaas-emulator");
    system::write(file, &text, 0o755)?;
    // It must stay in its directory: it finds its firmware relative to where it is.
    system::write(&real, "", 0o755)?;
    system::run(["mount", "--bind", &emulator.display().to_string(), &real.display().to_string()]).await?;
    // In a pod that shares mounts with its node the root is shared: without this the wrapper would be mounted over the
    // second name as well, since that is the same file, and would call itself for ever.
    system::run(["mount", "--make-private", &real.display().to_string()]).await?;
    system::run(["mount", "--bind", &file.display().to_string(), &emulator.display().to_string()]).await?;
    Ok(())
}

fn start(role: &Libvirt, context: &Context) -> Result<(), Error> {
    let pid_file = "/run/oaas/libvirtd.pid";
    system::remove(Path::new(pid_file))?;
    let mut command = ["libvirtd", "--pid-file", pid_file].map(str::to_owned).to_vec();
    command.extend(role.migration.as_ref().map(|_| "--listen".to_owned()));
    context.start("libvirtd", &Program::new(command))?;
    context.report(&json!({ "starts": "libvirtd" }));
    Ok(())
}
