//! The user's options of a service: whether something reads them, and what is wrong with them.

use oaas_api::{ConfigValue, Sections};
use oaas_catalog::{Component, OptionIndex, OptionInfo, OptionKind, OptionRule, Release, Service};

use crate::inputs::Inputs;
use crate::overrides::texts;
use crate::problem::{Problems, suggestion};
use crate::secrets::SecretKey;

/// Whether a component reads the file that takes the user's options.
pub(crate) fn reads_options(service: &Service, component: &Component) -> bool {
    let main = service.main.as_ref();
    main.is_some_and(|main| !component.pod.config.is_empty() || component.pod.files.contains(main))
}

/// What to do with words that stand where nothing takes them: the components of the service that do.
pub(crate) fn elsewhere(service: &Service, takes: impl Fn(&Component) -> bool) -> String {
    let others = service.components.iter().filter(|component| takes(component));
    let names: Vec<&str> = others.map(|component| component.name.as_str()).collect();
    if names.is_empty() {
        "take them out".to_owned()
    } else {
        format!("put them under one of {}", names.join(", "))
    }
}

/// What is wrong with the options that the resource says under one name: a service's or a component's.
pub(crate) fn problems(
    inputs: &Inputs<'_>,
    release: &Release,
    service: &Service,
    name: &str,
    problems: &mut Problems,
) {
    let Some(wanted) = inputs.spec.services.get(name) else { return };
    let path = format!("spec.services.{name}");
    let of_name = |component: &&Component| name == service.name || component.name == name;
    let read = service.components.iter().filter(of_name).any(|component| reads_options(service, component));
    for (field, sections) in [("config", &wanted.config), ("unchecked", &wanted.unchecked)] {
        if !sections.is_empty() && !read {
            let hint = elsewhere(service, |component| reads_options(service, component));
            problems.add(format!("{path}.{field}"), format!("{name} reads no file of options"), hint);
        }
    }
    if read && !wanted.config.is_empty() {
        if let Some(index) = inputs.catalog.options(&release.name, service) {
            checked(inputs, &format!("{path}.config"), &wanted.config, index, problems);
        } else {
            let hint = "put the options under `unchecked`".to_owned();
            problems.add(format!("{path}.config"), format!("the options of {name} are not known"), hint);
        }
    }
    secrets(inputs, &format!("{path}.unchecked"), &wanted.unchecked, problems);
    for rule in &service.rules {
        broken(inputs, service, name, rule, problems);
    }
}

/// Says so if what is said under a name breaks a rule. What the rule needs may also be said of the whole service.
fn broken(inputs: &Inputs<'_>, service: &Service, name: &str, rule: &OptionRule, problems: &mut Problems) {
    let Some(field) = says(inputs, name, &rule.option) else { return };
    let said =
        |option: &String| [name, &service.name].iter().any(|name| says(inputs, name, option).is_some());
    let (option, value) = split(&rule.option);
    let path = format!("spec.services.{name}.{field}.{option}");
    match &rule.needs {
        Some(needs) if said(needs) => {}
        Some(needs) => {
            let what = value.map_or_else(String::new, |value| format!("{value} "));
            let (option, value) = split(needs);
            let needs = value.map_or_else(|| option.to_owned(), |value| format!("{option}: {value}"));
            problems.add(path, format!("{what}needs {needs}"), rule.hint.clone());
        }
        None => problems.add(path, "it is each node's own", rule.hint.clone()),
    }
}

/// `SECTION.OPTION=VALUE`, split before the value.
pub(crate) fn split(option: &str) -> (&str, Option<&str>) {
    option.split_once('=').map_or((option, None), |(option, value)| (option, Some(value)))
}

