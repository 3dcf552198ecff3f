//! What can be done and is better said otherwise.

use oaas_catalog::{OptionIndex, Release};

use crate::inputs::Inputs;
use crate::problem::{Problem, Problems};
use crate::select::cloud_catalog;

/// What is said about a resource that can be done: options that are deprecated, that have another name by now, or that the
/// next release does not have.
pub fn warnings(inputs: &Inputs<'_>) -> Vec<Problem> {
    let mut found = Problems::default();
    // Whatever keeps the catalog from being selected is refused.
    let Ok(catalog) = cloud_catalog(inputs) else { return Vec::new() };
    let next = next_release(inputs);
    for service in catalog.services() {
        let Some(index) = inputs.catalog.options(&inputs.spec.release, service) else { continue };
        let later = next.and_then(|next| Some((next, inputs.catalog.options(&next.name, service)?)));
        let components = service.components.iter().map(|component| component.name.as_str());
        let names = components.filter(|name| *name != service.name).chain([service.name.as_str()]);
        for (name, wanted) in names.filter_map(|name| inputs.spec.services.get_key_value(name)) {
            for (section, options) in &wanted.config {
                for option in options.keys() {
                    let path = format!("spec.services.{name}.config.{section}.{option}");
                    of_option(&path, section, option, index, later, &mut found);
                }
            }
        }
    }
    found.0
}

/// The release that comes after the cloud's, of those that the catalog has.
fn next_release<'a>(inputs: &Inputs<'a>) -> Option<&'a Release> {
    let releases = inputs.catalog.releases();
    let own = releases.get(&inputs.spec.release)?.order;
    releases.values().filter(|release| release.order > own).min_by_key(|release| release.order)
}

fn of_option(
    path: &str,
    section: &str,
    option: &str,
    index: &OptionIndex,
    later: Option<(&Release, &OptionIndex)>,
    found: &mut Problems,
) {
    let Some(present) = index.present(section, option) else { return };
    if present != (section, option) {
        let hint = format!("write [{}] {}", present.0, present.1);
        found.add(path, format!("[{section}] {option} is an older name"), hint);
    }
    let (section, option) = present;
    let Some(info) = index.get(section, option) else { return };
    if info.deprecated {
        let hint =
            "the service says that it will go; see its release notes for what takes its place".to_owned();
        found.add(path, format!("[{section}] {option} is deprecated"), hint);
    }
    let Some((release, later)) = later else { return };
    match later.present(section, option) {
        Some(same) if same == present => {}
        Some((section, option)) => {
            let hint = format!("it is [{section}] {option} there");
            found.add(path, format!("release {} has another name for it", release.name), hint);
        }
        None => {
            let hint = "take it out before the cloud goes there".to_owned();
            found.add(path, format!("release {} does not have this option", release.name), hint);
        }
    }
}
