//! What the resource says differently from catalog and profile.

use oaas_api::{ConfigValue, Service as Wanted};
use oaas_catalog::{Component, OptionIndex, OptionKind, ReplicaRule, Service};

use crate::document::Sections;
use crate::inputs::Inputs;
use crate::secrets::SecretKey;
use crate::select::profile_name;

/// Who decides how many replicas there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaOwner {
    /// The resource: a count that differs is put back.
    Resource,
    /// Whoever scales.
    Scaler,
}

/// How many replicas a component has, and who says so. The members of one that votes stay as many as they are, whoever
/// scales; what resource and profile say of them is judged by [`crate::validate()`].
pub(crate) fn replicas(inputs: &Inputs<'_>, service: &Service, component: &Component) -> (u32, ReplicaOwner) {
    let (given, owner) = given_replicas(inputs, service, component);
    if owner == ReplicaOwner::Resource {
        return (given, owner);
    }
    let name = &component.name;
    let scaled = inputs.observed.scaled.get(name).copied();
    let count = match voting_members(inputs, component) {
        None => scaled.unwrap_or(given),
        Some(members) => {
            let before = inputs.observed.given.get(name);
            let asked = scaled.is_none() && before.is_some_and(|before| *before != given);
            if asked { given } else { members }
        }
    };
    (count, owner)
}

/// How many replicas resource, profile and catalog give a component, whoever has scaled it.
pub(crate) fn given_replicas(
    inputs: &Inputs<'_>,
    service: &Service,
    component: &Component,
) -> (u32, ReplicaOwner) {
    let said = wanted(inputs, service, &component.name).find_map(|wanted| wanted.replicas);
    if let Some(said) = said {
        return (u32::try_from(said).unwrap_or(0), ReplicaOwner::Resource);
    }
    let profile = inputs.catalog.profiles().get(profile_name(inputs.spec.profile));
    let profiled = profile
        .and_then(|profile| profile.services.get(&service.name))
        .and_then(|service| service.replicas.get(&component.name));
    (profiled.copied().unwrap_or(component.replicas.default), ReplicaOwner::Scaler)
}

/// How many members vote in a component that runs; none where they do not vote, or where it never started. A workload may
/// be away for a moment, to be made anew: the members' volumes tell then.
pub(crate) fn voting_members(inputs: &Inputs<'_>, component: &Component) -> Option<u32> {
    let observed = inputs.observed;
    let of_volumes = || {
        let volumes = observed.volumes.get(&component.name).filter(|_| observed.database_lived)?;
        u32::try_from(*volumes).ok().filter(|count| *count > 0)
    };
    let votes = component.replicas.rule == ReplicaRule::Odd;
    votes.then(|| observed.members.get(&component.name).copied().or_else(of_volumes)).flatten()
}

/// What the resource says of a component or job: under its own name first, then under its service's.
pub(crate) fn wanted<'a>(
    inputs: &Inputs<'a>,
    service: &'a Service,
    name: &'a str,
) -> impl Iterator<Item = &'a Wanted> {
    let own = (name != service.name).then(|| inputs.spec.services.get(name)).flatten();
    own.into_iter().chain(inputs.spec.services.get(&service.name))
}

/// Whether a component or job is given what is said of an option under its service's name. One-off work is not: it is
/// done, and an option of the service makes it no other work. What is said under its own name it gets.
fn reads(service: &Service, name: &str, section: &str, option: &str) -> bool {
    let once = service.jobs.iter().any(|job| job.name == name && job.schedule.is_none());
    let readers =
        service.read_by.get(&format!("{section}.{option}")).or_else(|| service.read_by.get(section));
    !once && readers.is_none_or(|names| names.iter().any(|one| one == name))
}

/// Put the user's options on top of the main file of a component or job.
pub(crate) fn apply_options(inputs: &Inputs<'_>, service: &Service, name: &str, sections: &mut Sections) {
    let index = inputs.catalog.options(&inputs.spec.release, service);
    let own = inputs.spec.services.get(name).filter(|_| name != service.name);
    let mut said: Vec<&Wanted> = wanted(inputs, service, name).collect();
    // The component's own words come last, so that they win.
    said.reverse();
    for wanted in said {
        let own = own.is_some_and(|own| std::ptr::eq(own, wanted));
        let reads = |section: &str, option: &str| own || reads(service, name, section, option);
        put_options(inputs, index, &wanted.config, reads, sections);
        put_options(inputs, None, &wanted.unchecked, reads, sections);
    }
}

/// Put options on top of others, written as their kinds in an index ask for.
pub(crate) fn put_options(
    inputs: &Inputs<'_>,
    index: Option<&OptionIndex>,
    said: &oaas_api::Sections,
    reads: impl Fn(&str, &str) -> bool,
    target: &mut Sections,
) {
    for (section, options) in said {
        for (option, value) in options.iter().filter(|(option, _)| reads(section, option)) {
            // A service that finds both names takes the newer, which the catalog may have written.
            let present = index.and_then(|index| index.present(section, option));
            let (section, option) = present.unwrap_or((section.as_str(), option.as_str()));
            let lines = lines(index, section, option, texts(inputs, value));
            target.entry(section.to_owned()).or_default().insert(option.to_owned(), lines);
        }
    }
}

