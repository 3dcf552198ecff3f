//! The server's settings and environment, from the role's configuration alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use oaas_agent_config::{Program, Rabbitmq, TlsFiles};

/// Where Debian's package has the scripts that do not change user by themselves.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";

/// Where the agent writes what the server reads.
pub const RUN_DIR: &str = "/run/rabbitmq";

/// Per cent of the memory limit beyond which publishers are held back.
pub const MEMORY_SHARE: u64 = 60;

/// The written files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// `rabbitmq.conf`.
    pub settings: PathBuf,
    /// The list of plugins.
    pub plugins: PathBuf,
    /// Accounts and virtual hosts; holds password hashes.
    pub definitions: PathBuf,
    /// The TLS files as the server's user can read them.
    pub tls: TlsFiles,
    /// What the command line reads by itself, so that `rabbitmqctl` works as people type it.
    pub command_line: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        let run = Path::new(RUN_DIR);
        let tls = run.join("tls");
        Self {
            settings: run.join("rabbitmq.conf"),
            plugins: run.join("enabled_plugins"),
            definitions: run.join("definitions.json"),
            command_line: "/etc/rabbitmq/rabbitmq-env.conf".into(),
            tls: TlsFiles { ca: tls.join("ca.crt"), cert: tls.join("tls.crt"), key: tls.join("tls.key") },
        }
    }
}

/// The name of a member's Erlang node.
pub fn node(member: &str) -> String {
    format!("rabbit@{member}")
}

/// `rabbitmq.conf`.
pub fn settings(config: &Rabbitmq, files: &Files) -> String {
    let tls = &files.tls;
    let mut text = format!(
        "listeners.tcp = none\n\
         listeners.ssl.default = {port}\n\
         ssl_options.cacertfile = {ca}\n\
         ssl_options.certfile = {cert}\n\
         ssl_options.keyfile = {key}\n\
         ssl_options.verify = verify_none\n\
         ssl_options.fail_if_no_peer_cert = false\n\
         ssl_options.versions.1 = tlsv1.3\n\
         ssl_options.versions.2 = tlsv1.2\n\
         log.file = false\n\
         log.console = true\n\
         log.console.level = warning\n\
         heartbeat = 60\n\
         default_queue_type = quorum\n\
         load_definitions = {definitions}\n\
         disk_free_limit.absolute = {disk}\n",
        port = config.port,
        ca = tls.ca.display(),
        cert = tls.cert.display(),
        key = tls.key.display(),
        definitions = files.definitions.display(),
        disk = config.disk_free_limit_bytes,
    );
    // Writing to a String cannot fail.
    if let Some(limit) = config.memory_limit_bytes {
        let _ = writeln!(text, "total_memory_available_override_value = {limit}");
        let _ = writeln!(text, "vm_memory_high_watermark.relative = 0.{MEMORY_SHARE}");
        // Quorum queues keep this much of their log in memory before it goes to segments; the default is 512 MiB.
        let wal = (limit / 8).clamp(16 * 1024 * 1024, 512 * 1024 * 1024);
        let _ = writeln!(text, "raft.wal_max_size_bytes = {wal}");
    }
    if config.members.len() > 1 {
        text.push_str("cluster_partition_handling = pause_minority\n");
        text.push_str("cluster_formation.peer_discovery_backend = classic_config\n");
        for (index, member) in config.members.iter().enumerate() {
            let _ = writeln!(text, "cluster_formation.classic_config.nodes.{} = {}", index + 1, node(member));
        }
    }
    text
}

