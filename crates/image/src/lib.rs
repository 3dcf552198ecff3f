//! OaaS: image.
