//! What is to be done for one cloud, from everything that is known of it. Pure but for [`generate`]'s randomness, which
//! is passed in as a function.
//!
//! # Flow
//! [`Known`] → [`planned`]: what the resource asks for, or why it cannot be → [`judged`]: may that be done now, or does it
//! wait for an approval → [`made`]: objects, actions, report. What is refused or waits leaves in force what was accepted
//! before it, which is stored in the cluster ([`Stored`]) and goes on being kept as it is.
//!
//! [`generate`]: super::generate::generate

use std::collections::BTreeMap;

use jiff::Timestamp;
use oaas_api::status::CredentialSummary;
use oaas_api::{ChangePolicy, OpenStackSpec, Reason, names};
use oaas_catalog::Catalog;
use oaas_cloud::Secret;
use oaas_plan::{
    Blueprint, Change, Cluster, Credentials, DesiredState, Gate, Gates, Images, Inputs, Problem, Report,
    UserSecrets,
};
use oaas_render::{Rendered, Stored};

use super::acting::{Access, Declared, Registrations, Seen};
use super::content;
use super::credentials::{Secured, Unsecured, secure};
use super::generate::Generate;
use super::known::{Known, accepted};
use super::memo::{Memo, Thought, without_progress};
use super::rolls;
use crate::brain::Doomed;
use crate::observe::Observed;

/// What is to be done.
#[derive(Debug)]
pub struct Plan {
    /// What is said of the resource.
    pub verdict: Verdict,
    /// What is applied, wanted, reported: of the resource where it is accepted, else of what was accepted before it.
    /// Nothing where that cannot be told.
    pub make: Option<Box<Make>>,
}

/// What is said of a resource.
#[derive(Debug)]
pub enum Verdict {
    /// It is done.
    Accepted,
    /// It cannot be done.
    Refused(Vec<Problem>),
    /// It waits for an approval.
    Waits(Waiting),
    /// Secrets are gone that volumes need.
    CredentialsLost(Vec<String>),
    /// A secret could not be made.
    Failed(String),
}

/// What waits for an approval.
#[derive(Debug)]
pub struct Waiting {
    /// The hash that approves it.
    pub hash: String,
    /// What it changes.
    pub changes: Vec<Change>,
    /// What is said about it beside that.
    pub warnings: Vec<Problem>,
}

/// What is applied, wanted and reported.
#[derive(Debug)]
pub struct Make {
    /// The blueprint.
    pub blueprint: Blueprint,
    /// The hash of the state.
    pub hash: String,
    /// What lay between the state before and this one.
    pub changes: Vec<Change>,
    /// What is said about the resource, though it can be done.
    pub warnings: Vec<Problem>,
    /// What may be applied now.
    pub gates: Gates,
    /// How far everything is.
    pub report: Report,
    /// The objects.
    pub rendered: Rendered,
    /// How the identity service is reached.
    pub access: Option<Access>,
    /// What is registered there, once its gate is open.
    pub registrations: Option<Registrations>,
    /// The declared content, once its gate is open.
    pub declared: Option<Declared>,
    /// Pods to delete, so that their successors come.
    pub rolls: Vec<Doomed>,
    /// Labels that nodes lack: node → labels.
    pub node_labels: BTreeMap<String, BTreeMap<String, String>>,
    /// Has a database of this cloud come to life?
    pub database_lives: bool,
    /// What the ledger shall remember beside that.
    pub remember: BTreeMap<String, String>,
    /// What is said of the cloud's secrets.
    pub credentials: Vec<CredentialSummary>,
    /// Secrets of former generations that nobody uses any more.
    pub former: Vec<Doomed>,
    /// When there is something to do, if nothing happens before.
    pub due: Option<Timestamp>,
}

/// What is the same for all clouds.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// What is known of services and releases.
    pub catalog: &'a Catalog,
    /// The images there are.
    pub images: &'a Images,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Makes missing secrets.
    pub generate: Generate<'a>,
    /// What was planned before; nothing where one plan is all.
    pub memo: Option<&'a Memo>,
}

