//! Real daemons under the agent, each in a pod of namespaces over the root of its image below the directory that
//! `OAAS_TEST_ROOT` names. Needs root. Nothing is left on the host: the pods live in namespaces of their own.

mod mariadb;
mod pod;
mod rabbitmq;
mod schema;
