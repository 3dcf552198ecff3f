//! Real daemons under the agent, each in a pod of namespaces over a root directory named by `OAAS_TEST_ROOT` (the
//! infrastructure image's root, or any Debian root with mariadb-server, mariadb-backup, galera-4, rabbitmq-server and
//! socat). Needs root. Nothing is left on the host: the pods live in namespaces of their own.

mod mariadb;
mod pod;
mod rabbitmq;
mod schema;
