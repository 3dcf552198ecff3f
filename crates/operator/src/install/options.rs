//! How the operator is installed, and what it is called.

use std::time::Duration;

use oaas_plan::Images;

/// Name of the operator's deployment, identity and roles.
pub const NAME: &str = "oaas-operator";

/// How to install.
#[derive(Debug, Clone)]
pub struct InstallOptions {
    /// Namespace of the operator.
    pub namespace: String,
    /// The operator's image, by digest.
    pub image: String,
    /// Images of clouds: `mariadb`, `rabbitmq`, `openstack-<release>`, ….
    pub images: Images,
    /// How many operators; one of them leads.
    pub replicas: i32,
    /// Memory limit of each.
    pub memory_limit: String,
    /// How long the rollout may take; zero does not wait.
    pub wait: Duration,
}

impl InstallOptions {
    /// One operator in `oaas-system`, waited for two minutes.
    pub fn new(image: impl Into<String>, images: Images) -> Self {
        Self {
            namespace: "oaas-system".into(),
            image: image.into(),
            images,
            replicas: 1,
            memory_limit: "128Mi".into(),
            wait: Duration::from_mins(2),
        }
    }
}
