//! `oaas plan`: what a resource would change, and what each change does, before it is applied.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use oaas_api::OpenStack;
use oaas_catalog::Catalog;
use oaas_image::Cache;
use oaas_operator::cloud::acting::Seen;
use oaas_operator::cloud::known::{Known, accepted};
use oaas_operator::observe::{self, Observed};
use oaas_plan::{
    Capacity, Change, ChangeKind, Cluster, DesiredState, Effect, Images, Inputs, Part, blueprint, capacity,
    changes, credentials, desired_state, too_large, validate, warnings,
};
use serde::Serialize;
use snafu::ResultExt;

use crate::bringup;
use crate::context::Context;
use crate::kubernetes::{self, Patience};
use crate::progress::Style;
use crate::progress::style::Tone;
use crate::report::Failure;
use crate::wanted::{self, CatalogSnafu, Error, PlanSnafu};

/// Arguments of `oaas plan`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The resource; `-` reads it from stdin
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
}

/// What a resource would change.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The cloud, `NAMESPACE/NAME`.
    pub cloud: String,
    /// Nothing was accepted of it yet.
    pub new: bool,
    /// The changes.
    pub changes: Vec<Change>,
    /// Components whose pods are replaced.
    pub rolls: BTreeSet<String>,
    /// What the cloud takes of its nodes.
    pub takes: Capacity,
    /// What can be done and is better said otherwise.
    pub warnings: Vec<String>,
}

