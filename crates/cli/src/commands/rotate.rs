//! `oaas rotate`: makes secrets and certificates anew, and says how far that is.
//!
//! What is asked for stands in the resource (`spec.rotation`), so that the operator goes on with it whatever stops; a
//! second call while it is under way asks for nothing more.

use std::collections::BTreeMap;

use clap::Args;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use oaas_api::{OpenStack, OpenStackStatus};
use oaas_feedback::{Explain, Kind, nearest};
use oaas_plan::Rotatable;
use serde::Serialize;
use serde_json::json;
use snafu::{ResultExt, Snafu, ensure};

use crate::clouds::{self, CloudArgs};
use crate::context::Context;
use crate::kubernetes::{ApiSnafu, Patience};
use crate::report::Failure;
use crate::table::columns;
use crate::wanted;

/// Who writes the generations in the resource: nobody else's field manager, so that `oaas up` leaves them.
const MANAGER: &str = "oaas-rotate";

/// Arguments of `oaas rotate`.
#[derive(Debug, Args)]
#[command(
    after_help = "For example: oaas rotate cloud-ca; oaas rotate\nWithout a name it lists what can be rotated, and how far what was asked for is."
)]
pub struct Arguments {
    /// What is made anew: names of the list that `oaas rotate` prints
    #[arg(value_name = "WHAT")]
    what: Vec<String>,
    #[command(flatten)]
    cloud: CloudArgs,
}

/// Why nothing is rotated.
#[derive(Debug, Snafu)]
pub enum Error {
    /// There is nothing of that name.
    #[snafu(display("there is no `{what}` to rotate"))]
    Unknown {
        /// What was asked for.
        what: String,
        /// What there is.
        known: Vec<String>,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        let Self::Unknown { what, known } = self;
        Some(match nearest(what, known) {
            Some(nearest) => format!("the nearest is `{nearest}`; `oaas rotate` lists all"),
            None => format!("what can be rotated: {}", known.join(", ")),
        })
    }
}

/// One line of the list.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    what: String,
    generation: u32,
    /// The generation that is asked for, if it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Ask for newer generations, or list what there is.
pub async fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let (client, cloud) = clouds::connect(&context.global, &arguments.cloud, Patience::Answer).await?;
    let rows = rows(wanted::rotatable(&cloud)?, &cloud);
    if arguments.what.is_empty() {
        return context.answer(&rows, |rows| text(rows));
    }
    let wishes = wishes(&rows, &arguments.what)?;
    if !wishes.is_empty() {
        ask(&client, &cloud, &wishes).await?;
    }
    let name = format!("{}/{}", cloud.namespace().unwrap_or_default(), cloud.name_any());
    context.answer(&wishes, |wishes| answer(&name, &arguments.what, wishes))
}

/// What can be rotated, with what the resource and its status say of it.
fn rows(known: Vec<Rotatable>, cloud: &OpenStack) -> Vec<Row> {
    let status: OpenStackStatus = cloud.status.clone().unwrap_or_default();
    let row = |Rotatable { name, what }: Rotatable| {
        let told = status.credentials.iter().find(|told| told.name == name);
        let wish = cloud.spec.rotation.get(&name).map_or(1, |wish| wish.0);
        // What is not told of was never rotated.
        let generation = told.map_or(1, |told| told.generation);
        Row {
            what,
            generation,
            wanted: (wish > generation).then_some(wish),
            expires: told.and_then(|told| told.expires.clone()),
            message: told.and_then(|told| told.message.clone()),
            name,
        }
    };
    known.into_iter().map(row).collect()
}

/// The generations to ask for; what is under way already is not among them.
fn wishes(rows: &[Row], what: &[String]) -> Result<BTreeMap<String, u32>, Error> {
    let mut wishes = BTreeMap::new();
    for name in what {
        let row = rows.iter().find(|row| row.name == *name);
        ensure!(
            row.is_some(),
            UnknownSnafu { what: name, known: rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>() }
        );
        if let Some(row) = row.filter(|row| row.wanted.is_none()) {
            wishes.insert(name.clone(), row.generation + 1);
        }
    }
    Ok(wishes)
}

