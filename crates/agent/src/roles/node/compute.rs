//! nova-compute of a node.

use std::path::Path;

use serde_json::json;
use snafu::ResultExt as _;

use super::error::{Error, ReadSnafu, UnsafeSnafu};
use super::reserve::{self, Reserved};
use super::{libvirt, system};
use crate::context::Context;
use oaas_agent_config::Program;
use oaas_agent_config::{NovaCompute, VirtType};

/// The name of the file in Nova's state directory by which a compute node is known for ever.
const COMPUTE_ID: &str = "compute_id";

/// What becomes of this node's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    /// It is there.
    Known(String),
    /// There is none, and nothing that needs one: Nova makes it.
    New,
    /// It cannot be gone on with.
    Lost { what: String, hint: String },
}

/// Judge by the identity's file and the number of instances that are on this node's disk.
fn identity(file: Option<&str>, instances: usize) -> Identity {
    let hint = "restore the file from the compute node's record (`openstack hypervisor list`), or empty the node's \
                Nova directory after its instances were evacuated";
    match file.map(str::trim) {
        Some(id) if is_uuid(id) => Identity::Known(id.to_owned()),
        Some(other) => Identity::Lost {
            what: format!("the identity of this compute node is damaged: `{other}`"),
            hint: hint.to_owned(),
        },
        None if instances == 0 => Identity::New,
        None => Identity::Lost {
            what: format!("the identity of this compute node is lost, while it holds {instances} instances"),
            hint: hint.to_owned(),
        },
    }
}

/// Whether it is a UUID as Nova writes them: also the name of each instance's directory.
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What only this node can say of itself: read last, so that it holds.
fn identity_part(node: &str, address: &str) -> String {
    format!("[DEFAULT]\nhost = {node}\nmy_ip = {address}\n")
}

/// What suits this node where nothing is `said` in the cloud's own configuration: read first, so that what is said there
/// holds.
fn default_part(address: &str, found: VirtType, reserved: Reserved, said: &str) -> String {
    let found = libvirt::virt_type_name(found);
    let virt_type = option(said, "libvirt", "virt_type").unwrap_or(found);
    let cpu = match virt_type {
        // Modes of the host have no meaning under emulation, and the emulator's own default lacks what today's systems are built for
        // (x86-64-v2). A model beside another mode is refused, so there is none where the mode is said.
        "qemu" if option(said, "libvirt", "cpu_mode").is_none() => "cpu_mode = custom\ncpu_models = Nehalem",
        "qemu" => "cpu_mode = none",
        _ => "cpu_mode = host-model",
    };
    let Reserved { memory_mib, disk_mib } = reserved;
    format!(
        "[DEFAULT]\n\
         reserved_host_memory_mb = {memory_mib}\n\
         reserved_host_disk_mb = {disk_mib}\n\
         \n\
         [libvirt]\n\
         virt_type = {found}\n\
         {cpu}\n\
         live_migration_inbound_addr = {address}\n\
         \n\
         [vnc]\n\
         server_listen = {address}\n\
         server_proxyclient_address = {address}\n"
    )
}

/// The value of an option in a file as oslo.config reads it: the last one there.
fn option<'a>(text: &'a str, section: &str, option: &str) -> Option<&'a str> {
    let mut here = "";
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            here = name;
        } else if let (true, Some((name, value))) = (here == section, line.split_once('='))
            && name.trim() == option
        {
            found = Some(value.trim());
        }
    }
    found
}

/// The files that a command is told with `--config-file`.
fn config_files(command: &[String]) -> impl Iterator<Item = &String> {
    command.windows(2).filter(|pair| pair[0] == "--config-file").map(|pair| &pair[1])
}