/// A resource that can be done.
struct Planned<'a> {
    spec: &'a OpenStackSpec,
    blueprint: Blueprint,
    state: DesiredState,
    secured: Secured,
    warnings: Vec<Problem>,
}

/// Decide.
pub fn decide(world: &World<'_>, observed: &Observed, seen: &Seen) -> Plan {
    let known = Known::of(observed, seen, world.cluster);
    let stored = accepted(observed);
    let refused = match planned(world, &known, observed, &observed.cloud.spec) {
        Ok(planned) => match judged(observed, stored.as_ref(), &planned) {
            Ok(changes) => {
                let make = Some(Box::new(made(&known, observed, planned, changes)));
                return Plan { verdict: Verdict::Accepted, make };
            }
            Err(waiting) => Verdict::Waits(waiting),
        },
        Err(refused) => refused,
    };
    let make = stored.and_then(|stored| kept(world, &known, observed, stored)).map(Box::new);
    Plan { verdict: refused, make }
}

/// What was accepted before, if it comes to the same today: another operator may make something else of the same words,
/// and nobody has accepted that.
fn kept(world: &World<'_>, known: &Known, observed: &Observed, stored: Stored) -> Option<Make> {
    let planned = planned(world, known, observed, &stored.spec).ok()?;
    (planned.state.hash() == stored.state.hash()).then(|| made(known, observed, planned, stored.changes))
}

/// What a resource asks for, or why it cannot be.
fn planned<'a>(
    world: &World<'a>,
    known: &'a Known,
    observed: &Observed,
    spec: &'a OpenStackSpec,
) -> Result<Planned<'a>, Verdict> {
    let inputs = known.inputs(spec, world.catalog, world.images);
    refuse(oaas_plan::validate(&inputs))?;
    let secured = secure(&inputs, observed, world.generate).map_err(|unsecured| match unsecured {
        Unsecured::Lost(lost) => Verdict::CredentialsLost(lost),
        Unsecured::Failed(why) => Verdict::Failed(why),
    })?;
    let settled = without_progress(&known.observed);
    let inputs = Inputs { credentials: &secured.credentials, observed: &settled, ..inputs };
    let unplanned = |error: oaas_plan::PlanError| {
        Verdict::Refused(vec![Problem {
            reason: Reason::Invalid,
            path: "spec".into(),
            message: error.to_string(),
            hint: None,
        }])
    };
    let think = || {
        Ok(Thought {
            blueprint: oaas_plan::blueprint(&inputs)?,
            state: oaas_plan::desired_state(&inputs, &oaas_render::templates)?,
            warnings: oaas_plan::warnings(&inputs),
        })
    };
    let thought = world.memo.map_or_else(think, |memo| memo.recall(&inputs, think));
    let Thought { mut blueprint, state, warnings } = thought.map_err(unplanned)?;
    if known.observed.components.is_empty() {
        refuse(oaas_plan::too_large(&inputs, &blueprint))?;
    }
    oaas_render::keep_images(&mut blueprint, &known.observed);
    Ok(Planned { spec, blueprint, state, secured, warnings })
}

fn refuse(problems: Vec<Problem>) -> Result<(), Verdict> {
    if problems.is_empty() { Ok(()) } else { Err(Verdict::Refused(problems)) }
}

/// What a resource that can be done changes, or that it waits for an approval. The first state of a cloud is what its
/// resource was made for, and waits for nothing.
fn judged(
    observed: &Observed,
    stored: Option<&Stored>,
    planned: &Planned<'_>,
) -> Result<Vec<Change>, Waiting> {
    let Some(stored) = stored else { return Ok(Vec::new()) };
    let hash = planned.state.hash();
    if hash == stored.state.hash() {
        return Ok(stored.changes.clone());
    }
    let changes = oaas_plan::changes(&stored.state, &planned.state);
    let asks = match planned.spec.change_policy {
        ChangePolicy::Auto => false,
        ChangePolicy::ApproveDisruptive => changes.iter().any(|change| change.effect.is_disruptive()),
        ChangePolicy::ApproveAll => !changes.is_empty(),
    };
    let annotations = observed.cloud.metadata.annotations.as_ref();
    let approved = annotations.and_then(|all| all.get(names::ANNOTATION_APPROVE)) == Some(&hash);
    if asks && !approved {
        return Err(Waiting { hash, changes, warnings: planned.warnings.clone() });
    }
    Ok(changes)
}

