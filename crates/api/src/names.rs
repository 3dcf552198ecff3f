//! Names that stand in Kubernetes objects: group, labels, annotations, finalizer, field managers.

/// API group of both resources.
pub const GROUP: &str = "oaas.dev";
/// API version of both resources.
pub const VERSION: &str = "v1alpha1";

/// Label: name of the cloud that an object belongs to. Pruning selects by it.
pub const LABEL_CLOUD: &str = "oaas.dev/cloud";
/// Label: uid of the `OpenStack` object that an object belongs to. Pruning touches nothing without it.
pub const LABEL_OWNER: &str = "oaas.dev/owner-uid";
/// Label: component of the cloud that an object belongs to, such as `keystone`.
pub const LABEL_COMPONENT: &str = "oaas.dev/component";
/// Label on volume claims and Secrets that outlive their cloud when its `deletionPolicy` is `Retain`.
pub const LABEL_DATA: &str = "oaas.dev/holds-data";
/// Label on what an operator accepted last of a cloud: the hash of that state.
pub const LABEL_STATE: &str = "oaas.dev/state";
/// Standard label that names us as the manager.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`LABEL_MANAGED_BY`].
pub const MANAGED_BY: &str = "oaas";

/// Annotation on an `OpenStack`: hash of the plan that its owner approves.
pub const ANNOTATION_APPROVE: &str = "oaas.dev/approve";
/// Annotation on an `OpenStack`: a word of whoever asks how far it is. The operator answers by repeating it in the status
/// (`status.answered`), which is then newer than the question.
pub const ANNOTATION_ASKED: &str = "oaas.dev/asked";
/// Annotation on an applied object: hash of what was applied last.
pub const ANNOTATION_APPLIED: &str = "oaas.dev/applied-hash";
/// Annotation on an object: `create` means created once and never written again.
pub const ANNOTATION_APPLY: &str = "oaas.dev/apply";
/// Annotation on a node: its network interfaces as JSON (`{"tunnel": …, "physicalNetworks": {…}}`).
pub const ANNOTATION_INTERFACES: &str = "oaas.dev/interfaces";
/// Annotation on an `OpenStack` being deleted: `true` drops the finalizer without waiting for its objects.
pub const ANNOTATION_FORCE_DELETE: &str = "oaas.dev/force-delete";

/// Finalizer on `OpenStack` objects.
pub const FINALIZER: &str = "oaas.dev/cloud";

/// Field manager of everything but `replicas`.
pub const MANAGER: &str = "oaas";
/// Field manager of `replicas` alone (docs/architecture.md, "Replicas").
pub const MANAGER_SCALE: &str = "oaas-scale";

/// Components whose members vote; their count must be odd.
pub const QUORUM_COMPONENTS: [&str; 5] = ["galera", "rabbitmq", "etcd", "ovn-nb", "ovn-sb"];
