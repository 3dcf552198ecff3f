//! What the resource says differently from catalog and profile.

use std::collections::BTreeMap;

use oaas_api::{ConfigValue, Service as Wanted};
use oaas_catalog::{Component, OptionKind, Service};

use crate::document::Sections;
use crate::inputs::Inputs;
use crate::select::profile_name;

/// Who decides how many replicas there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaOwner {
    /// The resource: a count that differs is put back.
    Resource,
    /// Whoever scales.
    Scaler,
}

/// How many replicas a component has, and who says so.
pub(crate) fn replicas(inputs: &Inputs<'_>, service: &Service, component: &Component) -> (u32, ReplicaOwner) {
    let said = wanted(inputs, service, component).find_map(|wanted| wanted.replicas);
    if let Some(said) = said {
        return (u32::try_from(said).unwrap_or(0), ReplicaOwner::Resource);
    }
    let profile = inputs.catalog.profiles().get(profile_name(inputs.spec.profile));
    let profiled = profile
        .and_then(|profile| profile.services.get(&service.name))
        .and_then(|service| service.replicas.get(&component.name));
    let count = inputs.observed.scaled.get(&component.name).or(profiled).copied();
    (count.unwrap_or(component.replicas.default), ReplicaOwner::Scaler)
}

/// What the resource says of a component: under its own name first, then under its service's.
pub(crate) fn wanted<'a>(
    inputs: &Inputs<'a>,
    service: &'a Service,
    component: &'a Component,
) -> impl Iterator<Item = &'a Wanted> {
    let own = (component.name != service.name).then(|| inputs.spec.services.get(&component.name)).flatten();
    own.into_iter().chain(inputs.spec.services.get(&service.name))
}

/// Put the user's options on top of a component's main file.
pub(crate) fn apply_options(
    inputs: &Inputs<'_>,
    service: &Service,
    component: &Component,
    sections: &mut Sections,
) {
    let index = inputs.catalog.options(&inputs.spec.release, service);
    let mut said: Vec<&Wanted> = wanted(inputs, service, component).collect();
    // The component's own words come last, so that they win.
    said.reverse();
    for wanted in said {
        for (checked, all) in [(true, &wanted.config), (false, &wanted.unchecked)] {
            for (section, options) in all {
                for (option, value) in options {
                    let kind = index
                        .filter(|_| checked)
                        .and_then(|index| index.get(section, option))
                        .map_or(OptionKind::Multi, oaas_catalog::OptionInfo::kind);
                    let texts = texts(inputs, value);
                    let texts = if kind == OptionKind::Multi { texts } else { vec![texts.join(",")] };
                    sections.entry(section.clone()).or_default().insert(option.clone(), texts);
                }
            }
        }
    }
}

/// The texts of a value; a Secret that is not there gives an empty one ([`crate::validate()`] refuses it before).
pub(crate) fn texts(inputs: &Inputs<'_>, value: &ConfigValue) -> Vec<String> {
    match value {
        ConfigValue::Bool(value) => vec![value.to_string()],
        ConfigValue::Integer(value) => vec![value.to_string()],
        ConfigValue::Number(value) => vec![value.to_string()],
        ConfigValue::Text(value) => vec![value.clone()],
        ConfigValue::List(values) => values.iter().flat_map(|value| texts(inputs, value)).collect(),
        ConfigValue::Secret(from) => {
            let key = (from.secret_key_ref.name.clone(), from.secret_key_ref.key.clone());
            vec![inputs.user_secrets.get(&key).map(|value| value.expose().clone()).unwrap_or_default()]
        }
    }
}

/// A memory amount in MiB, rounded up; `None` where it is not one.
pub(crate) fn mebibytes(amount: &str) -> Option<u32> {
    const UNITS: [(&str, f64); 10] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("m", 1e-3),
        ("", 1.0),
    ];
    let (number, factor) =
        UNITS.iter().find_map(|(unit, factor)| amount.strip_suffix(unit).map(|number| (number, factor)))?;
    let bytes = number.parse::<f64>().ok()? * factor;
    // Sizes of memory are far below what an f64 holds exactly; negative ones do not pass the schema.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (bytes >= 0.0).then_some((bytes / 1_048_576.0).ceil() as u32)
}

/// A processor amount in thousandths of a core; `None` where it is not one.
pub(crate) fn millis(amount: &str) -> Option<u32> {
    let number = match amount.strip_suffix('m') {
        Some(number) => number.parse::<f64>().ok()?,
        None => amount.parse::<f64>().ok()? * 1000.0,
    };
    // As above.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (number >= 0.0).then_some(number.ceil() as u32)
}

/// Requests and limits of a component with what the resource says on top.
pub(crate) fn resources(
    inputs: &Inputs<'_>,
    service: &Service,
    component: &Component,
) -> oaas_catalog::Resources {
    let mut resources = component.resources.clone();
    let mut said: Vec<&Wanted> = wanted(inputs, service, component).collect();
    said.reverse();
    for wanted in said {
        let empty = BTreeMap::new();
        let (requests, limits) =
            wanted.resources.as_ref().map_or((&empty, &empty), |given| (&given.requests, &given.limits));
        let memory = |amounts: &BTreeMap<String, oaas_api::Amount>| {
            amounts.get("memory").and_then(|a| mebibytes(&a.0))
        };
        resources.memory_mib = memory(requests).unwrap_or(resources.memory_mib);
        let short = wanted.memory.as_ref().and_then(|amount| mebibytes(&amount.0));
        resources.memory_limit_mib = memory(limits).or(short).unwrap_or(resources.memory_limit_mib);
        resources.memory_mib = resources.memory_mib.min(resources.memory_limit_mib);
        resources.cpu_millis = requests.get("cpu").and_then(|a| millis(&a.0)).unwrap_or(resources.cpu_millis);
        if let Some(limit) = limits.get("cpu").and_then(|amount| millis(&amount.0)) {
            resources.workers = (limit / 1000).max(1);
        }
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_writes_them() {
        assert_eq!(mebibytes("512Mi"), Some(512));
        assert_eq!(mebibytes("1Gi"), Some(1024));
        assert_eq!(mebibytes("1000000"), Some(1));
        assert_eq!(mebibytes("lots"), None);
        assert_eq!(millis("2"), Some(2000));
        assert_eq!(millis("250m"), Some(250));
    }
}
