//! OaaS: node.
