//! OaaS: plan.
