//! What the agent of a component or job runs, as a catalog file says it: the agent's own roles, with references of the
//! cloud in them, and one that only the catalog has.

use std::collections::BTreeMap;
use std::fmt;

use oaas_agent_config::{Prepare, Role as AgentRole};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::template::{Misfit, Template};
use crate::value::{Scalar, Tree};

/// What the agent runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Role {
    /// A WSGI application behind a web server of its own.
    Wsgi(Wsgi),
    /// One of the agent's own roles.
    Agent(Template<AgentRole>),
}

/// A WSGI application.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wsgi {
    /// Module and callable: `keystone.wsgi.api:application`.
    pub module: String,
    /// The port that it is served on, by name.
    pub port: String,
    /// Python that a process runs before it takes requests: what the application would do at its first request, and
    /// badly if that comes twice at once.
    #[serde(default)]
    pub warm_up: Option<String>,
    /// What is prepared before it starts.
    #[serde(default)]
    pub pre: Vec<Template<Prepare>>,
    /// Environment of the web server.
    #[serde(default)]
    pub env: BTreeMap<String, Scalar>,
    /// Options of the web server.
    #[serde(default)]
    pub options: BTreeMap<String, Scalar>,
}

const WSGI: &str = "wsgi";

impl Role {
    /// The WSGI application, if it is one.
    pub fn wsgi(&self) -> Option<&Wsgi> {
        match self {
            Self::Wsgi(wsgi) => Some(wsgi),
            Self::Agent(_) => None,
        }
    }

    /// Would the agent understand it in every cloud?
    pub(crate) fn check(&self) -> Result<(), Misfit> {
        match self {
            Self::Agent(role) => role.check(),
            Self::Wsgi(wsgi) => wsgi.pre.iter().enumerate().try_for_each(|(number, step)| {
                let within =
                    |Misfit { place, what }| Misfit { place: format!("wsgi.pre[{number}].{place}"), what };
                step.check().map_err(within)
            }),
        }
    }

    /// Visit every scalar in it.
    pub(crate) fn visit(&self, see: &mut dyn FnMut(&Scalar)) {
        match self {
            Self::Wsgi(wsgi) => {
                wsgi.pre.iter().for_each(|step| step.tree().visit(see));
                wsgi.env.values().chain(wsgi.options.values()).for_each(see);
            }
            Self::Agent(role) => role.tree().visit(see),
        }
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RoleVisitor;
        impl<'de> Visitor<'de> for RoleVisitor {
            type Value = Role;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("one role, such as `process: …`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Role, A::Error> {
                let name =
                    access.next_key::<String>()?.ok_or_else(|| de::Error::custom("it says no role"))?;
                let role = if name == WSGI {
                    Role::Wsgi(access.next_value()?)
                } else {
                    let role = access.next_value::<Tree>()?;
                    Role::Agent(Template::new(Tree::Map(BTreeMap::from([(name, role)]))))
                };
                match access.next_key::<String>()? {
                    None => Ok(role),
                    Some(other) => Err(de::Error::custom(format!("a second role: {other}"))),
                }
            }
        }
        deserializer.deserialize_map(RoleVisitor)
    }
}
