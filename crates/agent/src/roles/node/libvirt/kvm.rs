//! Whether this node's KVM runs guests: the only answer that counts is that of a guest.
//!
//! A `/dev/kvm` that opens says little: there are kernels whose KVM runs tiny guests and no stock kernel.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use snafu::ResultExt as _;
use tokio::time::sleep;
use tracing::info;

use super::super::error::{Error, ReadSnafu, UnfitSnafu};
use super::super::system;
use crate::program;
use oaas_agent_config::Program;
use oaas_agent_config::{Libvirt, VirtType, VirtTypeChoice};

/// Where the result is kept; on the node, so that a restart of the pod need not probe again.
const MEMORY: &str = "/var/lib/libvirt/oaas-kvm-probe.json";

/// What the guest writes to its serial port when it is up.
const UP: &str = "GUEST-UP";

/// What the emulator writes when the kernel gives up on a guest.
const BROKEN: &str = "KVM internal error";

/// What a result holds for: another kernel, boot, emulator or guest is probed anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circumstances {
    boot: String,
    kernel: String,
    emulator: String,
    guest: String,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How guests are to be run.
    pub virt_type: VirtType,
    /// Why, in words.
    pub reason: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    circumstances: Circumstances,
    outcome: Outcome,
}

/// What is known without booting a guest; nothing where only that can tell.
fn known(choice: VirtTypeChoice, has_device: bool, has_guest: bool) -> Option<Outcome> {
    let qemu = |reason: &str| Some(Outcome { virt_type: VirtType::Qemu, reason: reason.to_owned() });
    match (choice, has_device, has_guest) {
        (VirtTypeChoice::Qemu, _, _) => qemu("configured"),
        (_, false, _) => qemu("the node has no /dev/kvm"),
        (VirtTypeChoice::Auto, true, false) => qemu("the image has no guest to probe /dev/kvm with"),
        (VirtTypeChoice::Kvm, true, false) => Some(Outcome {
            virt_type: VirtType::Kvm,
            reason: "configured; the image has no guest to probe /dev/kvm with".to_owned(),
        }),
        (VirtTypeChoice::Auto | VirtTypeChoice::Kvm, true, true) => None,
    }
}

/// Judge by what the guest and the emulator have written so far; nothing while it may still come up.
fn judge(serial: &str, errors: &str, ended: bool, elapsed: Duration, limit: Duration) -> Option<Outcome> {
    let failed = |reason: String| Some(Outcome { virt_type: VirtType::Qemu, reason });
    if serial.contains(UP) {
        let reason = format!("a guest was up under KVM after {:.1} s", elapsed.as_secs_f32());
        return Some(Outcome { virt_type: VirtType::Kvm, reason });
    }
    if errors.contains(BROKEN) {
        return failed("KVM gave up on the probe's guest (KVM internal error)".to_owned());
    }
    if ended {
        let last = errors.trim().lines().last().unwrap_or("it said nothing");
        return failed(format!("the emulator ended under KVM: {last}"));
    }
    (elapsed >= limit).then(|| Outcome {
        virt_type: VirtType::Qemu,
        reason: format!("the probe's guest was not up under KVM within {} s", limit.as_secs()),
    })
}

/// Find out how guests are run here.
pub async fn find_out(role: &Libvirt, emulator: &Path) -> Result<Outcome, Error> {
    let outcome = match known(role.virt_type, Path::new("/dev/kvm").exists(), role.guest_disk.exists()) {
        Some(outcome) => outcome,
        None => probed(role, emulator).await?,
    };
    if role.virt_type == VirtTypeChoice::Kvm && outcome.virt_type != VirtType::Kvm {
        return UnfitSnafu {
            what: format!("failed to use KVM, as configured: {}", outcome.reason),
            hint: "choose the virtualisation type `auto` or `qemu` for this node",
        }
        .fail();
    }
    Ok(outcome)
}

async fn probed(role: &Libvirt, emulator: &Path) -> Result<Outcome, Error> {
    let circumstances = Circumstances {
        boot: system::read(Path::new("/proc/sys/kernel/random/boot_id"))?.trim().to_owned(),
        kernel: system::read(Path::new("/proc/sys/kernel/osrelease"))?.trim().to_owned(),
        emulator: system::run([&emulator.display().to_string(), "--version"])
            .await?
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
        guest: digest(&role.guest_disk)?,
    };
    let memory = Path::new(MEMORY);
    let before = system::read_if_there(memory)?.and_then(|text| serde_json::from_str::<Memory>(&text).ok());
    if let Some(before) = before.filter(|before| before.circumstances == circumstances) {
        return Ok(before.outcome);
    }
    let outcome = boot(role, emulator).await?;
    info!(target: "oaas_agent", "KVM probe: {}", outcome.reason);
    let text = serde_json::json!(Memory { circumstances, outcome: outcome.clone() }).to_string();
    system::write(memory, &text, 0o644)?;
    Ok(outcome)
}