/// In which field the resource says an option under a name, if it does.
fn says(inputs: &Inputs<'_>, name: &str, option: &str) -> Option<&'static str> {
    let wanted = inputs.spec.services.get(name)?;
    [("config", &wanted.config), ("unchecked", &wanted.unchecked)]
        .into_iter()
        .find_map(|(field, sections)| is_said(inputs, sections, option).then_some(field))
}

/// Do sections say an option, `SECTION.OPTION`, or that it has a value, `SECTION.OPTION=VALUE`?
pub(crate) fn is_said(inputs: &Inputs<'_>, sections: &Sections, option: &str) -> bool {
    let (option, value) = split(option);
    let said = option.split_once('.').and_then(|(section, option)| sections.get(section)?.get(option));
    said.is_some_and(|said| value.is_none_or(|value| texts(inputs, said) == [value]))
}

/// What is wrong with options, each held against what is known of it.
pub(crate) fn checked(
    inputs: &Inputs<'_>,
    path: &str,
    sections: &Sections,
    index: &OptionIndex,
    problems: &mut Problems,
) {
    for (section, options) in sections {
        for (option, value) in options {
            let path = format!("{path}.{section}.{option}");
            // An older name is understood as well, and warned of.
            match index.present(section, option).and_then(|(section, option)| index.get(section, option)) {
                Some(info) => option_value(&path, value, info, problems),
                None => unknown_option(&path, section, option, index, problems),
            }
        }
    }
    secrets(inputs, path, sections, problems);
}

fn unknown_option(path: &str, section: &str, option: &str, index: &OptionIndex, problems: &mut Problems) {
    let known = index.sections().any(|name| name == section);
    let otherwise = if known {
        "put it under `unchecked` if a plugin reads it"
    } else {
        "there is no such section; put it under `unchecked` if a plugin reads it"
    };
    let hint = index.instead_of(section, option).unwrap_or_else(|| otherwise.to_owned());
    problems.add(path, format!("there is no option {option} in [{section}]"), Some(hint));
}

fn option_value(path: &str, value: &ConfigValue, info: &OptionInfo, problems: &mut Problems) {
    let text = match value {
        ConfigValue::Bool(value) => value.to_string(),
        ConfigValue::Integer(value) => value.to_string(),
        ConfigValue::Number(value) => value.to_string(),
        ConfigValue::Text(value) => value.clone(),
        ConfigValue::List(_) if !matches!(info.kind(), OptionKind::List | OptionKind::Multi) => {
            let hint = "write the one value, without brackets".to_owned();
            problems.add(path, format!("takes one {}, not a list", info.type_name), Some(hint));
            return;
        }
        ConfigValue::List(_) | ConfigValue::Secret(_) => return,
    };
    let number = text.parse::<f64>();
    let wrong = match info.kind() {
        OptionKind::Bool => {
            let words = ["true", "false", "1", "0", "yes", "no", "on", "off", "t", "f", "y", "n"];
            (!words.contains(&text.to_lowercase().as_str())).then(|| format!("{text} is not true or false"))
        }
        OptionKind::Integer if text.parse::<i64>().is_err() => Some(format!("{text} is not a whole number")),
        OptionKind::Float if number.is_err() => Some(format!("{text} is not a number")),
        OptionKind::Integer | OptionKind::Float => {
            let number = number.unwrap_or_default();
            if info.min.is_some_and(|min| number < min) {
                Some(format!("{text} is less than {}", info.min.unwrap_or_default()))
            } else if info.max.is_some_and(|max| number > max) {
                Some(format!("{text} is more than {}", info.max.unwrap_or_default()))
            } else {
                None
            }
        }
        _ => None,
    };
    if let Some(message) = wrong {
        problems.add(path, message, Some(format!("the option takes: {}", info.type_name)));
        return;
    }
    let choices: Vec<String> = info
        .choices
        .iter()
        .map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned))
        .collect();
    if !choices.is_empty() && !choices.contains(&text) {
        problems.add(
            path,
            format!("{text} is not one of the choices"),
            Some(suggestion(&text, choices.iter().map(String::as_str))),
        );
    }
}

fn secrets(inputs: &Inputs<'_>, path: &str, sections: &Sections, problems: &mut Problems) {
    for (section, options) in sections {
        for (option, value) in options {
            let path = format!("{path}.{section}.{option}");
            match value {
                ConfigValue::List(values) => {
                    for (index, value) in values.iter().enumerate() {
                        referred(inputs, &format!("{path}[{index}]"), value, problems);
                    }
                }
                value => referred(inputs, &path, value, problems),
            }
        }
    }
}

/// A value that stands in a Secret is there.
fn referred(inputs: &Inputs<'_>, path: &str, value: &ConfigValue, problems: &mut Problems) {
    if let ConfigValue::Secret(from) = value {
        secret(inputs, path, &from.secret_key_ref.name, &from.secret_key_ref.key, problems);
    }
}

/// A key of one of the user's Secrets is there and not empty. Nothing is said where no cluster was asked.
pub(crate) fn secret(inputs: &Inputs<'_>, path: &str, name: &str, key: &str, problems: &mut Problems) {
    let Some(secrets) = inputs.user_secrets else { return };
    let namespace = &inputs.cloud.namespace;
    match secrets.get(&SecretKey { name: name.to_owned(), key: key.to_owned() }) {
        None => {
            let hint = format!(
                "make it: kubectl -n {namespace} create secret generic {name} --from-file={key}=FILE, or name \
                 another one"
            );
            problems.add(path, format!("there is no key {key} in a Secret {name}"), Some(hint));
        }
        Some(value) if value.expose().is_empty() => {
            let message = format!("the key {key} of the Secret {name} is empty");
            problems.add(path, message, Some("write the value there".into()));
        }
        Some(_) => {}
    }
}