/// The lines of an option's values: one of them all, separated by commas, but where an index says that the option may stand
/// several times, or knows nothing of it.
pub(crate) fn lines(
    index: Option<&OptionIndex>,
    section: &str,
    option: &str,
    values: Vec<String>,
) -> Vec<String> {
    let info = index.and_then(|index| index.get(section, option));
    match info.map_or(OptionKind::Multi, oaas_catalog::OptionInfo::kind) {
        OptionKind::Multi => values,
        _ => vec![values.join(",")],
    }
}

/// Put the user's options on top of a main file that is nested data: a section is the mapping of that name, and what is
/// said of `DEFAULT` stands at the top.
pub(crate) fn apply_to_tree(
    inputs: &Inputs<'_>,
    service: &Service,
    name: &str,
    tree: &mut serde_json::Value,
) {
    let mut said: Vec<&Wanted> = wanted(inputs, service, name).collect();
    said.reverse();
    for (section, options) in
        said.into_iter().flat_map(|wanted| wanted.config.iter().chain(&wanted.unchecked))
    {
        let into = if section == "DEFAULT" { &mut *tree } else { &mut tree[section.as_str()] };
        if !into.is_object() {
            *into = serde_json::json!({});
        }
        for (option, value) in options {
            into[option.as_str()] = leaf(inputs, value);
        }
    }
}

/// A value as nested data has it.
fn leaf(inputs: &Inputs<'_>, value: &ConfigValue) -> serde_json::Value {
    match value {
        ConfigValue::Bool(value) => (*value).into(),
        ConfigValue::Integer(value) => (*value).into(),
        ConfigValue::Number(value) => (*value).into(),
        ConfigValue::List(values) => values.iter().map(|value| leaf(inputs, value)).collect(),
        ConfigValue::Text(_) | ConfigValue::Secret(_) => texts(inputs, value).concat().into(),
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
            let from = &from.secret_key_ref;
            let key = SecretKey { name: from.name.clone(), key: from.key.clone() };
            let value = inputs.user_secrets.and_then(|secrets| secrets.get(&key));
            vec![value.map(|value| value.expose().clone()).unwrap_or_default()]
        }
    }
}

/// An amount as Kubernetes writes them, in thousandths; `None` where it is not one.
fn thousandths(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 14] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
        ("m", 1e-3),
        ("", 1.0),
    ];
    let (number, factor) =
        UNITS.iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, factor)))?;
    let amount = number.parse::<f64>().ok()? * factor * 1000.0;
    (amount >= 0.0).then_some(amount)
}

/// An amount of bytes, rounded up; `None` where it is not one.
pub(crate) fn amount(text: &str) -> Option<u64> {
    // `as` is exact up to 8 PiB and stops at the largest number; negative ones are none.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    thousandths(text).map(|amount| (amount / 1000.0).ceil() as u64)
}

/// A memory amount in MiB, rounded up; `None` where it is not one.
pub(crate) fn mebibytes(text: &str) -> Option<u32> {
    amount(text).and_then(|bytes| u32::try_from(bytes.div_ceil(1_048_576)).ok())
}

/// A processor amount in thousandths of a core, rounded up; `None` where it is not one.
pub(crate) fn millis(text: &str) -> Option<u32> {
    // As above.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    thousandths(text).and_then(|amount| u32::try_from(amount.ceil() as u64).ok())
}

/// Requests and limits of a component or job with what the resource says on top. A request of the catalog's is no more
/// than the limit that the resource says.
pub(crate) fn resources(
    inputs: &Inputs<'_>,
    service: &Service,
    name: &str,
    of_catalog: &oaas_catalog::Resources,
) -> oaas_catalog::Resources {
    let mut resources = of_catalog.clone();
    let mut said: Vec<&Wanted> = wanted(inputs, service, name).collect();
    said.reverse();
    for wanted in said {
        let requests = wanted.resources.as_ref().map(|given| &given.requests);
        let limits = wanted.limits();
        let request = |name: &str| requests.and_then(|given| given.get(name));
        let memory = |amount: Option<&oaas_api::Amount>| amount.and_then(|amount| mebibytes(&amount.0));
        let cpu = |amount: Option<&oaas_api::Amount>| amount.and_then(|amount| millis(&amount.0));
        resources.memory_mib = memory(request("memory")).unwrap_or(resources.memory_mib);
        resources.memory_limit_mib = memory(limits.get("memory")).unwrap_or(resources.memory_limit_mib);
        resources.cpu_millis = cpu(request("cpu")).unwrap_or(resources.cpu_millis);
        if let Some(limit) = cpu(limits.get("cpu")) {
            resources.cpu_limit_millis = Some(limit);
            resources.workers = (limit / 1000).max(1);
        }
    }
    resources.memory_mib = resources.memory_mib.min(resources.memory_limit_mib);
    resources.cpu_millis = resources.cpu_millis.min(resources.cpu_limit_millis.unwrap_or(u32::MAX));
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
        assert_eq!(mebibytes("1Pi"), Some(1 << 30));
        assert_eq!(mebibytes("8Ei"), None);
        assert_eq!(amount("10Gi"), Some(10 << 30));
        assert_eq!(millis("2"), Some(2000));
        assert_eq!(millis("250m"), Some(250));
    }
}
