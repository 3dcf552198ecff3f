//! The server's commands and the options that depend on the moment.

use std::path::{Path, PathBuf};

use super::decide::Position;
use oaas_agent_config::{Mariadb, Program, TlsFiles};

/// Where the agent writes its options file and the TLS files: beside the socket.
pub fn run_dir(config: &Mariadb) -> PathBuf {
    config.socket.parent().map_or_else(|| PathBuf::from("/run/mysqld"), Path::to_owned)
}

/// The options file that the agent writes.
pub fn options_path(config: &Mariadb) -> PathBuf {
    run_dir(config).join("agent.cnf")
}

/// The TLS files as the server's user can read them.
pub fn tls_files(config: &Mariadb) -> TlsFiles {
    let directory = run_dir(config).join("tls");
    TlsFiles { ca: directory.join("ca.crt"), cert: directory.join("tls.crt"), key: directory.join("tls.key") }
}

/// The content of the agent's options file: the rendered options, then what depends on this member.
pub fn options(config: &Mariadb, member: &str, data: &Path, system_user: &str) -> String {
    let tls = tls_files(config);
    let (ca, cert, key) = (tls.ca.display(), tls.cert.display(), tls.key.display());
    let mut provider: Vec<String> = vec![
        "socket.ssl=yes".to_owned(),
        format!("socket.ssl_ca={ca}"),
        format!("socket.ssl_cert={cert}"),
        format!("socket.ssl_key={key}"),
    ];
    provider.extend(config.provider_options.iter().map(|(name, value)| format!("{name}={value}")));
    format!(
        "!include {}\n\n[mysqld]\nskip_slave_start=ON\ndatadir={}\nsocket={}\npid_file={}\n\
         ssl_ca={ca}\nssl_cert={cert}\nssl_key={key}\n\
         wsrep_node_name={}\nwsrep_node_address={member}\nwsrep_node_incoming_address={member}:3306\n\
         wsrep_provider_options=\"{}\"\n\
         wsrep_sst_auth={system_user}:\n\n\
         [sst]\nencrypt=3\ntca={ca}\ntcert={cert}\ntkey={key}\nssl-mode=VERIFY_CA\n",
        config.options_file.display(),
        data.display(),
        config.socket.display(),
        run_dir(config).join("mariadbd.pid").display(),
        first_label(member),
        provider.join(";"),
    )
}

/// The pod's name: a member's first label.
pub fn first_label(member: &str) -> &str {
    member.split('.').next().unwrap_or(member)
}

/// The command that makes a new data directory.
pub fn install(config: &Mariadb, fresh: &Path, system_user: &str) -> Program {
    server_user(
        config,
        Program::new([
            "mariadb-install-db".to_owned(),
            "--no-defaults".to_owned(),
            format!("--datadir={}", fresh.display()),
            "--auth-root-authentication-method=socket".to_owned(),
            // Besides root, the user of the server itself is let in over the socket: it feeds joining members.
            format!("--auth-root-socket-user={system_user}"),
            "--skip-test-db".to_owned(),
            "--skip-name-resolve".to_owned(),
        ]),
    )
}

/// The command that finds out where a data directory is; it writes that to its log.
pub fn recover(config: &Mariadb) -> Program {
    let mut program = server(config);
    // It connects to nobody, but does not start without an address.
    let options = ["--wsrep-recover", "--wsrep-cluster-address=gcomm://", "--skip-networking"];
    program.command.extend(options.map(ToOwned::to_owned));
    program
}

/// How the server starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// It begins the cluster.
    Bootstrap,
    /// It joins these members.
    Join(Vec<String>),
}

/// The command of the server.
pub fn start(config: &Mariadb, how: &Start, position: Option<&Position>) -> Program {
    let mut program = server(config);
    let address = match how {
        Start::Bootstrap => "gcomm://".to_owned(),
        Start::Join(members) => format!("gcomm://{}", members.join(",")),
    };
    program.command.push(format!("--wsrep-cluster-address={address}"));
    if let Some(position) = position.filter(|position| position.is_defined()) {
        program.command.push(format!("--wsrep-start-position={position}"));
    }
    program.stop = config.stop.clone();
    program
}

fn server(config: &Mariadb) -> Program {
    server_user(
        config,
        Program::new(["mariadbd".to_owned(), format!("--defaults-file={}", options_path(config).display())]),
    )
}

fn server_user(config: &Mariadb, mut program: Program) -> Program {
    program.user = Some(config.user.clone());
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Mariadb {
        serde_json::from_str(r#"{"members": ["mariadb-0.mariadb.demo.svc"], "peer_port": 9100}"#).unwrap()
    }

    #[test]
    fn the_options_of_a_member() {
        let text =
            options(&config(), "mariadb-0.mariadb.demo.svc", Path::new("/var/lib/mysql/data"), "mysql");
        assert!(text.starts_with("!include /etc/mysql/oaas.cnf\n"));
        assert!(text.contains("wsrep_node_name=mariadb-0\n"));
        assert!(text.contains("socket.ssl_key=/run/mysqld/tls/tls.key;evs.inactive_check_period=PT0.25S;"));
        assert!(text.contains("\nwsrep_sst_auth=mysql:\n"));
    }

    #[test]
    fn a_position_is_handed_on_only_where_there_is_one() {
        let position: Position = "6c5cf6fd-c2b1-11ef-8a4e-0242ac110002:7".parse().unwrap();
        let program = start(&config(), &Start::Bootstrap, Some(&position));
        assert_eq!(
            program.command[2..],
            [
                "--wsrep-cluster-address=gcomm://",
                "--wsrep-start-position=6c5cf6fd-c2b1-11ef-8a4e-0242ac110002:7"
            ]
        );
        let members = vec!["a".to_owned(), "b".to_owned()];
        let program = start(&config(), &Start::Join(members), None);
        assert_eq!(program.command[2..], ["--wsrep-cluster-address=gcomm://a,b"]);
    }
}
