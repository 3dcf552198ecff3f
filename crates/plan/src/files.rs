//! The files that a component or job reads, with everything in them decided.

use oaas_agent_config::AgentConfig;
use oaas_catalog::FileFormat;

use crate::document::{Content, Document, PublicEndpointModel, PublicRoute, Sections};
use crate::overrides::{apply_options, apply_to_tree, lines};
use crate::resolve::{AUTHORITY_FILE, Place, World};
use crate::sensitive::Sensitive;

/// What the agent is told.
pub(crate) fn agent_document(agent: &AgentConfig) -> Document {
    Document {
        path: AGENT_CONFIG.into(),
        format: FileFormat::Json,
        // Plain data with text as keys: it can be written as JSON.
        content: Sensitive::new(Content::Tree(serde_json::to_value(agent).unwrap_or_default())),
    }
}

/// Where the agent finds what it does.
const AGENT_CONFIG: &str = "/etc/oaas/agent/agent.json";

/// The service's main file with the fragments that a component or job picks and the user's options on top.
fn main_file(world: &World<'_>, place: Place<'_>) -> Option<Document> {
    let fragments = &place.pod.config;
    if fragments.is_empty() {
        return None;
    }
    let file = place.service.files.get(place.service.main.as_ref()?)?;
    let index = world.inputs.catalog.options(&world.release.name, place.service);
    let mut sections = Sections::new();
    for name in fragments {
        let fragment = world.catalog.fragment(place.service, name)?;
        for (section, options) in &fragment.options {
            let into = sections.entry(section.clone()).or_default();
            for (option, value) in options {
                into.insert(option.clone(), lines(index, section, option, world.texts(place, value)));
            }
        }
    }
    apply_options(world.inputs, place.service, place.name, &mut sections);
    Some(Document {
        path: world.text(place, &file.path),
        format: file.format,
        content: Sensitive::new(Content::Sections(sections)),
    })
}

/// A further file of a service.
fn further_file(
    world: &World<'_>,
    place: Place<'_>,
    name: &String,
    file: &oaas_catalog::ConfigFile,
) -> Document {
    let content = match file.format {
        FileFormat::PublicEndpoint => public_endpoint(world),
        FileFormat::Lines => Content::Lines(
            world
                .tree(place, &file.content)
                .as_array()
                .into_iter()
                .flatten()
                .map(|line| line.as_str().map_or_else(|| line.to_string(), str::to_owned))
                .collect(),
        ),
        FileFormat::Oslo
        | FileFormat::Properties
        | FileFormat::Python
        | FileFormat::Yaml
        | FileFormat::Json => {
            let mut tree = world.tree(place, &file.content);
            if place.service.main.as_ref() == Some(name) {
                apply_to_tree(world.inputs, place.service, place.name, &mut tree);
            }
            Content::Tree(tree)
        }
    };
    Document { path: world.text(place, &file.path), format: file.format, content: Sensitive::new(content) }
}

/// What the public endpoint leads to: every API of the cloud.
fn public_endpoint(world: &World<'_>) -> Content {
    // Nothing is published through a service that does not say how.
    let Some(endpoint) = world.public_endpoint() else { return Content::Lines(Vec::new()) };
    let routes = world
        .services
        .iter()
        .flat_map(|service| &service.apis)
        .filter_map(|api| {
            let (_, component) = world.component(&api.component)?;
            let port = component.ports.iter().find(|port| port.name == api.port)?;
            Some(PublicRoute {
                name: api.name.clone(),
                path: api.path.clone(),
                host: world.host(&api.component),
                port: port.port,
            })
        })
        .collect();
    let url = world.publish.url(&endpoint.published.key).unwrap_or_default();
    Content::PublicEndpoint(PublicEndpointModel {
        port: endpoint.port,
        statistics_port: endpoint.statistics_port,
        statistics_user: endpoint.statistics.user.clone(),
        statistics_password: world.secret(&world.secret_name(&endpoint.statistics.secret), "password"),
        certificate: endpoint.certificate.to_owned(),
        authority: AUTHORITY_FILE.into(),
        host: url.trim_start_matches("https://").to_owned(),
        routes,
    })
}

/// Every file that a component or job reads but its agent's.
pub(crate) fn documents(world: &World<'_>, place: Place<'_>) -> Vec<Document> {
    let (service, pod) = (place.service, place.pod);
    let mut documents: Vec<Document> = main_file(world, place).into_iter().collect();
    let further =
        pod.files.iter().filter(|name| pod.config.is_empty() || service.main.as_ref() != Some(name));
    documents
        .extend(further.filter_map(|name| Some(further_file(world, place, name, service.files.get(name)?))));
    documents
}
