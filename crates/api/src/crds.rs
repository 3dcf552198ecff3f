//! The two custom resource definitions as objects.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::component::OpenStackComponent;
use crate::openstack::OpenStack;

/// Both custom resource definitions, `OpenStack` first.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![OpenStack::crd(), OpenStackComponent::crd()];
    for version in crds.iter_mut().flat_map(|crd| &mut crd.spec.versions) {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            slim(schema);
        }
    }
    crds
}

/// Takes out what says nothing to the API server or to people: a fifth of the size.
fn slim(schema: &mut JSONSchemaProps) {
    // Optional fields are left out, not null; the types write them so.
    schema.nullable = None;
    // Not formats of Kubernetes; the range is said by minimum and maximum.
    if schema.format.as_deref().is_some_and(|format| format.starts_with("uint") || format == "ip") {
        schema.format = None;
    }
    if let Some(properties) = &mut schema.properties {
        properties.values_mut().for_each(slim);
    }
    // The list's or the map's own description is what `kubectl explain` shows.
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        items.description = None;
        slim(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        values.description = None;
        slim(values);
    }
}
