//! What is wrong with the processor time and memory that the resource says of a service.

use std::collections::BTreeMap;

use oaas_api::{Amount, Service as Wanted};

use crate::overrides::{mebibytes, millis};
use crate::problem::{Problems, suggestion};

/// The resources that a container's requests and limits are about.
const KNOWN: [&str; 2] = ["cpu", "memory"];
/// The least memory that any program here starts with, in MiB.
const LEAST_MEMORY_MIB: u32 = 4;

/// What is wrong with the amounts under one name of `spec.services`, at `path`.
pub(crate) fn problems(path: &str, wanted: &Wanted, problems: &mut Problems) {
    let given = wanted.resources.clone().unwrap_or_default();
    for (field, amounts) in [("requests", &given.requests), ("limits", &given.limits)] {
        for (name, amount) in amounts {
            one(&format!("{path}.resources.{field}.{name}"), name, amount, problems);
        }
    }
    if let Some(memory) = &wanted.memory {
        one(&format!("{path}.memory"), "memory", memory, problems);
        if let Some(limit) = given.limits.get("memory").filter(|limit| *limit != memory) {
            let message = format!("{memory} here and {limit} under resources.limits.memory");
            problems.add(
                format!("{path}.memory"),
                message,
                "it is short for the other: keep one of them".to_owned(),
            );
        }
    }
    more_than_limit(path, &given.requests, &wanted.limits(), problems);
}

fn one(path: &str, name: &str, amount: &Amount, problems: &mut Problems) {
    let (size, least, hint) = match name {
        "cpu" => (millis(&amount.0), 1, "write it like 500m or 2"),
        "memory" => (mebibytes(&amount.0), LEAST_MEMORY_MIB, "write it like 512Mi"),
        other => {
            let hint = suggestion(other, KNOWN.into_iter());
            problems.add(path, format!("{other} is not a resource of a service's container"), hint);
            return;
        }
    };
    if size.is_none_or(|size| size < least) {
        problems.add(path, format!("{amount} is not an amount of {name} to run with"), hint.to_owned());
    }
}

/// Kubernetes refuses a request beyond its limit, and of the resource nothing is left out in silence.
fn more_than_limit(
    path: &str,
    requests: &BTreeMap<String, Amount>,
    limits: &BTreeMap<String, Amount>,
    problems: &mut Problems,
) {
    for (name, request) in requests {
        let Some(limit) = limits.get(name) else { continue };
        let size = |amount: &Amount| if name == "cpu" { millis(&amount.0) } else { mebibytes(&amount.0) };
        if size(request) > size(limit) {
            problems.add(
                format!("{path}.resources.requests.{name}"),
                format!("{request} is more than the limit {limit}"),
                format!("write {limit} or less, or raise the limit"),
            );
        }
    }
}
