//! OaaS: api.
