//! Which cloud of a cluster is meant.

use clap::Args;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use oaas_api::OpenStack;
use oaas_feedback::{Explain, Kind, nearest};
use snafu::Snafu;

use crate::kubernetes::{self, Error as ClusterError, Patience};
use crate::names::CloudName;

/// The option that names a cloud.
#[derive(Debug, Clone, Args)]
pub struct CloudArgs {
    /// The cloud that is meant, where there are several: NAME or NAMESPACE/NAME
    #[arg(long, env = "OAAS_CLOUD", hide_env_values = true, value_name = "CLOUD")]
    pub cloud: Option<CloudName>,
}

impl CloudArgs {
    /// What `OAAS_CLOUD` says, for commands whose options all belong to another program.
    pub fn from_environment() -> Result<Self, Error> {
        let given = std::env::var("OAAS_CLOUD").ok().filter(|given| !given.is_empty());
        let cloud =
            given.map(|given| given.parse()).transpose().map_err(|source| Error::BadName { source })?;
        Ok(Self { cloud })
    }
}

/// Why no cloud was found.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The cluster has none.
    #[snafu(display("the cluster has no OpenStack cloud"))]
    None,
    /// The cluster does not know the resource.
    #[snafu(display("OaaS is not installed in the cluster"))]
    NotInstalled,
    /// `OAAS_CLOUD` names nothing that could be a cloud.
    #[snafu(display("OAAS_CLOUD does not name a cloud"))]
    BadName {
        /// Why.
        source: crate::names::Error,
    },
    /// None of that name.
    #[snafu(display("the cluster has no OpenStack cloud `{wanted}`"))]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// Which there are.
        known: Vec<String>,
    },
    /// More than one could be meant.
    #[snafu(display("the cluster has several OpenStack clouds that could be meant: {}", known.join(", ")))]
    Several {
        /// Which there are.
        known: Vec<String>,
    },
    /// The cluster did not say.
    #[snafu(transparent)]
    Cluster {
        /// Why.
        source: ClusterError,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::None | Self::NotInstalled => Kind::Environment,
            Self::BadName { .. } | Self::Unknown { .. } | Self::Several { .. } => Kind::Input,
            Self::Cluster { source } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::None | Self::NotInstalled => "`oaas up` makes a cloud".to_owned(),
            Self::Unknown { wanted, known } => match nearest(wanted, known) {
                Some(nearest) => format!("the nearest is `{nearest}`"),
                None => format!("the clouds are: {}", known.join(", ")),
            },
            Self::BadName { .. } => "set it to NAME or NAMESPACE/NAME".to_owned(),
            Self::Several { .. } => "name one with `--cloud NAMESPACE/NAME`".to_owned(),
            Self::Cluster { source } => return source.hint(),
        })
    }
}

/// The cloud that is meant.
pub async fn find(client: &Client, wanted: Option<&CloudName>) -> Result<OpenStack, Error> {
    let api: Api<OpenStack> = Api::all(client.clone());
    let list = api.list(&ListParams::default()).await.map_err(|source| {
        let error = ClusterError::Api { doing: "list the OpenStack clouds".to_owned(), source };
        if error.is_not_found() { Error::NotInstalled } else { error.into() }
    })?;
    choose(list.items, wanted)
}

/// The one of `clouds` that is meant: the one that was named, or the only one.
pub fn choose(clouds: Vec<OpenStack>, wanted: Option<&CloudName>) -> Result<OpenStack, Error> {
    let full = |cloud: &OpenStack| format!("{}/{}", cloud.namespace().unwrap_or_default(), cloud.name_any());
    if clouds.is_empty() {
        return Err(Error::None);
    }
    let meant = |cloud: &OpenStack| {
        wanted.is_none_or(|wanted| {
            wanted.name == cloud.name_any()
                && wanted
                    .namespace
                    .as_ref()
                    .is_none_or(|namespace| cloud.namespace().as_ref() == Some(namespace))
        })
    };
    let known: Vec<String> = clouds.iter().map(full).collect();
    let mut meant: Vec<OpenStack> = clouds.into_iter().filter(meant).collect();
    match (meant.len(), wanted) {
        (1, _) => Ok(meant.remove(0)),
        (0, Some(wanted)) => UnknownSnafu { wanted: wanted.to_string(), known }.fail(),
        _ => SeveralSnafu { known: meant.iter().map(full).collect::<Vec<_>>() }.fail(),
    }
}

/// Connect to the cluster and find the cloud.
pub async fn connect(
    global: &crate::global::Global,
    wanted: &CloudArgs,
    patience: Patience,
) -> Result<(Client, OpenStack), Error> {
    let client = kubernetes::connect(global, patience).await?;
    let cloud = find(&client, wanted.cloud.as_ref()).await?;
    Ok((client, cloud))
}

#[cfg(test)]
mod tests {
    use super::{Error, choose};
    use oaas_api::{OpenStack, OpenStackSpec};

    fn cloud(namespace: &str, name: &str) -> OpenStack {
        let mut cloud = OpenStack::new(name, OpenStackSpec::default());
        cloud.metadata.namespace = Some(namespace.to_owned());
        cloud
    }

    #[test]
    fn the_only_cloud_needs_no_name() {
        let found = choose(vec![cloud("a", "demo")], None).unwrap();
        assert_eq!(found.metadata.name.as_deref(), Some("demo"));
        assert!(matches!(choose(vec![], None), Err(Error::None)));
    }

    #[test]
    fn several_clouds_have_to_be_told_apart() {
        let all = || vec![cloud("a", "demo"), cloud("b", "demo"), cloud("b", "prod")];
        let choose = |wanted: &str| choose(all(), Some(&wanted.parse().unwrap()));
        assert_eq!(choose("prod").unwrap().metadata.namespace.as_deref(), Some("b"));
        assert_eq!(choose("a/demo").unwrap().metadata.namespace.as_deref(), Some("a"));
        assert!(matches!(choose("demo"), Err(Error::Several { known }) if known == ["a/demo", "b/demo"]));
        assert!(matches!(choose("b/prd"), Err(Error::Unknown { .. })));
        assert!(matches!(super::choose(all(), None), Err(Error::Several { known }) if known.len() == 3));
    }
}