async fn ask(client: &Client, cloud: &OpenStack, wishes: &BTreeMap<String, u32>) -> Result<(), Failure> {
    let api: Api<OpenStack> = Api::namespaced(client.clone(), &cloud.namespace().unwrap_or_default());
    let name = cloud.name_any();
    let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "spec": { "rotation": wishes } }));
    let doing = || ApiSnafu { doing: format!("ask for another generation in the cloud {name}") };
    api.patch(&name, &parameters, &patch).await.with_context(|_| doing())?;
    Ok(())
}

/// The list as people read it.
fn text(rows: &[Row]) -> String {
    let mut table = vec![["NAME", "GENERATION", "EXPIRES", "WHAT IT IS"].map(str::to_owned).to_vec()];
    for row in rows {
        let generation = match row.wanted {
            Some(wanted) => format!("{}, {wanted} comes", row.generation),
            None => row.generation.to_string(),
        };
        let expires = row.expires.clone().unwrap_or_default();
        table.push(vec![row.name.clone(), generation, expires, row.what.clone()]);
    }
    let mut out = columns(&table);
    for row in rows {
        if let Some(message) = &row.message {
            out.push_str(&format!("\n{}: {message}", row.name));
        }
    }
    out
}

/// What was asked for, as people read it.
fn answer(cloud: &str, what: &[String], wishes: &BTreeMap<String, u32>) -> String {
    let mut out = String::new();
    for name in what {
        out.push_str(&match wishes.get(name) {
            Some(generation) => format!("cloud {cloud}: {name}: generation {generation} is asked for\n"),
            None => format!("cloud {cloud}: {name}: is being rotated already\n"),
        });
    }
    out.push_str("`oaas rotate` shows how far it is\n");
    out
}

#[cfg(test)]
mod tests {
    use oaas_api::OpenStackSpec;
    use oaas_api::openstack::Generation;
    use oaas_api::status::CredentialSummary;

    use super::*;

    fn cloud(wish: u32, generation: u32) -> OpenStack {
        let mut cloud = OpenStack::new("demo", OpenStackSpec::default());
        cloud.spec.rotation.insert("cloud-ca".into(), Generation(wish));
        let told = CredentialSummary { name: "cloud-ca".into(), generation, ..CredentialSummary::default() };
        cloud.status = Some(OpenStackStatus { credentials: vec![told], ..OpenStackStatus::default() });
        cloud
    }

    fn known() -> Vec<Rotatable> {
        let one = |name: &str| Rotatable { name: name.into(), what: "signs".into() };
        vec![one("cloud-ca"), one("certificates")]
    }

    #[test]
    fn each_is_asked_for_once() {
        let ask = |cloud: &OpenStack| wishes(&rows(known(), cloud), &["cloud-ca".to_owned()]).expect("known");
        assert_eq!(ask(&cloud(1, 1)), BTreeMap::from([("cloud-ca".to_owned(), 2)]));
        assert_eq!(ask(&cloud(2, 1)), BTreeMap::new(), "it is under way");
        assert_eq!(ask(&cloud(2, 2)), BTreeMap::from([("cloud-ca".to_owned(), 3)]));
        // One that was due came by itself.
        assert_eq!(ask(&cloud(1, 4)), BTreeMap::from([("cloud-ca".to_owned(), 5)]));
    }

    #[test]
    fn what_is_unknown_is_told_with_what_is_known() {
        let rows = rows(known(), &cloud(1, 1));
        let error = wishes(&rows, &["cloud-cas".to_owned()]).expect_err("unknown");
        assert_eq!(error.hint().as_deref(), Some("the nearest is `cloud-ca`; `oaas rotate` lists all"));
        let error = wishes(&rows, &["nonsense".to_owned()]).expect_err("unknown");
        assert_eq!(error.to_string(), "there is no `nonsense` to rotate");
        assert_eq!(error.hint().as_deref(), Some("what can be rotated: cloud-ca, certificates"));
    }

    #[test]
    fn the_list_says_what_comes() {
        let out = text(&rows(known(), &cloud(2, 1)));
        assert_eq!(
            out,
            "NAME          GENERATION  EXPIRES  WHAT IT IS\ncloud-ca      1, 2 comes           signs\n\
             certificates  1                    signs\n"
        );
    }
}
