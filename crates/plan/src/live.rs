//! Options that a service takes while it runs: they stand in a file of their own, and nobody rolls for them.

use std::collections::BTreeSet;

use oaas_api::ConfigValue;
use oaas_catalog::{Component, OptionIndex, Service, WorkloadKind};

use crate::document::{Content, Document, LIVE, Sections};
use crate::inputs::Inputs;
use crate::overrides::wanted;
use crate::sensitive::Sensitive;

/// Take from a component's main file what the service takes while it runs: the directory that the service reads beside
/// that file, and the file that stands there. None where the service is not made to take anything.
///
/// All of its pods take another value at once, without a roll that would stop at the first one which cannot start with it.
/// So only values that were judged are taken: nothing that is `unchecked`, or that stands in a Secret of the user's. What a
/// group of nodes says differently stays in the file that each node has of its own.
pub(crate) fn split(
    inputs: &Inputs<'_>,
    service: &Service,
    component: &Component,
    main: &mut Document,
) -> Option<(String, Document)> {
    let directory = service.files.get(service.main.as_ref()?)?.live.clone()?;
    let index = inputs.catalog.options(&inputs.spec.release, service)?;
    let Content::Sections(mut rest) = main.content.expose().clone() else { return None };
    let kept = kept(inputs, service, component, index);
    let mut live = Sections::new();
    for (section, options) in &mut rest {
        options.retain(|option, lines| {
            let known = index.get(section, option).is_some_and(oaas_catalog::OptionInfo::is_live);
            let taken = known && !kept.contains(&(section.clone(), option.clone()));
            if taken {
                live.entry(section.clone()).or_default().insert(option.clone(), std::mem::take(lines));
            }
            !taken
        });
    }
    rest.retain(|_, options| !options.is_empty());
    main.content = Sensitive::new(Content::Sections(rest));
    let name = main.path.rsplit('/').next().unwrap_or_default();
    let content = Sensitive::new(Content::Sections(live));
    Some((directory, Document { path: format!("{LIVE}/{name}"), format: main.format, content }))
}

/// Options, by section and name, that stay where pods roll for them.
fn kept(
    inputs: &Inputs<'_>,
    service: &Service,
    component: &Component,
    index: &OptionIndex,
) -> BTreeSet<(String, String)> {
    let mut kept = BTreeSet::new();
    let mut keep = |sections: &oaas_api::Sections, which: fn(&ConfigValue) -> bool| {
        for (section, options) in sections {
            for (option, _) in options.iter().filter(|(_, value)| which(value)) {
                let present = index.present(section, option);
                let (section, option) = present.unwrap_or((section.as_str(), option.as_str()));
                kept.insert((section.to_owned(), option.to_owned()));
            }
        }
    };
    for said in wanted(inputs, service, &component.name) {
        keep(&said.unchecked, |_| true);
        keep(&said.config, |value| !is_plain(value));
    }
    if component.kind == WorkloadKind::DaemonSet {
        for (name, sections) in inputs.spec.nodes.iter().flat_map(|group| &group.config) {
            if *name == service.name || *name == component.name {
                keep(sections, |_| true);
            }
        }
    }
    kept
}

/// One value that stands in the resource itself?
fn is_plain(value: &ConfigValue) -> bool {
    match value {
        ConfigValue::Bool(_) | ConfigValue::Integer(_) | ConfigValue::Number(_) | ConfigValue::Text(_) => {
            true
        }
        ConfigValue::List(_) | ConfigValue::Secret(_) => false,
    }
}