/// Print the plan.
pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let mut wanted = wanted::read(&arguments.file)?;
    let catalog = Catalog::built_in().context(CatalogSnafu)?;
    wanted.metadata.namespace = Some(wanted::id(&wanted).namespace);
    let mut images = wanted::unbuilt(&catalog);
    let observed = match kubernetes::connect(&context.global, Patience::Answer).await {
        Ok(client) => {
            images.extend(installed(&client).await?);
            Some(look(&client, &wanted).await?)
        }
        // Without a cluster everything is new; one that was named has to be there.
        Err(kubernetes::Error::NoInstance { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    // What was built here is what `oaas up` would bring.
    let built = oaas_image::list(&Cache::of_user()?)?;
    images.extend(built.images.iter().map(|(name, image)| (name.clone(), bringup::image(image))));
    let plan = plan(&catalog, &images, &wanted, observed.as_ref())?;
    let style = Style::from_environment(context.colors());
    context.answer(&plan, |plan| text(plan, style))
}

/// What the operator would see.
async fn look(client: &Client, wanted: &OpenStack) -> Result<Observed, kubernetes::Error> {
    let observed = observe::look(client, wanted, Timestamp::now()).await;
    observed.map_err(|error| kubernetes::Error::Api {
        doing: format!("list {}", error.what),
        source: error.source,
    })
}

/// The images that the operator there was given; none where there is none.
async fn installed(client: &Client) -> Result<Images, kubernetes::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &Cluster::default().operator_namespace);
    let found = api.get_opt("oaas-images").await;
    let found = found.context(kubernetes::ApiSnafu { doing: "read the images of the operator" })?;
    let text = found.and_then(|map| map.data?.remove("images.json"));
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// What lies between what was accepted of the cloud last and what is wanted. Nothing observed is a cluster that does not
/// exist yet.
fn plan(
    catalog: &Catalog,
    images: &Images,
    wanted: &OpenStack,
    observed: Option<&Observed>,
) -> Result<Plan, Error> {
    let stored = observed.and_then(accepted);
    let cluster = stored.as_ref().map(|stored| stored.state.cluster.clone()).unwrap_or_default();
    let nothing = Observed::of(Arc::new(wanted.clone()));
    let mut known = Known::of(observed.unwrap_or(&nothing), &Seen::default(), &cluster);
    if observed.is_none() {
        known.user_secrets = None;
    }
    let inputs = known.inputs(&wanted.spec, catalog, images);
    wanted::refuse(validate(&inputs))?;
    let secrets = wanted::with_generated(known.credentials.clone(), credentials(&inputs));
    let inputs = Inputs { credentials: &secrets, ..inputs };
    let after = blueprint(&inputs).context(PlanSnafu)?;
    if known.observed.components.is_empty() {
        wanted::refuse(too_large(&inputs, &after))?;
    }
    let state = desired_state(&inputs, &oaas_render::templates).context(PlanSnafu)?;
    let new = stored.is_none();
    let before = stored.map_or_else(DesiredState::default, |stored| stored.state);
    let mut changes = changes(&before, &state);
    if new {
        // That a new cloud is new in every part of it is no news.
        changes.retain(|change| matches!(change.part, Part::Component | Part::Job | Part::Content));
    }
    let rolling = |change: &&Change| matches!(change.effect, Effect::Roll | Effect::Recreate);
    Ok(Plan {
        cloud: format!("{}/{}", known.id.namespace, known.id.name),
        new,
        rolls: changes.iter().filter(rolling).map(|change| change.subject.clone()).collect(),
        takes: capacity(&after),
        warnings: warnings(&inputs).iter().map(ToString::to_string).collect(),
        changes,
    })
}

/// The parts of a plan, and what stands over each.
const PARTS: [(Part, &str); 7] = [
    (Part::Release, ""),
    (Part::Component, "components"),
    (Part::Job, "jobs"),
    (Part::Registration, "registered in the identity service"),
    (Part::Content, "content"),
    (Part::Publishing, "published"),
    (Part::Certificate, "certificates"),
];

/// The plan as people read it.
fn text(plan: &Plan, style: Style) -> String {
    let warnings: String = plan
        .warnings
        .iter()
        .map(|warning| format!("{} {warning}\n", style.paint(Tone::Active, "warning:")))
        .collect();
    if plan.changes.is_empty() {
        return format!("{warnings}cloud {}: nothing would change\n", plan.cloud);
    }
    let mut out = format!(
        "{warnings}{} {}\n",
        style.paint(Tone::Strong, &format!("cloud {}", plan.cloud)),
        if plan.new { "is new" } else { "would change" },
    );
    for (part, title) in PARTS {
        let of_part: Vec<&Change> = plan.changes.iter().filter(|change| change.part == part).collect();
        if of_part.is_empty() {
            continue;
        }
        out += if title.is_empty() { "\n".to_owned() } else { format!("\n{title}:\n") }.as_str();
        let mut by_subject: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
        for change in of_part {
            by_subject.entry(&change.subject).or_default().push(change);
        }
        for (subject, changes) in by_subject {
            out += &subject_text(plan, subject, &changes, style);
        }
    }
    let whole = |kind: ChangeKind| {
        let components = plan.changes.iter().filter(|change| change.part == Part::Component);
        components.filter(|change| change.what.is_none() && change.kind == kind).count()
    };
    let changed: BTreeSet<&String> = plan
        .changes
        .iter()
        .filter(|change| change.part == Part::Component && change.what.is_some())
        .map(|change| &change.subject)
        .collect();
    out += &format!(
        "\n{} components come, {} go, {} change; the pods of {} roll. Nothing was applied.\n",
        whole(ChangeKind::Added),
        whole(ChangeKind::Removed),
        changed.len(),
        plan.rolls.len(),
    );
    out += &format!("The cloud takes {}.\n", plan.takes);
    out
}

/// What changes of one thing.
fn subject_text(plan: &Plan, subject: &str, changes: &[&Change], style: Style) -> String {
    let whole = changes.iter().find(|change| change.what.is_none());
    let (mark, tone) = match whole.map(|change| change.kind) {
        Some(ChangeKind::Added) => ("+", Tone::Good),
        Some(ChangeKind::Removed) => ("-", Tone::Bad),
        Some(ChangeKind::Changed) | None => ("~", Tone::Active),
    };
    let effects: BTreeSet<Effect> = changes.iter().map(|change| change.effect).collect();
    let most = effects.last().copied().unwrap_or(Effect::None);
    let said = match most {
        Effect::None | Effect::Starts if plan.new || whole.is_some() => String::new(),
        effect => format!("  ({})", effect.words()),
    };
    let mut out = format!("{} {subject}{said}\n", style.paint(tone, mark));
    for change in changes {
        // What differs from the others, such as a count beside options, says so itself.
        let own = if effects.len() > 1 { format!("  ({})", change.effect.words()) } else { String::new() };
        if let Some(what) = &change.what {
            out += &format!("    {what}: {}{own}\n", change.values());
        } else if change.kind == ChangeKind::Changed {
            out += &format!("    {}{own}\n", change.values());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use oaas_operator::cloud::acting::Seen;
    use oaas_operator::cloud::known::Known;
    use oaas_operator::observe::Observed;
    use oaas_plan::{Cluster, Inputs, blueprint, credentials, desired_state};
    use oaas_render::Stored;

    use super::{plan, text};
    use crate::progress::Style;
    use crate::wanted::{unbuilt, with_generated};
    use oaas_api::OpenStack;
    use oaas_catalog::Catalog;

    fn resource(spec: &str) -> OpenStack {
        let yaml = format!(
            "apiVersion: oaas.dev/v1alpha1\nkind: OpenStack\nmetadata: {name}\nspec:\n  release: \"2026.1\"\n{spec}",
            name = "{name: demo, namespace: demo}",
        );
        let mut resource = oaas_api::parse_resource(&yaml).unwrap();
        resource.metadata.uid = Some("u1".to_owned());
        resource
    }

    /// A cluster whose operator has accepted a resource.
    fn accepted(spec: &str, catalog: &Catalog) -> Observed {
        let cloud = Arc::new(resource(spec));
        let mut observed = Observed::of(Arc::clone(&cloud));
        let images = unbuilt(catalog);
        let known = Known::of(&observed, &Seen::default(), &Cluster::default());
        let inputs = known.inputs(&cloud.spec, catalog, &images);
        let secrets = with_generated(known.credentials.clone(), credentials(&inputs));
        let inputs = Inputs { credentials: &secrets, ..inputs };
        let blueprint = blueprint(&inputs).unwrap();
        let state = desired_state(&inputs, &oaas_render::templates).unwrap();
        let stored = Stored { state, changes: Vec::new(), spec: cloud.spec.clone() };
        observed.secrets.push(Arc::new(stored.object(&blueprint)));
        observed
    }

    fn planned(live: Option<&str>, wanted: &str) -> String {
        let catalog = Catalog::built_in().unwrap();
        let observed = live.map(|live| accepted(live, &catalog));
        match plan(&catalog, &unbuilt(&catalog), &resource(wanted), observed.as_ref()) {
            Ok(plan) => text(&plan, Style::PLAIN),
            Err(error) => format!("error: {error}\n"),
        }
    }

    #[test]
    fn a_new_cloud_is_all_new() {
        insta::assert_snapshot!(planned(None, ""));
    }

    #[test]
    fn a_change_is_told_by_option_and_by_what_it_does() {
        let wanted = "  services:\n    keystone: {config: {token: {expiration: 7200}}, memory: 1Gi, replicas: 2}\n    horizon: {enabled: false}\n  \
                      storage: {images: 50Gi}\n";
        insta::assert_snapshot!(planned(Some(""), wanted));
    }

    #[test]
    fn a_change_of_what_is_in_the_cloud_is_told_too() {
        let wanted = "  network:\n    external: [{name: ext-net, cidr: 203.0.113.0/24, gateway: 203.0.113.1, pool: 203.0.113.10-203.0.113.20}]\n  \
                      publish: {address: cloud.example}\n  content: {users: [{name: alice}]}\n";
        insta::assert_snapshot!(planned(Some(""), wanted));
    }

    #[test]
    fn the_same_resource_changes_nothing() {
        assert_eq!(planned(Some(""), ""), "cloud demo/demo: nothing would change\n");
        let said = "  services: {keystone: {config: {token: {expiration: 7200}}}}\n";
        assert_eq!(planned(Some(said), said), "cloud demo/demo: nothing would change\n");
    }

    #[test]
    fn what_the_operator_did_not_accept_is_not_what_was_before() {
        let catalog = Catalog::built_in().unwrap();
        let mut observed = accepted("", &catalog);
        // Somebody wrote it, and it was refused.
        observed.cloud = Arc::new(resource("  services: {horizon: {enabled: false}}\n"));
        let wanted = resource("  services: {horizon: {enabled: false}}\n");
        let plan = plan(&catalog, &unbuilt(&catalog), &wanted, Some(&observed)).unwrap();
        assert!(text(&plan, Style::PLAIN).contains("- horizon"));
    }

    #[test]
    fn what_is_deprecated_is_warned_of() {
        let wanted = "  services:\n    keystone: {config: {token: {cache_on_issue: true}, cache: {memcache_socket_timeout: 2.0}}}\n";
        insta::assert_snapshot!(planned(Some(""), wanted));
    }

    #[test]
    fn every_mistake_is_told_with_the_nearest_right_name() {
        let wanted = "  services:\n    keyston: {}\n    nova: {config: {DEFAULT: {debgu: true}}}\n    libvirt: {replicas: 2}\n";
        insta::assert_snapshot!(planned(None, wanted));
    }
}
