//! OaaS: catalog.
