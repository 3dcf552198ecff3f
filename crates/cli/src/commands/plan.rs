//! `oaas plan`: what a resource would change, option by option, before it is applied.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use k8s_openapi::api::core::v1::{Node as KubeNode, PersistentVolumeClaim, Secret};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use oaas_api::{OpenStack, OpenStackComponent, OpenStackSpec, names};
use oaas_catalog::Catalog;
use oaas_image::Cache;
use oaas_operator::cloud::facts;
use oaas_operator::observe;
use oaas_plan::{
    Blueprint, Capacity, Change, ChangeKind, CloudId, Credentials, Images, Inputs, Node, Observed, SecretKey,
    Sensitive, UserSecrets, blueprint, capacity, credentials, diff, too_large, validate,
};
use serde::Serialize;
use snafu::ResultExt;

use crate::bringup;
use crate::context::Context;
use crate::kubernetes::{self, ApiSnafu, Patience};
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
    /// It does not exist yet.
    pub new: bool,
    /// The changes.
    pub changes: Vec<Line>,
    /// Components whose pods restart.
    pub restarts: BTreeSet<String>,
    /// What the cloud takes of its nodes.
    pub takes: Capacity,
}

/// One change.
#[derive(Debug, Serialize)]
pub struct Line {
    component: String,
    what: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    restarts: bool,
}

/// What is known of the cluster; empty when there is none yet.
#[derive(Default)]
struct Cluster {
    live: Option<OpenStack>,
    nodes: Vec<Node>,
    secrets: Credentials,
    user_secrets: Option<UserSecrets>,
    observed: Observed,
}

/// Print the plan.
pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let wanted = wanted::read(&arguments.file)?;
    let catalog = Catalog::built_in().context(CatalogSnafu)?;
    let id = wanted::id(&wanted);
    let cluster = match kubernetes::connect(&context.global, Patience::Answer).await {
        Ok(client) => look(&client, &id).await?,
        // Without a cluster everything is new; one that was named has to be there.
        Err(kubernetes::Error::NoInstance { .. }) => Cluster::default(),
        Err(error) => return Err(error.into()),
    };
    let images = images(&catalog)?;
    let plan = plan(&catalog, &images, &id, &wanted.spec, &cluster)?;
    let style = Style::from_environment(context.colors());
    context.answer(&plan, |plan| text(plan, style))
}

/// What the cluster says.
async fn look(client: &Client, id: &CloudId) -> Result<Cluster, kubernetes::Error> {
    let all = ListParams::default();
    let clouds: Api<OpenStack> = Api::namespaced(client.clone(), &id.namespace);
    let found = clouds.list(&all).await.context(ApiSnafu { doing: "list the OpenStack clouds" });
    let found = match found {
        Ok(found) => found.items,
        // OaaS is not installed there yet.
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error),
    };
    let (live, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|cloud| cloud.name_any() == id.name);
    let nodes: Api<KubeNode> = Api::all(client.clone());
    let nodes = nodes.list(&all).await.context(ApiSnafu { doing: "list the nodes" })?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &id.namespace);
    let secrets = secrets.list(&all).await.context(ApiSnafu { doing: "list the Secrets" })?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &id.namespace);
    let of_cloud = ListParams::default().labels(&format!("{}={}", names::LABEL_CLOUD, id.name));
    let claims = claims.list(&of_cloud).await.context(ApiSnafu { doing: "list the volumes' claims" })?;
    let classes: Api<StorageClass> = Api::all(client.clone());
    let classes = classes.list(&all).await.context(ApiSnafu { doing: "list the storage classes" })?;
    let scaled = if live.is_empty() {
        BTreeMap::new()
    } else {
        let components: Api<OpenStackComponent> = Api::namespaced(client.clone(), &id.namespace);
        let components = components.list(&all).await.context(ApiSnafu { doing: "list the components" })?;
        let of_cloud = components.into_iter().filter(|component| component.spec.cloud == id.name);
        of_cloud
            .filter_map(|component| {
                Some((component.spec.component, u32::try_from(component.spec.replicas?).ok()?))
            })
            .collect()
    };
    let text =
        |value: k8s_openapi::ByteString| Sensitive::new(String::from_utf8_lossy(&value.0).into_owned());
    let secrets: Credentials = secrets
        .into_iter()
        .map(|secret| {
            let name = secret.name_any();
            let data = secret.data.unwrap_or_default();
            (name, data.into_iter().map(|(key, value)| (key, text(value))).collect())
        })
        .collect();
    let user_secrets = secrets.iter().flat_map(|(name, values)| {
        let key = |key: &String| SecretKey { name: name.clone(), key: key.clone() };
        values.iter().map(move |(of, value)| (key(of), value.clone()))
    });
    Ok(Cluster {
        live: live.into_iter().next(),
        nodes: nodes.into_iter().map(node).collect(),
        user_secrets: Some(user_secrets.collect()),
        secrets,
        observed: Observed {
            scaled,
            claims: facts::claims(claims.iter()),
            storage_classes: Some(observe::growing(classes)),
            namespace_clouds: others.iter().map(ResourceExt::name_any).collect(),
            ..Observed::default()
        },
    })
}

