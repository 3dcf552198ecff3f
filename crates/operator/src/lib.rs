//! OaaS: operator.
