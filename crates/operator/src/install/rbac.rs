//! What the operator may do: every group, resource and verb by name.

use k8s_openapi::api::rbac::v1::PolicyRule;

const READ: &[&str] = &["get", "list", "watch"];
/// Read, and write by server-side apply (which needs `create` for what does not exist yet).
const OWN: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

/// One row: group, resources, verbs.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

/// In every namespace, because clouds may be in any.
const EVERYWHERE: &[Row] = &[
    ("oaas.dev", &["openstacks"], &["get", "list", "watch", "patch"]),
    ("oaas.dev", &["openstacks/status", "openstackcomponents/status"], &["patch"]),
    ("oaas.dev", &["openstackcomponents"], OWN),
    ("", &["configmaps", "secrets", "services", "serviceaccounts", "persistentvolumeclaims"], OWN),
    // The ledger is changed by compare-and-swap, which is a replace.
    ("", &["configmaps"], &["update"]),
    // Deleted to be made anew (OnDelete); patched by agents, to whom the operator can give only what it has itself.
    ("", &["pods"], &["get", "list", "watch", "patch", "delete"]),
    ("", &["events"], &["list"]),
    ("events.k8s.io", &["events"], &["create", "patch"]),
    // Labels that say which node runs what.
    ("", &["nodes"], &["get", "list", "watch", "patch"]),
    ("apps", &["deployments", "statefulsets", "daemonsets"], OWN),
    ("batch", &["jobs", "cronjobs"], OWN),
    ("policy", &["poddisruptionbudgets"], OWN),
    ("networking.k8s.io", &["networkpolicies"], OWN),
    ("discovery.k8s.io", &["endpointslices"], OWN),
    ("rbac.authorization.k8s.io", &["roles", "rolebindings"], OWN),
    ("storage.k8s.io", &["storageclasses"], READ),
];

/// In the operator's own namespace: its lease, and the registry of clouds.
const AT_HOME: &[Row] = &[("coordination.k8s.io", &["leases"], &["get", "create", "update"])];

fn rules(rows: &[Row]) -> Vec<PolicyRule> {
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    rows.iter()
        .map(|(group, resources, verbs)| PolicyRule {
            api_groups: Some(vec![(*group).to_owned()]),
            resources: Some(own(resources)),
            verbs: own(verbs),
            ..PolicyRule::default()
        })
        .collect()
}

/// Rules for every namespace.
pub(super) fn everywhere() -> Vec<PolicyRule> {
    rules(EVERYWHERE)
}

/// Rules for the operator's own namespace.
pub(super) fn at_home() -> Vec<PolicyRule> {
    rules(AT_HOME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_allowed_wholesale() {
        for rule in everywhere().into_iter().chain(at_home()) {
            let words = [rule.api_groups.unwrap(), rule.resources.unwrap(), rule.verbs].concat();
            for word in words {
                assert!(!word.contains('*'), "{word}");
                assert!(
                    !["escalate", "bind", "impersonate", "deletecollection"].contains(&word.as_str()),
                    "{word}"
                );
            }
        }
    }

    #[test]
    fn every_kind_of_a_cloud_may_be_owned() {
        use oaas_render::Objects;
        use oaas_render::objects::{Kind, Visit};
        struct Check;
        impl Visit for Check {
            fn kind<K: Kind>(&mut self, _: &[K]) {
                let (group, plural) = (K::group(&()).into_owned(), K::plural(&()).into_owned());
                let owned = EVERYWHERE.iter().any(|(g, resources, verbs)| {
                    *g == group && resources.contains(&plural.as_str()) && *verbs == OWN
                });
                assert!(owned, "{group}/{plural}");
            }
        }
        Objects::default().visit(&mut Check);
    }
}