/// Objects, actions and report of what is accepted.
fn made(known: &Known, observed: &Observed, planned: Planned<'_>, changes: Vec<Change>) -> Make {
    let Planned { spec, blueprint, state, secured, warnings } = planned;
    let credentials = &secured.credentials;
    let mut gates = oaas_plan::gates(&blueprint, &known.observed);
    oaas_plan::pace(&blueprint, &known.observed, &mut gates);
    let report = oaas_plan::report(&blueprint, &gates, &known.observed);
    let hash = state.hash();
    let stored = Stored { state, changes, spec: spec.clone() };
    let rendered = rendered(known, &blueprint, &gates, &secured, &stored);
    let mut rolls = rolls::rolls(observed, &rendered.apply.daemon_sets, &blueprint.components, &known.nodes);
    rolls.extend(rolls::stuck(observed, &rendered.apply.stateful_sets));
    Make {
        access: access(&blueprint, credentials),
        registrations: registrations(&blueprint, &gates, credentials),
        declared: declared(spec, &gates, credentials, &observed.user_secrets),
        node_labels: node_labels(&blueprint, &known.nodes),
        database_lives: oaas_plan::database_lives(&blueprint, &known.observed),
        changes: stored.changes,
        blueprint,
        hash,
        warnings,
        gates,
        report,
        rendered,
        rolls,
        remember: secured.remember,
        credentials: secured.told,
        former: secured.former,
        due: secured.due,
    }
}

/// Every object: the state and the secrets first, then what the blueprint becomes.
fn rendered(
    known: &Known,
    blueprint: &Blueprint,
    gates: &Gates,
    secured: &Secured,
    stored: &Stored,
) -> Rendered {
    let mut rendered = oaas_render::render(blueprint, gates);
    rendered.apply.persistent_volume_claims.extend(oaas_render::grown(blueprint, &known.observed));
    let first: Vec<_> = [stored.object(blueprint)].into_iter().chain(secured.objects(blueprint)).collect();
    rendered.apply.secrets.splice(0..0, first);
    rendered
}

fn is_open(gate: Option<&Gate>) -> bool {
    gate.is_some_and(Gate::is_open)
}

fn registrations(blueprint: &Blueprint, gates: &Gates, credentials: &Credentials) -> Option<Registrations> {
    let hashes = blueprint.registrations.iter().map(|wanted| (wanted.service.clone(), wanted.hash.clone()));
    is_open(gates.registration.as_ref()).then(|| Registrations {
        catalog: content::registrations(blueprint, credentials),
        hashes: hashes.collect(),
        former: content::former(blueprint),
    })
}

fn declared(
    spec: &OpenStackSpec,
    gates: &Gates,
    credentials: &Credentials,
    user_secrets: &UserSecrets,
) -> Option<Declared> {
    is_open(gates.content.as_ref()).then(|| {
        let content = oaas_plan::declared(spec);
        let given = oaas_plan::given(&content, credentials, user_secrets);
        Declared { content, given }
    })
}

fn access(blueprint: &Blueprint, credentials: &Credentials) -> Option<Access> {
    let identity = blueprint.identity.clone()?;
    let value =
        |secret: &str, key: &str| credentials.get(secret)?.get(key).map(|value| value.expose().clone());
    Some(Access {
        password: Secret::new(value(&identity.secret, "password")?),
        authority: value(oaas_plan::AUTHORITY, "ca.crt")?,
        identity,
    })
}