/// Wait for libvirt, write the node's part, start nova-compute.
pub async fn run(role: &NovaCompute, context: &Context) -> Result<(), Error> {
    let (node, address) = (system::environment("NODE_NAME")?, system::environment("NODE_ADDRESS")?);
    let instances = role.state_directory.join("instances");
    system::make_directory(&instances)?;
    let file = system::read_if_there(&role.state_directory.join(COMPUTE_ID))?;
    let id = match identity(file.as_deref(), count_instances(&instances)?) {
        Identity::Known(id) => Some(id),
        Identity::New => None,
        Identity::Lost { what, hint } => return UnsafeSnafu { what, hint }.fail(),
    };
    let file = role.libvirt_run_directory.join(libvirt::VIRT_TYPE_FILE);
    let virt_type = system::wait_for(context, "libvirt on this node", async || {
        let socket = role.libvirt_run_directory.join("libvirt-sock");
        // The file outlives libvirt; the socket's file too, so it is asked.
        let answers = tokio::net::UnixStream::connect(&socket).await.is_ok();
        let virt_type = match system::read_if_there(&file)?.as_deref().map(str::trim) {
            Some("kvm") => Some(VirtType::Kvm),
            Some("qemu") => Some(VirtType::Qemu),
            _ => None,
        };
        Ok(virt_type.filter(|_| answers))
    })
    .await;
    let mut said = String::new();
    for file in config_files(&role.command) {
        said += &system::read_if_there(Path::new(file))?.unwrap_or_default();
    }
    let reserved = reserve::measure(&role.state_directory, &instances)?;
    let defaults = role.node_file.with_file_name("nova-defaults.conf");
    system::write(&defaults, &default_part(&address, virt_type, reserved, &said), 0o644)?;
    system::write(&role.node_file, &identity_part(&node, &address), 0o644)?;
    let file = |path: &Path| ["--config-file".to_owned(), path.display().to_string()];
    let mut command = role.command.clone();
    let arguments = command.split_off(command.len().min(1));
    command.extend(file(&defaults).into_iter().chain(arguments).chain(file(&role.node_file)));
    context.start("nova-compute", &Program::new(command))?;
    context.report(&json!({ "node": node, "address": address, "virt_type": virt_type, "compute_id": id, "reserved": reserved }));
    Ok(())
}

fn count_instances(directory: &Path) -> Result<usize, Error> {
    let entries = std::fs::read_dir(directory).context(ReadSnafu { path: directory })?;
    let mut count = 0;
    for entry in entries {
        let name = entry.context(ReadSnafu { path: directory })?.file_name();
        count += usize::from(is_uuid(&name.to_string_lossy()));
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESERVED: Reserved = Reserved { memory_mib: 4096, disk_mib: 10_240 };
    const ID: &str = "6f9c1d5e-3a53-4c2e-9a5b-0d8f5f1b2c3d";

    #[test]
    fn never_makes_a_second_identity() {
        assert_eq!(identity(Some(&format!("{ID}\n")), 3), Identity::Known(ID.to_owned()));
        assert_eq!(identity(None, 0), Identity::New);
        assert!(
            matches!(identity(None, 2), Identity::Lost { what, .. } if what.contains("holds 2 instances"))
        );
        assert!(matches!(identity(Some(""), 0), Identity::Lost { .. }));
    }

    #[test]
    fn the_nodes_own_is_said_last_and_its_defaults_first() {
        assert_eq!(identity_part("node1", "10.87.0.11"), "[DEFAULT]\nhost = node1\nmy_ip = 10.87.0.11\n");
        let defaults = |found, said| default_part("10.87.0.11", found, RESERVED, said);
        assert!(
            defaults(VirtType::Qemu, "")
                .contains("virt_type = qemu\ncpu_mode = custom\ncpu_models = Nehalem\n")
        );
        let mode = "[libvirt]\ncpu_mode = none\n";
        assert!(!defaults(VirtType::Qemu, mode).contains("cpu_models"));
        assert!(defaults(VirtType::Kvm, "").contains("virt_type = kvm\ncpu_mode = host-model\n"));
        assert!(defaults(VirtType::Kvm, "").starts_with("[DEFAULT]\nreserved_host_memory_mb = 4096\n"));
        assert!(defaults(VirtType::Kvm, "").contains("server_listen = 10.87.0.11\n"));
    }

    #[test]
    fn the_processors_mode_suits_the_type_that_the_user_says() {
        let said = "[DEFAULT]\nvirt_type = kvm\n[libvirt]\nimages_type = qcow2\nvirt_type = qemu\n[vnc]\n";
        assert!(
            default_part("a", VirtType::Kvm, RESERVED, said)
                .contains("cpu_mode = custom\ncpu_models = Nehalem\n")
        );
        assert_eq!(option(said, "libvirt", "virt_type"), Some("qemu"));
        assert_eq!(option(said, "vnc", "virt_type"), None);
    }

    #[test]
    fn the_files_of_a_command_are_found() {
        let command = ["nova-compute", "--config-file", "/a", "--config-file", "/b"].map(str::to_owned);
        assert_eq!(config_files(&command).collect::<Vec<_>>(), ["/a", "/b"]);
    }

    #[test]
    fn counts_only_instances() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["_base", "locks", "compute_nodes", ID] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        assert_eq!(count_instances(directory.path()).unwrap(), 1);
    }
}