/// The environment of the server and of its command line.
pub fn environment(config: &Rabbitmq, member: &str, files: &Files) -> BTreeMap<String, String> {
    let schedulers = config.schedulers.max(1);
    let path = |path: &Path| path.display().to_string();
    // Busy waiting of schedulers takes CPU that a small container does not have; the limit of ports bounds a table that
    // is otherwise sized by the host's limit of open files.
    let erlang = format!("+S {schedulers}:{schedulers} +sbwt none +sbwtdcpu none +sbwtdio none +Q 65536");
    [
        ("HOME", path(&config.volume)),
        ("LANG", "C.UTF-8".to_owned()),
        ("RABBITMQ_USE_LONGNAME", "true".to_owned()),
        ("RABBITMQ_NODENAME", node(member)),
        ("RABBITMQ_CONFIG_FILE", path(&files.settings)),
        ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", path(&files.plugins)),
        ("RABBITMQ_MNESIA_BASE", path(&config.volume.join("mnesia"))),
        ("RABBITMQ_LOGS", "-".to_owned()),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", erlang),
        // A dump of a crash is as large as the memory was.
        ("ERL_CRASH_DUMP_SECONDS", "0".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// `rabbitmq-env.conf`: how the command line finds the server. There the names lack their prefix `RABBITMQ_`.
pub fn command_line(member: &str) -> String {
    format!("USE_LONGNAME=true\nNODENAME={}\n", node(member))
}

/// The server.
pub fn server(config: &Rabbitmq, member: &str, files: &Files) -> Program {
    let mut program = Program::new([format!("{SCRIPTS}/rabbitmq-server")]);
    program.env = environment(config, member, files);
    // The script then replaces itself by the Erlang machine, which handles SIGTERM by itself.
    program.env.insert("RUNNING_UNDER_SYSTEMD".to_owned(), "true".to_owned());
    program.directory = Some(config.volume.clone());
    program.user = Some(config.user.clone());
    program.stop = config.stop.clone();
    program
}

/// A command to the running server.
pub fn control<const N: usize>(
    config: &Rabbitmq,
    member: &str,
    files: &Files,
    arguments: [&str; N],
) -> Program {
    let mut program = Program::new([format!("{SCRIPTS}/rabbitmqctl"), "--longnames".to_owned()]);
    program.command.extend(arguments.map(ToOwned::to_owned));
    program.env = environment(config, member, files);
    program.env.remove("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS");
    program.env.insert("RABBITMQ_CTL_ERL_ARGS".to_owned(), "+S 1:1 +sbwt none +Q 1024".to_owned());
    program.directory = Some(config.volume.clone());
    program.user = Some(config.user.clone());
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(members: &str) -> Rabbitmq {
        serde_json::from_str(&format!(
            r#"{{"members": {members}, "cookie_file": "/c", "memory_limit_bytes": 402653184}}"#
        ))
        .unwrap()
    }

    #[test]
    fn one_member_forms_no_cluster() {
        let text = settings(&config(r#"["rabbitmq-0.rabbitmq.t.svc"]"#), &Files::default());
        assert!(!text.contains("cluster_"), "{text}");
        assert!(text.contains("listeners.tcp = none\nlisteners.ssl.default = 5671\n"));
        assert!(text.contains("raft.wal_max_size_bytes = 50331648\n"));
    }

    #[test]
    fn three_members_know_each_other_and_a_minority_pauses() {
        let text = settings(&config(r#"["a.r.t.svc", "b.r.t.svc", "c.r.t.svc"]"#), &Files::default());
        assert!(text.contains("cluster_partition_handling = pause_minority\n"));
        assert!(text.contains("cluster_formation.classic_config.nodes.3 = rabbit@c.r.t.svc\n"));
    }

    #[test]
    fn nothing_secret_is_in_the_environment_or_the_commands() {
        let config = config(r#"["a.r.t.svc"]"#);
        let program = control(&config, "a.r.t.svc", &Files::default(), ["import_definitions", "/run/x"]);
        assert_eq!(
            program.command,
            ["/usr/lib/rabbitmq/bin/rabbitmqctl", "--longnames", "import_definitions", "/run/x"]
        );
        assert!(!program.env.values().any(|value| value.contains("/c")));
        assert_eq!(program.env["RABBITMQ_NODENAME"], "rabbit@a.r.t.svc");
    }
}