fn node(node: KubeNode) -> Node {
    let status = node.status.clone().unwrap_or_default();
    let address = status
        .addresses
        .iter()
        .flatten()
        .find(|address| address.type_ == "InternalIP")
        .and_then(|address| address.address.parse().ok());
    let memory = status.allocatable.as_ref().and_then(|all| all.get("memory"));
    let ready = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    Node {
        name: node.name_any(),
        interfaces: node.annotations().get(Node::INTERFACES).cloned(),
        labels: node.metadata.labels.unwrap_or_default(),
        address,
        allocatable_memory_mib: memory.and_then(|memory| mebibytes(&memory.0)).unwrap_or(0),
        ready,
    }
}

/// A Kubernetes quantity of memory in MiB.
fn mebibytes(quantity: &str) -> Option<u64> {
    let split = quantity.find(|c: char| !c.is_ascii_digit()).unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(split);
    let number: u64 = number.parse().ok()?;
    match unit {
        "" => Some(number >> 20),
        "Ki" => Some(number >> 10),
        "Mi" => Some(number),
        "Gi" => Some(number << 10),
        _ => None,
    }
}

/// Image names and references: what was built here, and the bare name of what was not.
fn images(catalog: &Catalog) -> Result<Images, Failure> {
    let built = oaas_image::list(&Cache::of_user()?)?;
    let mut images = wanted::unbuilt(catalog);
    images.extend(built.images.iter().map(|(name, image)| (name.clone(), bringup::image(image))));
    Ok(images)
}

/// What lies between the cloud as it is and as it is wanted.
fn plan(
    catalog: &Catalog,
    images: &Images,
    id: &CloudId,
    wanted: &OpenStackSpec,
    cluster: &Cluster,
) -> Result<Plan, Error> {
    let inputs = |spec, secrets| Inputs {
        cloud: id,
        spec,
        catalog,
        images,
        credentials: secrets,
        user_secrets: cluster.user_secrets.as_ref(),
        nodes: &cluster.nodes,
        observed: &cluster.observed,
    };
    wanted::refuse(validate(&inputs(wanted, &cluster.secrets)))?;
    let secrets =
        wanted::with_generated(cluster.secrets.clone(), credentials(&inputs(wanted, &cluster.secrets)));
    let after = blueprint(&inputs(wanted, &secrets)).context(PlanSnafu)?;
    if cluster.live.is_none() {
        wanted::refuse(too_large(&inputs(wanted, &secrets), &after))?;
    }
    let before = match &cluster.live {
        Some(live) => blueprint(&inputs(&live.spec, &secrets)).context(PlanSnafu)?,
        None => Blueprint { components: BTreeMap::new(), ..after.clone() },
    };
    let hidden: BTreeSet<String> =
        secrets.values().flat_map(BTreeMap::values).map(|value| value.expose().clone()).collect();
    let changes = diff(&before, &after, &hidden);
    Ok(Plan {
        cloud: format!("{}/{}", id.namespace, id.name),
        new: cluster.live.is_none(),
        takes: capacity(&after),
        restarts: changes.iter().filter(|change| change.restarts).map(|c| c.component.clone()).collect(),
        changes: changes.into_iter().map(line).collect(),
    })
}

fn line(change: Change) -> Line {
    let kind = match change.kind {
        ChangeKind::Added => "added",
        ChangeKind::Removed => "removed",
        ChangeKind::Changed => "changed",
    };
    Line {
        component: change.component,
        what: change.what,
        kind,
        before: change.before,
        after: change.after,
        restarts: change.restarts,
    }
}