fn node_labels(
    blueprint: &Blueprint,
    nodes: &[oaas_plan::Node],
) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut missing = BTreeMap::new();
    for plan in &blueprint.nodes {
        let Some(node) = nodes.iter().find(|node| node.name == plan.name) else { continue };
        let lacks = |(key, value): &(&String, &String)| node.labels.get(*key) != Some(*value);
        let lacking: BTreeMap<String, String> =
            plan.labels.iter().filter(lacks).map(|(key, value)| (key.clone(), value.clone())).collect();
        if !lacking.is_empty() {
            missing.insert(plan.name.clone(), lacking);
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use oaas_api::{OpenStack, OpenStackStatus, Phase};
    use oaas_plan::{CredentialKind, Effect, Image, Sensitive};
    use serde_json::json;

    use super::super::generate::generate;
    use super::super::status::status;
    use super::*;

    /// One cloud and what its operator has made of it so far.
    struct Story {
        catalog: Catalog,
        images: Images,
        cluster: Cluster,
        observed: Observed,
        memo: Memo,
    }

    fn cloud(spec: &serde_json::Value) -> OpenStack {
        let mut resource = json!({
            "apiVersion": "oaas.dev/v1alpha1", "kind": "OpenStack",
            "metadata": { "name": "demo", "namespace": "demo", "uid": "u1" },
            "spec": { "release": "2026.1" },
        });
        resource["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(resource).unwrap()
    }

    impl Story {
        fn new(spec: &serde_json::Value) -> Self {
            let catalog = Catalog::built_in().unwrap();
            let of_services = catalog.services().values().flat_map(|service| {
                let jobs = service.jobs.iter().map(|job| job.pod.image.clone());
                service.components.iter().map(|component| component.pod.image.clone()).chain(jobs)
            });
            let of_releases = catalog.releases().values().map(|release| release.image.clone());
            let images =
                of_services.chain(of_releases).map(|name| (name.clone(), Image::opaque(name))).collect();
            let observed = Observed::of(Arc::new(cloud(spec)));
            Self { catalog, images, cluster: Cluster::default(), observed, memo: Memo::default() }
        }

        fn decide(&self) -> Plan {
            let world = World {
                catalog: &self.catalog,
                images: &self.images,
                cluster: &self.cluster,
                memo: Some(&self.memo),
                generate: &|spec, former| match spec.kind {
                    CredentialKind::Authority { .. } | CredentialKind::Certificate { .. } => {
                        generate(spec, former, self.observed.now.into())
                    }
                    _ => {
                        let secret = |key: &str| Sensitive::new(format!("SECRET-{}-{key}", spec.name));
                        Ok(["password", "0", "1"].map(|key| (key.to_owned(), secret(key))).into())
                    }
                },
            };
            decide(&world, &self.observed, &Seen::default())
        }

        /// Decide, and have applied what came of it.
        fn go_on(&mut self) -> Plan {
            let plan = self.decide();
            if let Some(make) = &plan.make {
                self.observed.secrets = make.rendered.apply.secrets.iter().cloned().map(Arc::new).collect();
            }
            let before = self.observed.cloud.status.clone();
            self.status(Some(status(&plan, &Seen::default(), before.as_ref(), false)));
            plan
        }

        fn status(&mut self, status: Option<OpenStackStatus>) {
            let mut cloud = OpenStack::clone(&self.observed.cloud);
            cloud.status = status;
            self.observed.cloud = Arc::new(cloud);
        }

        fn write(&mut self, spec: &serde_json::Value, approve: Option<&str>) {
            let mut cloud = cloud(spec);
            let annotation = |hash: &str| [(names::ANNOTATION_APPROVE.to_owned(), hash.to_owned())].into();
            cloud.metadata.annotations = approve.map(annotation);
            cloud.status = self.observed.cloud.status.clone();
            self.observed.cloud = Arc::new(cloud);
        }
    }

    fn said(plan: &Plan) -> String {
        match &plan.verdict {
            Verdict::Accepted => "accepted".to_owned(),
            Verdict::Waits(waiting) => waiting.changes.iter().map(|change| format!("{change}\n")).collect(),
            other => format!("{other:?}"),
        }
    }

    const EXPIRATION: &str = "keystone: keystone.conf [token] expiration: 3600 -> 7200 (its pods roll)";

    #[test]
    fn what_is_accepted_is_stored_and_told() {
        let mut story = Story::new(&json!({}));
        let first = story.go_on().make.unwrap();
        assert_eq!(first.changes, [], "a new cloud is no change");
        assert_eq!(story.decide().make.unwrap().hash, first.hash);
        story.write(
            &json!({ "services": { "keystone": { "config": { "token": { "expiration": 7200 } } } } }),
            None,
        );
        let changed = story.go_on().make.unwrap();
        assert_ne!(changed.hash, first.hash);
        let lines: Vec<String> = changed.changes.iter().map(ToString::to_string).collect();
        assert_eq!(lines[0], EXPIRATION);
        assert_eq!(story.go_on().make.unwrap().changes, changed.changes, "told until the next change");
        let plan = story.observed.cloud.status.clone().unwrap().plan.unwrap();
        assert_eq!((plan.hash, plan.changes), (changed.hash, lines));
    }

    #[test]
    fn no_secret_is_in_what_is_stored() {
        let mut story = Story::new(&json!({}));
        let make = story.go_on().make.unwrap();
        let secrets = &make.rendered.apply.secrets;
        let stored = secrets
            .iter()
            .find(|secret| secret.metadata.labels.as_ref().unwrap().contains_key(names::LABEL_STATE));
        for (key, value) in stored.unwrap().data.as_ref().unwrap() {
            assert!(!String::from_utf8_lossy(&value.0).contains("SECRET-"), "{key}");
        }
    }

    #[test]
    fn a_plan_waits_for_its_hash() {
        let mut story = Story::new(&json!({ "changePolicy": "approve-disruptive" }));
        let first = story.go_on().make.unwrap();
        let wanted = json!({
            "changePolicy": "approve-disruptive",
            "services": { "keystone": { "config": { "token": { "expiration": 7200 } } } },
        });
        story.write(&wanted, None);
        let plan = story.go_on();
        assert!(said(&plan).starts_with(EXPIRATION), "{}", said(&plan));
        assert_eq!(plan.make.unwrap().hash, first.hash, "what was before is kept");
        let status = story.observed.cloud.status.clone().unwrap();
        assert_eq!(status.phase, Some(Phase::WaitingForApproval));
        let hash = status.plan.unwrap().hash;
        assert!(status.waiting_for.unwrap().contains(&format!("oaas approve {hash}")));
        story.write(&wanted, Some("another"));
        assert!(matches!(story.go_on().verdict, Verdict::Waits(_)));
        story.write(&wanted, Some(&hash));
        let plan = story.go_on();
        assert_eq!((said(&plan), plan.make.unwrap().hash), ("accepted".to_owned(), hash));
    }

    #[test]
    fn what_interrupts_nothing_waits_where_everything_does() {
        let flavor = json!([{ "name": "m9", "vcpus": 1, "ramMib": 64 }]);
        for (policy, waits) in [("auto", false), ("approve-disruptive", false), ("approve-all", true)] {
            let mut story = Story::new(&json!({ "changePolicy": policy }));
            story.go_on();
            story.write(&json!({ "changePolicy": policy, "content": { "flavors": flavor } }), None);
            assert_eq!(matches!(story.go_on().verdict, Verdict::Waits(_)), waits, "{policy}");
        }
    }

    #[test]
    fn a_refused_resource_leaves_in_force_what_was_accepted() {
        let mut story = Story::new(&json!({}));
        let first = story.go_on().make.unwrap();
        story.write(&json!({ "services": { "keyston": {} } }), None);
        let plan = story.go_on();
        assert!(matches!(plan.verdict, Verdict::Refused(_)));
        assert_eq!(plan.make.unwrap().hash, first.hash);
        let status = story.observed.cloud.status.clone().unwrap();
        assert_eq!(status.plan.unwrap().refusals.len(), 1);
        assert_eq!(status.plan_hash, Some(first.hash));
    }

    #[test]
    fn another_operator_makes_nothing_of_old_words_that_nobody_accepted() {
        let mut story = Story::new(&json!({}));
        story.go_on();
        story.images.insert("mariadb".into(), Image::opaque("another"));
        story.write(&json!({ "services": { "keyston": {} } }), None);
        assert!(story.decide().make.is_none());
        story.write(&json!({}), None);
        let make = story.decide().make.unwrap();
        assert!(
            make.changes.iter().any(|change| change.subject == "galera" && change.effect == Effect::Roll)
        );
    }
}
