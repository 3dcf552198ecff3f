//! The two custom resource definitions as objects.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::component::OpenStackComponent;
use crate::openstack::OpenStack;

/// Both custom resource definitions, `OpenStack` first.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![OpenStack::crd(), OpenStackComponent::crd()]
}
