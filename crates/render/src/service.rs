//! Services: the stable names of components.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use oaas_catalog::WorkloadKind;
use oaas_plan::{Blueprint, ComponentPlan, PortPlan};

use crate::labels::{LABEL_WRITER, metadata, selector};

/// The Services of a component: one for its pods, headless where pods have names of their own; one to its writer.
pub(crate) fn services(blueprint: &Blueprint, plan: &ComponentPlan) -> Vec<Service> {
    let ports: Vec<&PortPlan> = plan.ports.iter().filter(|port| port.in_service).collect();
    let mut services = Vec::new();
    if ports.is_empty() || plan.kind == WorkloadKind::DaemonSet {
        return services;
    }
    let published = ports.iter().any(|port| port.node_port.is_some());
    let headless = plan.kind == WorkloadKind::StatefulSet;
    services.push(Service {
        metadata: metadata(blueprint, &plan.name, Some(&plan.name)),
        spec: Some(ServiceSpec {
            selector: Some(selector(&blueprint.cloud, &plan.name)),
            type_: Some(if published { "NodePort" } else { "ClusterIP" }.into()),
            cluster_ip: headless.then(|| "None".to_owned()),
            // Members find each other before any of them is ready.
            publish_not_ready_addresses: headless.then_some(true),
            ports: Some(ports.iter().map(|port| service_port(port)).collect()),
            ..ServiceSpec::default()
        }),
        status: None,
    });
    if let Some(name) = &plan.single_writer {
        let mut chosen = selector(&blueprint.cloud, &plan.name);
        chosen.insert(LABEL_WRITER.into(), "true".into());
        services.push(Service {
            metadata: metadata(blueprint, name, Some(&plan.name)),
            spec: Some(ServiceSpec {
                selector: Some(chosen),
                type_: Some("ClusterIP".into()),
                ports: Some(ports.iter().map(|port| service_port(port)).collect()),
                ..ServiceSpec::default()
            }),
            status: None,
        });
    }
    services
}

fn service_port(port: &PortPlan) -> ServicePort {
    ServicePort {
        name: Some(port.name.clone()),
        port: i32::from(port.port),
        target_port: Some(IntOrString::Int(i32::from(port.port))),
        node_port: port.node_port.map(i32::from),
        protocol: Some("TCP".into()),
        ..ServicePort::default()
    }
}