fn digest(path: &Path) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    let mut file = std::fs::File::open(path).context(ReadSnafu { path })?;
    std::io::copy(&mut file, &mut HashWriter(&mut hasher)).context(ReadSnafu { path })?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Boot the guest under KVM as the guests' user, and watch it.
async fn boot(role: &Libvirt, emulator: &Path) -> Result<Outcome, Error> {
    // A directory of its own that the guests' user can write to; gone with this container.
    let directory = Path::new("/run/oaas/kvm-probe");
    let (serial, errors) = (directory.join("serial.log"), directory.join("errors.log"));
    system::make_directory(directory)?;
    for path in [&serial, &errors] {
        system::remove(path)?;
    }
    system::run(["chown", &role.guest_user, &directory.display().to_string()]).await?;
    let words = [
        // The emulator's own complaints are read while it runs, so they go to a file.
        "sh",
        "-c",
        "errors=$1; shift; exec \"$@\" 2>\"$errors\"",
        "sh",
        &errors.display().to_string(),
        &emulator.display().to_string(),
        "-no-user-config",
        "-nodefaults",
        "-display",
        "none",
        "-machine",
        "q35,accel=kvm",
        "-cpu",
        "host",
        "-m",
        "256",
        "-monitor",
        "none",
        "-serial",
        &format!("file:{}", serial.display()),
        "-drive",
        &format!("file={},format=qcow2,if=virtio,snapshot=on", role.guest_disk.display()),
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    ]
    .map(str::to_owned);
    let mut command = Program::new(words);
    command.env.insert("TMPDIR".to_owned(), directory.display().to_string());
    command.directory = Some(directory.to_owned());
    // /dev/kvm is for that group.
    command.user = Some(format!("{}:kvm", role.guest_user));
    let limit = Duration::from_secs(role.probe_seconds);
    let began = Instant::now();
    let mut run = Box::pin(program::finish("the KVM probe", &command, None, limit + Duration::from_secs(5)));
    let mut ended = false;
    loop {
        tokio::select! {
            _ = &mut run, if !ended => ended = true,
            () = sleep(Duration::from_millis(100)) => {}
        }
        let said = |path| system::read_lossy(path).unwrap_or_default();
        if let Some(outcome) = judge(&said(&serial), &said(&errors), ended, began.elapsed(), limit) {
            // Dropping what runs it kills the emulator.
            return Ok(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn only_a_guest_that_is_up_proves_kvm() {
        let second = Duration::from_secs(1);
        assert_eq!(judge("booting", "", false, second, LIMIT), None);
        assert_eq!(judge("x\nGUEST-UP 2.1", "", false, second, LIMIT).unwrap().virt_type, VirtType::Kvm);
        let broken = judge("", "KVM internal error. Suberror: 1", false, second, LIMIT).unwrap();
        assert_eq!(broken.virt_type, VirtType::Qemu);
        let ended =
            judge("", "a\nfailed to initialize kvm: Permission denied\n", true, second, LIMIT).unwrap();
        assert_eq!(ended.reason, "the emulator ended under KVM: failed to initialize kvm: Permission denied");
        let slow = judge("booting", "", false, LIMIT, LIMIT).unwrap();
        assert_eq!(slow.reason, "the probe's guest was not up under KVM within 20 s");
    }

    #[test]
    fn probes_only_where_it_must() {
        assert_eq!(known(VirtTypeChoice::Auto, true, true), None);
        assert_eq!(known(VirtTypeChoice::Auto, false, true).unwrap().reason, "the node has no /dev/kvm");
        assert_eq!(known(VirtTypeChoice::Auto, true, false).unwrap().virt_type, VirtType::Qemu);
        assert_eq!(known(VirtTypeChoice::Qemu, true, true).unwrap().reason, "configured");
        assert_eq!(known(VirtTypeChoice::Kvm, true, false).unwrap().virt_type, VirtType::Kvm);
    }
}