/// The plan as people read it.
fn text(plan: &Plan, style: Style) -> String {
    if plan.changes.is_empty() {
        return format!("cloud {}: nothing would change\n", plan.cloud);
    }
    let mut out = format!(
        "{} {}\n\n",
        style.paint(Tone::Strong, &format!("cloud {}", plan.cloud)),
        if plan.new { "is new" } else { "would change" },
    );
    let names: BTreeSet<&String> = plan.changes.iter().map(|change| &change.component).collect();
    for name in &names {
        let changes: Vec<&Line> = plan.changes.iter().filter(|change| change.component == **name).collect();
        let whole = changes.iter().find(|change| change.what == "component");
        let (mark, tone) = match whole.map(|change| change.kind) {
            Some("added") => ("+", Tone::Good),
            Some("removed") => ("-", Tone::Bad),
            _ => ("~", Tone::Active),
        };
        let restarts = if plan.restarts.contains(*name) { "  (its pods restart)" } else { "" };
        out += &format!("{} {name}{restarts}\n", style.paint(tone, mark));
        for change in changes.iter().filter(|change| change.what != "component") {
            out += &match (&change.before, &change.after) {
                (Some(before), Some(after)) => format!("    {}: {before} -> {after}\n", change.what),
                (None, Some(after)) => format!("    {}: {after} (new)\n", change.what),
                (Some(before), None) => format!("    {}: {before} (removed)\n", change.what),
                (None, None) => format!("    {} changes\n", change.what),
            };
        }
    }
    let count = |kind: &str| {
        let whole = plan.changes.iter().filter(|change| change.what == "component" && change.kind == kind);
        whole.count()
    };
    let (added, removed) = (count("added"), count("removed"));
    out += &format!(
        "\n{added} components come, {removed} go, {} change; {} restart. Nothing was applied.\n",
        names.len() - added - removed,
        plan.restarts.len(),
    );
    out += &format!("The cloud takes {}.\n", plan.takes);
    out
}

#[cfg(test)]
mod tests {
    use super::{Cluster, mebibytes, plan, text};
    use crate::progress::Style;
    use crate::wanted::{id, unbuilt};
    use oaas_catalog::Catalog;

    fn planned(live: Option<&str>, wanted: &str) -> String {
        let catalog = Catalog::built_in().unwrap();
        let resource = |spec: &str| {
            let yaml = format!(
                "apiVersion: oaas.dev/v1alpha1\nkind: OpenStack\nmetadata: {{name: demo}}\nspec:\n  release: \"2026.1\"\n{spec}"
            );
            oaas_api::parse_resource(&yaml).unwrap()
        };
        let wanted = resource(wanted);
        let cluster = Cluster { live: live.map(resource), ..Cluster::default() };
        match plan(&catalog, &unbuilt(&catalog), &id(&wanted), &wanted.spec, &cluster) {
            Ok(plan) => text(&plan, Style::PLAIN),
            Err(error) => format!("error: {error}\n"),
        }
    }

    #[test]
    fn a_new_cloud_is_all_new() {
        insta::assert_snapshot!(planned(None, ""));
    }

    #[test]
    fn a_change_is_told_by_option_and_by_what_restarts() {
        let wanted = "  services:\n    keystone: {config: {token: {expiration: 7200}}, memory: 1Gi}\n    horizon: {enabled: false}\n";
        insta::assert_snapshot!(planned(Some(""), wanted));
    }

    #[test]
    fn the_same_resource_changes_nothing() {
        assert_eq!(planned(Some(""), ""), "cloud demo/demo: nothing would change\n");
    }

    #[test]
    fn every_mistake_is_told_with_the_nearest_right_name() {
        let wanted = "  services:\n    keyston: {}\n    nova: {config: {DEFAULT: {debgu: true}}}\n    libvirt: {replicas: 2}\n";
        insta::assert_snapshot!(planned(None, wanted));
    }

    #[test]
    fn quantities_of_memory() {
        assert_eq!(mebibytes("24619588Ki"), Some(24042));
        assert_eq!(mebibytes("2Gi"), Some(2048));
        assert_eq!(mebibytes("1073741824"), Some(1024));
        assert_eq!(mebibytes("many"), None);
    }
}
