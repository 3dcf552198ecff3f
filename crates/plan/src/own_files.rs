//! Files of the user's beside those of the catalog: whole ones, and the rules of a service's policy.

use std::collections::{BTreeMap, BTreeSet};

use oaas_catalog::{Component, FileFormat, Release, Service};

use crate::document::{Content, Document};
use crate::inputs::Inputs;
use crate::options::{elsewhere, reads_options};
use crate::overrides::wanted;
use crate::problem::Problems;
use crate::sensitive::Sensitive;

/// The file that oslo.policy looks for in the directory of the main file (oslo.policy, `[oslo_policy] policy_file`).
const POLICY: &str = "policy.yaml";

/// The user's files of a component, in the directory of its service's main file. What is said of the component itself wins.
pub(crate) fn documents(
    inputs: &Inputs<'_>,
    service: &Service,
    component: &Component,
    main: &str,
) -> Vec<Document> {
    let directory = main.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut said: Vec<_> = wanted(inputs, service, &component.name).collect();
    said.reverse();
    let mut files: BTreeMap<String, Document> = BTreeMap::new();
    let mut add = |name: &str, format, content| {
        let path = format!("{directory}/{name}");
        files.insert(name.to_owned(), Document { path, format, content: Sensitive::new(content) });
    };
    let rules: serde_json::Map<String, serde_json::Value> = said
        .iter()
        .flat_map(|wanted| &wanted.policy)
        .map(|(rule, check)| (rule.clone(), check.clone().into()))
        .collect();
    if !rules.is_empty() && answers(service, component) {
        add(POLICY, FileFormat::Yaml, Content::Tree(rules.into()));
    }
    for (name, text) in said.iter().flat_map(|wanted| &wanted.config_files) {
        let lines = text.lines().map(str::to_owned).collect();
        add(name, FileFormat::Lines, Content::Lines(lines));
    }
    files.into_values().collect()
}

/// Does it answer an API? Its rules are asked where requests come in.
fn answers(service: &Service, component: &Component) -> bool {
    service.apis.iter().any(|api| api.component == component.name)
}

/// What is wrong with the files that the resource says under one name.
pub(crate) fn problems(
    inputs: &Inputs<'_>,
    release: &Release,
    service: &Service,
    name: &str,
    problems: &mut Problems,
) {
    let Some(said) = inputs.spec.services.get(name) else { return };
    let own = |component: &&Component| name == service.name || component.name == name;
    // The directory is that of the main file.
    let has_directory = |component: &Component| reads_options(service, component);
    let path = format!("spec.services.{name}");
    if !said.config_files.is_empty() && !service.components.iter().filter(own).any(has_directory) {
        let hint = elsewhere(service, has_directory);
        problems.add(
            format!("{path}.configFiles"),
            format!("{name} has no directory of configuration files"),
            hint,
        );
    }
    let taken: BTreeSet<String> = service.files.values().filter_map(|file| plain_name(&file.path)).collect();
    for file in said.config_files.keys() {
        file_name(&format!("{path}.configFiles.{file}"), file, &taken, problems);
    }
    let known = inputs.catalog.options(&release.name, service);
    let has_policy = known.is_none_or(|index| index.sections().any(|section| section == "oslo_policy"));
    let asks = |component: &Component| has_policy && answers(service, component);
    if !said.policy.is_empty() && !service.components.iter().filter(own).any(asks) {
        problems.add(format!("{path}.policy"), format!("{name} asks no policy"), elsewhere(service, asks));
    }
    for (rule, check) in &said.policy {
        if let Some(wrong) = wrong_check(check) {
            let hint =
                "a check is such as `role:admin and project_id:%(project_id)s`; `@` allows all, `!` nobody";
            problems.add(format!("{path}.policy.{rule}"), wrong, hint.to_owned());
        }
    }
}

/// The name of a file of the catalog, where it is one for all.
fn plain_name(path: &oaas_catalog::Scalar) -> Option<String> {
    match path {
        oaas_catalog::Scalar::Text(segments) => match segments.as_slice() {
            [oaas_catalog::Segment::Text(path)] => path.rsplit('/').next().map(str::to_owned),
            _ => None,
        },
        _ => None,
    }
}

fn file_name(path: &str, name: &str, taken: &BTreeSet<String>, problems: &mut Problems) {
    let fits = |part: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        !part.is_empty() && part != "." && part != ".." && part.chars().all(good)
    };
    if name.starts_with('/') || !name.split('/').all(fits) {
        let hint =
            "write a path below the service's configuration directory, such as `extra/map.json`".to_owned();
        problems.add(path, format!("{name} is no such path"), hint);
    } else if taken.contains(name) {
        let hint = "put what differs under `config`, or `unchecked` what the catalog cannot know".to_owned();
        problems.add(path, format!("{name} is a file of the service's own"), hint);
    } else if name == POLICY {
        problems.add(
            path,
            "the rules of the policy have a field of their own",
            "put them under `policy`".to_owned(),
        );
    }
}

/// What is wrong with a check, in the words of oslo.policy (`oslo_policy/_parser.py`): checks are `kind:match`, `@` and `!`,
/// joined by `and`, `or` and `not`, with parentheses.
fn wrong_check(check: &str) -> Option<String> {
    let mut depth = 0i32;
    for word in check.split_whitespace() {
        let inner = word.trim_start_matches('(');
        depth += i32::try_from(word.len() - inner.len()).unwrap_or(i32::MAX);
        // `%(project_id)s` has parentheses of its own.
        let closing = inner.len() - inner.trim_end_matches(')').len();
        depth -= i32::try_from(closing).unwrap_or(i32::MAX);
        if depth < 0 {
            return Some(format!("`{check}` has a parenthesis that closes nothing"));
        }
        let inner = &inner[..inner.len() - closing];
        let joins = ["and", "or", "not", "@", "!", ""].contains(&inner.to_lowercase().as_str());
        if !joins && !inner.contains(':') {
            return Some(format!("`{inner}` is no check"));
        }
    }
    (depth > 0).then(|| format!("`{check}` has a parenthesis that is not closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_read_as_the_library_reads_them() {
        for good in [
            "",
            "@",
            "!",
            "role:admin",
            "(role:admin or project_id:%(project_id)s) and not rule:x",
            "rule:a and (role:b)",
        ] {
            assert_eq!(wrong_check(good), None, "{good}");
        }
        assert_eq!(wrong_check("role=admin").as_deref(), Some("`role=admin` is no check"));
        assert_eq!(
            wrong_check("(role:admin").as_deref(),
            Some("`(role:admin` has a parenthesis that is not closed")
        );
        assert_eq!(
            wrong_check("role:admin)").as_deref(),
            Some("`role:admin)` has a parenthesis that closes nothing")
        );
    }
}
