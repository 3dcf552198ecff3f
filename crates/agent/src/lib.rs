//! OaaS: agent.
