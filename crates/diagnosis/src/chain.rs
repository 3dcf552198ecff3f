//! Who waits for whom, down to what does not work because of itself.

use std::collections::{BTreeMap, BTreeSet};

use oaas_api::Phase;
use serde::Serialize;

use crate::facts::{Component, Facts};
use crate::finding::{Finding, of_component, of_pods};

/// One cause, and who is not ready because of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// From what was asked about down to the component whose fault it is; empty when it is nobody's of them.
    pub components: Vec<String>,
    /// What is wrong there.
    pub cause: Finding,
    /// Further components that wait for the same, directly or not.
    pub also_waiting: Vec<String>,
}

/// Why the cloud, or one component of it, is not ready; empty when it is ready.
pub fn chains(facts: &Facts, asked: Option<&str>) -> Vec<Chain> {
    let overall: Vec<Chain> = of_cloud(facts).into_iter().map(alone).collect();
    let unready: BTreeMap<&str, &Component> = facts
        .components
        .iter()
        .filter(|(_, component)| !component.ready)
        .map(|(name, component)| (name.as_str(), component))
        .collect();
    let free: Vec<&str> =
        unready.keys().copied().filter(|name| blockers(&unready, name).is_empty()).collect();
    // A circle has no end; then each of it is looked at.
    let roots = if free.is_empty() { unready.keys().copied().collect() } else { free };
    let mut chains: Vec<Chain> = roots
        .into_iter()
        .filter_map(|root| {
            let waiting = waiting_for(&unready, root);
            let start = match asked {
                Some(asked) if asked != root && !waiting.contains(asked) => return None,
                Some(asked) => asked,
                None => farthest(&unready, root, &waiting),
            };
            let components: Vec<String> =
                path(&unready, start, root)?.into_iter().map(str::to_owned).collect();
            let also_waiting = waiting
                .iter()
                .filter(|name| !components.iter().any(|known| known == *name))
                .map(ToString::to_string)
                .collect();
            Some(Chain { components, cause: of_component(&facts.nodes, root, unready[root]), also_waiting })
        })
        .collect();
    // What holds up most comes first.
    chains.sort_by_key(|chain| std::cmp::Reverse(chain.components.len() + chain.also_waiting.len()));
    overall.into_iter().chain(chains).collect()
}

fn alone(cause: Finding) -> Chain {
    Chain { components: Vec::new(), cause, also_waiting: Vec::new() }
}

/// What keeps the whole cloud.
fn of_cloud(facts: &Facts) -> Vec<Finding> {
    let cloud = format!("cloud {}", facts.cloud);
    let says =
        |says: String, advice: Option<String>| Finding { object: cloud.clone(), says, log: None, advice };
    let mut out: Vec<Finding> = facts
        .refusals
        .iter()
        .map(|refusal| says(format!("its resource is refused: {refusal}"), None))
        .collect();
    if facts.phase == Some(Phase::Paused) {
        out.push(says("is paused".to_owned(), Some("set `spec.paused` to false".to_owned())));
    }
    if let Some(hash) = &facts.unapproved {
        let (namespace, name) = facts.cloud.split_once('/').unwrap_or(("", &facts.cloud));
        out.push(says(
            "its plan waits for approval".to_owned(),
            Some(format!(
                "`oaas kubectl --namespace {namespace} annotate oscloud {name} oaas.dev/approve={hash}` approves it"
            )),
        ));
    }
    if let Some(operator) = facts.operator.as_ref().filter(|operator| operator.ready == 0) {
        let nothing = || Finding {
            object: "operator".to_owned(),
            says: "does not run, so nothing changes".to_owned(),
            log: None,
            advice: Some("`oaas up` installs it again".to_owned()),
        };
        out.push(of_pods(&facts.nodes, "operator", &operator.pods).unwrap_or_else(nothing));
    }
    if let Some(silence) = &facts.silence {
        out.push(Finding {
            object: "operator".to_owned(),
            says: format!("{silence}; what it said of the cloud is from before"),
            log: None,
            advice: Some(
                "`oaas kubectl get nodes` shows whether its node is away; `oaas up` starts what is off"
                    .to_owned(),
            ),
        });
    }
    out
}

/// What `name` waits for that is not ready either.
fn blockers<'a>(unready: &BTreeMap<&'a str, &'a Component>, name: &str) -> Vec<&'a str> {
    unready[name]
        .waits_on
        .iter()
        .filter(|part| part.name != name)
        .filter_map(|part| unready.get_key_value(part.name.as_str()).map(|(name, _)| *name))
        .collect()
}

/// Everything that waits for `root`, directly or not.
fn waiting_for<'a>(unready: &BTreeMap<&'a str, &'a Component>, root: &str) -> BTreeSet<&'a str> {
    let mut waiting = BTreeSet::new();
    loop {
        let more: Vec<&str> = unready
            .keys()
            .filter(|name| !waiting.contains(*name))
            .filter(|name| blockers(unready, name).iter().any(|need| *need == root || waiting.contains(need)))
            .copied()
            .collect();
        if more.is_empty() {
            return waiting;
        }
        waiting.extend(more);
    }
}

/// The one with the longest way to `root`, so that the chain shows as much as one chain can.
fn farthest<'a>(
    unready: &BTreeMap<&'a str, &'a Component>,
    root: &'a str,
    waiting: &BTreeSet<&'a str>,
) -> &'a str {
    waiting
        .iter()
        .copied()
        .max_by_key(|name| path(unready, name, root).map_or(0, |path| path.len()))
        .unwrap_or(root)
}

/// The longest way from `from` down to `root` along what is needed; no component twice.
fn path<'a>(unready: &BTreeMap<&'a str, &'a Component>, from: &'a str, root: &str) -> Option<Vec<&'a str>> {
    fn go<'a>(
        unready: &BTreeMap<&'a str, &'a Component>,
        at: &'a str,
        root: &str,
        seen: &mut Vec<&'a str>,
        known: &mut BTreeMap<&'a str, Option<Vec<&'a str>>>,
    ) -> Option<Vec<&'a str>> {
        if at == root {
            return Some(vec![at]);
        }
        if let Some(path) = known.get(at) {
            return path.clone();
        }
        if seen.contains(&at) {
            return None;
        }
        seen.push(at);
        let below = blockers(unready, at)
            .into_iter()
            .filter_map(|need| go(unready, need, root, seen, known))
            .max_by_key(Vec::len);
        seen.pop();
        let path = below.map(|below| std::iter::once(at).chain(below).collect::<Vec<_>>());
        known.insert(at, path.clone());
        path
    }
    go(unready, from, root, &mut Vec::new(), &mut BTreeMap::new())
}
