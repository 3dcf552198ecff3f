//! Options for a group of nodes: the main file as it is on each of them.

use std::collections::BTreeMap;

use oaas_api::{NodeGroup, Sections};
use oaas_catalog::{Component, OptionRule, Release, Service, WorkloadKind};

use crate::document::{Content, Document};
use crate::inputs::{Inputs, Node};
use crate::options::{checked, is_said, reads_options, split};
use crate::overrides::put_options;
use crate::problem::{Problems, suggestion};
use crate::sensitive::Sensitive;

/// The groups that a node is in, in their order.
pub(crate) fn groups<'a>(inputs: &Inputs<'a>, node: &Node) -> impl Iterator<Item = &'a NodeGroup> {
    let labels = node.labels.clone();
    inputs
        .spec
        .nodes
        .iter()
        .filter(move |group| group.selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

/// A component's main file as it is on each node: node → file. Empty where it is the same on all of them.
pub(crate) fn variants(
    inputs: &Inputs<'_>,
    service: &Service,
    component: &Component,
    main: Option<&Document>,
) -> BTreeMap<String, Document> {
    let said =
        |group: &NodeGroup| group.config.keys().any(|name| *name == service.name || *name == component.name);
    let (Some(main), WorkloadKind::DaemonSet) = (main, component.kind) else { return BTreeMap::new() };
    let Content::Sections(common) = main.content.expose() else { return BTreeMap::new() };
    if !inputs.spec.nodes.iter().any(said) {
        return BTreeMap::new();
    }
    let index = inputs.catalog.options(&inputs.spec.release, service);
    let of_node = |node: &Node| {
        let mut sections = common.clone();
        for group in groups(inputs, node) {
            let of_service = group.config.get(&service.name).filter(|_| service.name != component.name);
            for said in of_service.into_iter().chain(group.config.get(&component.name)) {
                put_options(inputs, index, said, |_, _| true, &mut sections);
            }
        }
        let content = Sensitive::new(Content::Sections(sections));
        (node.name.clone(), Document { content, ..main.clone() })
    };
    inputs.nodes.iter().map(of_node).collect()
}

/// What is wrong with the options of groups of nodes.
pub(crate) fn problems(inputs: &Inputs<'_>, release: &Release, problems: &mut Problems) {
    let services: Vec<&Service> = inputs.catalog.services_of(release).collect();
    for (place, group) in inputs.spec.nodes.iter().enumerate() {
        for (name, sections) in &group.config {
            let path = format!("spec.nodes[{place}].config.{name}");
            let of_name = |service: &&Service| {
                service.name == *name || service.components.iter().any(|component| component.name == *name)
            };
            let fits = |service: &Service, component: &Component| {
                (service.name == *name || component.name == *name) && per_node(service, component)
            };
            let Some(service) = services.iter().copied().find(of_name) else {
                let all: Vec<&str> = services
                    .iter()
                    .filter(|service| on_nodes(service))
                    .map(|service| service.name.as_str())
                    .collect();
                let hint = suggestion(name, all.iter().copied());
                problems.add(path, format!("there is no service {name} in release {}", release.name), hint);
                continue;
            };
            if !service.components.iter().any(|component| fits(service, component)) {
                let names: Vec<&str> = services
                    .iter()
                    .flat_map(|service| service.components.iter().filter(|c| per_node(service, c)))
                    .map(|component| component.name.as_str())
                    .collect();
                let hint = format!(
                    "what runs on each node is {}; others: spec.services.{name}.config",
                    names.join(", ")
                );
                problems.add(path, format!("{name} does not run on each node of a group"), hint);
                continue;
            }
            match inputs.catalog.options(&release.name, service) {
                Some(index) => checked(inputs, &path, sections, index, problems),
                None => problems.add(path.as_str(), format!("the options of {name} are not known"), None),
            }
            for rule in &service.rules {
                broken(inputs, service, &path, sections, rule, problems);
            }
        }
    }
}

/// Has it something that does?
fn on_nodes(service: &Service) -> bool {
    service.components.iter().any(|component| per_node(service, component))
}

/// Does it run once on each node, with a file that takes options?
fn per_node(service: &Service, component: &Component) -> bool {
    component.kind == WorkloadKind::DaemonSet && reads_options(service, component)
}

/// Says so if options of a group break a rule. What the rule needs may be said of the group or of the whole service.
fn broken(
    inputs: &Inputs<'_>,
    service: &Service,
    path: &str,
    sections: &Sections,
    rule: &OptionRule,
    problems: &mut Problems,
) {
    if !is_said(inputs, sections, &rule.option) {
        return;
    }
    let (option, _) = split(&rule.option);
    match &rule.needs {
        None => problems.add(format!("{path}.{option}"), "it is each node's own", rule.hint.clone()),
        Some(needs) => {
            let of_service = inputs.spec.services.get(&service.name);
            let said = of_service.is_some_and(|wanted| is_said(inputs, &wanted.config, needs));
            if !said && !is_said(inputs, sections, needs) {
                problems.add(format!("{path}.{option}"), format!("needs {needs}"), rule.hint.clone());
            }
        }
    }
}
