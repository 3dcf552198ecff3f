//! libvirt's configuration files: pure functions.

use std::fmt::Write as _;
use std::path::Path;

use super::guests::Treatment;
use oaas_agent_config::Libvirt;

/// Where the certificates stand under the names that libvirt's and QEMU's migration want.
pub const PKI: &str = "/run/oaas/libvirt-pki";

/// Where the certificates of guests' consoles stand; the node's directory, since guests outlive the pod.
pub const CONSOLE_PKI: &str = "/run/libvirt/oaas-console";

/// A string as libvirt's configuration files have it.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

/// `qemu.conf`.
pub fn qemu_conf(role: &Libvirt) -> String {
    let user = quoted(&role.guest_user);
    let mut text = format!(
        "# Guests run as a user without rights, behind a system call filter.\n\
         user = {user}\n\
         group = {user}\n\
         seccomp_sandbox = 1\n\
         security_driver = \"none\"\n\
         # Disks belong to that user while their guest runs, to root else.\n\
         dynamic_ownership = 1\n\
         remember_owner = 0\n\
         # A guest outlives this pod: no mount namespace made of the pod's, no log daemon in it.\n\
         namespaces = []\n\
         stdio_handler = \"file\"\n"
    );
    if role.console.is_some() {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "vnc_tls = 1\nvnc_tls_x509_cert_dir = {pki}\nvnc_tls_x509_verify = 1\n",
            pki = quoted(CONSOLE_PKI)
        );
    }
    if role.migration.is_some() {
        let _ = write!(
            text,
            "migrate_tls_x509_cert_dir = {pki}\nmigrate_tls_x509_verify = 1\n",
            pki = quoted(PKI)
        );
    }
    text
}

/// `libvirtd.conf`. `host_uuid` names this host among those that guests migrate between.
pub fn libvirtd_conf(role: &Libvirt, host_uuid: &str, address: &str) -> String {
    let mut text = format!(
        "unix_sock_group = \"libvirt\"\n\
         unix_sock_ro_perms = \"0770\"\n\
         unix_sock_rw_perms = \"0770\"\n\
         auth_unix_ro = \"none\"\n\
         auth_unix_rw = \"none\"\n\
         # The machine's own would be the same for several nodes on one machine.\n\
         host_uuid = {uuid}\n\
         log_outputs = \"3:stderr\"\n\
         listen_tcp = 0\n",
        uuid = quoted(host_uuid),
    );
    match &role.migration {
        None => text.push_str("listen_tls = 0\n"),
        Some(migration) => {
            let allowed: Vec<String> = migration.allowed.iter().map(|name| quoted(name)).collect();
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "listen_tls = 1\n\
                 listen_addr = {address}\n\
                 auth_tls = \"none\"\n\
                 key_file = \"{PKI}/server-key.pem\"\n\
                 cert_file = \"{PKI}/server-cert.pem\"\n\
                 ca_file = \"{PKI}/ca-cert.pem\"\n\
                 tls_allowed_dn_list = [{allowed}]\n",
                address = quoted(address),
                allowed = allowed.join(", "),
            );
        }
    }
    text
}

/// The hook that libvirt calls for every guest; `agent` is this program.
pub fn hook(agent: &Path, treatment: &Treatment) -> String {
    format!(
        "#!/bin/sh\n\
         # A guest runs on whether or not it could be moved out of the pod; the agent says so in its status.\n\
         {agent} agent libvirt-hook --cgroup '{cgroup}' --oom-score-adj={score} -- \"$1\" \"$2\" </dev/null\n\
         exit 0\n",
        agent = agent.display(),
        cgroup = treatment.cgroup,
        score = treatment.oom_score_adj,
    )
}

/// What stands in front of the emulator with the userspace datapath. Connection tracking and routers there drop the
/// large segments that a guest would send if it were offered to. `identity` is that of the emulator: libvirt remembers
/// what an emulator can by the file's time, so the file must change when, and only when, the emulator does.
pub fn emulator_wrapper(emulator: &Path, real: &Path, identity: &str) -> String {
    let mut text =
        format!("{WRAPPER_HEAD}# {identity}\nexec -a {} {} \"$@\"", emulator.display(), real.display());
    for property in ["gso", "host_tso4", "host_tso6", "host_ecn", "host_ufo"] {
        let _ = write!(text, " -global virtio-net-pci.{property}=off");
    }
    text.push('\n');
    text
}

/// How every wrapper begins.
pub const WRAPPER_HEAD: &str = "#!/bin/bash\n# Guests are not offered to send large segments.\n";

#[cfg(test)]
mod tests {
    use super::*;
    use oaas_agent_config::Migration;
    use oaas_agent_config::TlsFiles;

    fn role(migration: Option<Migration>) -> Libvirt {
        let mut role: Libvirt = serde_json::from_str("{}").unwrap();
        role.migration = migration;
        role
    }

    #[test]
    fn guests_have_no_rights() {
        let text = qemu_conf(&role(None));
        assert!(text.contains("user = \"libvirt-qemu\"\n") && text.contains("seccomp_sandbox = 1\n"));
        assert!(!text.contains("migrate_tls"));
        let mut role = role(None);
        role.console = Some(TlsFiles::default());
        let text = qemu_conf(&role);
        assert!(text.contains("vnc_tls = 1\n") && text.contains("vnc_tls_x509_verify = 1\n"), "{text}");
    }

    #[test]
    fn listens_only_where_guests_may_migrate() {
        assert!(libvirtd_conf(&role(None), "u", "10.0.0.1").contains("listen_tls = 0\n"));
        let migration = Migration { tls: TlsFiles::default(), allowed: vec!["CN=libvirt.demo*".to_owned()] };
        let text = libvirtd_conf(&role(Some(migration)), "u", "10.0.0.1");
        assert!(text.contains("listen_addr = \"10.0.0.1\"\n"));
        assert!(text.contains("tls_allowed_dn_list = [\"CN=libvirt.demo*\"]\n"));
    }

    #[test]
    fn the_wrapper_passes_everything_on() {
        let text = emulator_wrapper(Path::new("/usr/bin/q"), Path::new("/usr/bin/q.real"), "10.0");
        assert!(text.contains("exec -a /usr/bin/q /usr/bin/q.real \"$@\" -global virtio-net-pci.gso=off"));
    }

    #[test]
    fn the_hook_never_stops_a_guest() {
        let treatment = Treatment { cgroup: "machine".to_owned(), oom_score_adj: -500 };
        let text = hook(Path::new("/usr/bin/oaas"), &treatment);
        assert!(text.contains(
            "/usr/bin/oaas agent libvirt-hook --cgroup 'machine' --oom-score-adj=-500 -- \"$1\" \"$2\""
        ));
        assert!(text.ends_with("exit 0\n"));
    }
}
