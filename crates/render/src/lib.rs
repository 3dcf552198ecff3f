//! OaaS: render.
