//! Schemas loaded from snapshots: once, cut off, again, outdated.

use std::fmt::Write as _;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::mariadb::{self, sql};
use crate::pod::{Network, Pod, wait};

const LIMIT: Duration = Duration::from_mins(2);

fn config(network: &Network, sync: Option<&str>) -> Value {
    let mut role = json!({
        "server": {"host": "mariadb-0.mariadb.t.svc", "user": "operator", "password_file": "/mnt/accounts/operator",
            "tls": {"ca": "/mnt/tls/ca.crt"}},
        "index": "/mnt/index.json",
        "databases": [{"name": "nova_api"}],
        "accounts": [{"user": "nova_g1", "password_file": network.password("nova_g1", "it's"), "databases": ["nova_api"]}],
        "single_member": true,
        "wait_seconds": 30,
    });
    if let Some(statement) = sync {
        let socketless = format!(
            "printf '[client]\\nhost=mariadb-0.mariadb.t.svc\\nuser=operator\\npassword=\"%s\"\\nssl-ca=/mnt/tls/ca.crt\\n' \
            \"$(sed 's/[\\\\\"]/\\\\&/g' /mnt/accounts/operator)\" > /tmp/c && mariadb --defaults-file=/tmp/c -e \"{statement}\""
        );
        role["sync"] = json!({"command": ["sh", "-c", socketless]});
    }
    json!({"component": "nova", "role": {"load_schema": role}})
}

/// A snapshot as `mariadb-dump` writes it, with as many tables as wanted.
fn snapshot(network: &Network, tables: usize, head: &str) {
    let mut dump = "/*M!999999\\- enable the sandbox mode */ \n/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;\n".to_owned();
    for table in 0..tables {
        writeln!(dump, "CREATE TABLE `t{table}` (`id` int(11) NOT NULL, `name` varchar(255) DEFAULT 'a;\\nb', PRIMARY KEY (`id`), KEY `k` (`name`)) ENGINE=InnoDB;").unwrap();
    }
    writeln!(dump, "CREATE TABLE `alembic_version` (`version_num` varchar(32) NOT NULL PRIMARY KEY);\nINSERT INTO `alembic_version` VALUES ('h1');").unwrap();
    let packed = zstd::encode_all(dump.as_bytes(), 3).unwrap();
    let digest =
        Sha256::digest(&packed).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    network.file("nova_api.sql.zst", packed);
    let index = json!({"nova_api": {"heads": [head], "table": "alembic_version", "sha256": digest, "mariadb": "11.8",
        "charset": "utf8mb4", "collation": "utf8mb4_uca1400_ai_ci", "bytes": 1}});
    network.file("index.json", index.to_string());
}

fn load(pod: &mut Pod) -> i32 {
    pod.start();
    pod.exit_code(LIMIT)
}

#[test]
fn a_schema_is_loaded_once_whole_and_compared_afterwards() {
    let member = "mariadb-0.mariadb.t.svc";
    let network = Network::new("mariadb", &[member, "load-nova-1"]);
    let mut server = network.pod(0, "/var/lib/mysql");
    server.configure(&mariadb::config(&network, &[member]));
    server.start();
    let mut job = network.pod(1, "/var/lib/oaas");

    // Killed in the middle of a load: the next one begins anew.
    snapshot(&network, 400, "h1");
    job.configure(&config(&network, None));
    job.start();
    server.ready(LIMIT);
    let tables = || {
        sql(
            &network,
            &server,
            &["SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'nova_api'"],
        )[0]
        .parse::<u32>()
        .unwrap()
    };
    wait("some tables", LIMIT, || tables() > 20);
    job.cut();
    let left = tables();
    assert!(left < 400, "the load was over too soon to be cut off: {left}");
    assert_eq!(load(&mut job), 0, "{}", job.log());
    assert!(job.log().contains("a load was cut off"), "{}", job.log());
    assert_eq!(tables(), 402);
    println!("{}", job.log().lines().find(|line| line.contains("loaded in")).unwrap());

    // The account reaches its database, over TLS alone, and no other one.
    let grants = sql(&network, &server, &["SHOW GRANTS FOR nova_g1"]).join("\n");
    assert!(grants.contains("REQUIRE SSL") && grants.contains("`nova\\_api`.*"), "{grants}");

    // Once more: nothing is done.
    sql(&network, &server, &["INSERT INTO nova_api.t1 VALUES (1, 'kept')"]);
    assert_eq!(load(&mut job), 0, "{}", job.log());
    assert!(job.log().contains("has the image's schema"));
    assert!(!job.log().contains("sets the account"));

    // An image with another head: the service's own migration is asked for, and run where allowed.
    snapshot(&network, 400, "h2");
    assert_eq!(load(&mut job), 5, "{}", job.log());
    assert!(job.log().contains("is at revision h1, the image's is h2"), "{}", job.log());
    job.configure(&config(&network, Some("UPDATE nova_api.alembic_version SET version_num = 'h2'")));
    assert_eq!(load(&mut job), 0, "{}", job.log());
    assert_eq!(sql(&network, &server, &["SELECT name FROM nova_api.t1"]), ["kept"], "data is never dropped");

    // Tables of someone else.
    sql(&network, &server, &["DROP TABLE nova_api.alembic_version"]);
    assert_eq!(load(&mut job), 2, "{}", job.log());
    assert!(job.log().contains("holds tables without a revision"), "{}", job.log());

    // A damaged snapshot.
    sql(&network, &server, &["DROP DATABASE nova_api"]);
    network.file("nova_api.sql.zst", "damaged");
    assert_eq!(load(&mut job), 6, "{}", job.log());

    // A server that does not answer.
    server.signal("mariadbd", Signal::SIGSTOP);
    let mut impatient = config(&network, None);
    impatient["role"]["load_schema"]["wait_seconds"] = json!(1);
    job.configure(&impatient);
    assert_eq!(load(&mut job), 5, "{}", job.log());
    assert!(job.log().contains("failed to reach the database within 1 s"), "{}", job.log());
}
