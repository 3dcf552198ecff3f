//! The resource that somebody hands over: read, and judged before anything is done for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use kube::ResourceExt;
use oaas_api::{OpenStack, OpenStackSpec};
use oaas_catalog::Catalog;
use oaas_feedback::{Explain, Kind};
use oaas_plan::{
    CloudId, CredentialSpec, Credentials, Image, Images, Inputs, Node, Observed, PlanError, Problem,
    Rotatable, Sensitive, blueprint, credentials, too_large, validate,
};
use snafu::{ResultExt, Snafu};

use crate::report::Failure;

/// What stands for a secret that is not generated yet.
const GENERATED: &str = "(will be generated)";

/// Why a resource cannot be had.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub))]
pub enum Error {
    /// The file cannot be read.
    #[snafu(display("failed to read {}", path.display()))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The resource asks for something that cannot be done.
    #[snafu(display("the resource is refused: {}", Listed(problems)))]
    Refused {
        /// Everything that is wrong with it.
        problems: Vec<Problem>,
    },
    /// The program lacks something that it should have.
    #[snafu(display("failed to plan the cloud"))]
    Plan {
        /// What.
        source: PlanError,
    },
    /// The catalog that is compiled in cannot be read.
    #[snafu(display("failed to read the service catalog of this program"))]
    Catalog {
        /// Why.
        source: oaas_catalog::LoadError,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } | Self::Refused { .. } => Kind::Input,
            Self::Plan { .. } | Self::Catalog { .. } => Kind::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => Some("give the resource with `--file FILE`, or `-` for stdin".to_owned()),
            Self::Refused { .. } => Some("docs/reference.md lists every field".to_owned()),
            Self::Plan { .. } | Self::Catalog { .. } => None,
        }
    }
}

/// Problems as a list below the message.
pub struct Listed<'a, T>(pub &'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(out, "{count} problem{}", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|problem| write!(out, "\n  {problem}"))
    }
}

/// The resource in a file, or on stdin.
pub fn read(path: &Path) -> Result<OpenStack, Failure> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context(ReadSnafu { path })?;
    } else {
        text = std::fs::read_to_string(path).context(ReadSnafu { path })?;
    }
    Ok(oaas_api::parse_resource(&text)?)
}

/// Which cloud a resource is about. Without a namespace it is the one of the cloud's own name.
pub fn id(cloud: &OpenStack) -> CloudId {
    let name = cloud.name_any();
    CloudId {
        namespace: cloud.namespace().unwrap_or_else(|| name.clone()),
        uid: cloud.uid().unwrap_or_default(),
        name,
    }
}

/// Refuse what no cluster could do, before one is made. The operator judges again, knowing the cluster.
pub fn check(cloud: &OpenStack) -> Result<(), Error> {
    judge(cloud, |inputs| refuse(validate(inputs)))
}

/// Refuse what would not fit into a new cluster whose pods may take so much memory, in MiB.
pub fn fits(cloud: &OpenStack, memory: u64) -> Result<(), Error> {
    judge(cloud, |inputs| {
        let secrets = with_generated(Credentials::new(), credentials(inputs));
        let machine = [Node { allocatable_memory_mib: memory, ..Node::default() }];
        let inputs = Inputs { credentials: &secrets, ..*inputs };
        let blueprint = blueprint(&inputs).context(PlanSnafu)?;
        refuse(too_large(&Inputs { nodes: &machine, ..inputs }, &blueprint))
    })
}

/// The ports that the cloud of a resource publishes itself on when they are free.
pub fn published(spec: &OpenStackSpec) -> Result<Vec<u16>, Error> {
    let catalog = Catalog::built_in().context(CatalogSnafu)?;
    Ok(oaas_plan::wanted_ports(&catalog, spec))
}

/// Names of the images that a cloud's workloads and jobs run, without those that the resource names by address.
pub fn images(cloud: &OpenStack) -> Result<BTreeSet<String>, Error> {
    let mut names = BTreeSet::new();
    judge(cloud, |inputs| {
        let secrets = with_generated(Credentials::new(), credentials(inputs));
        let blueprint = blueprint(&Inputs { credentials: &secrets, ..*inputs }).context(PlanSnafu)?;
        let of_components = blueprint.components.values().map(|component| &component.image);
        let of_jobs = blueprint.jobs.values().map(|job| &job.image);
        let known = inputs.images.iter().map(|(name, image)| (&image.reference, name));
        let known: BTreeMap<_, _> = known.collect();
        names.extend(
            of_components.chain(of_jobs).filter_map(|image| known.get(&image.reference)).copied().cloned(),
        );
        Ok(())
    })?;
    Ok(names)
}

/// What of a cloud can be rotated.
pub fn rotatable(cloud: &OpenStack) -> Result<Vec<Rotatable>, Error> {
    let mut found = Vec::new();
    judge(cloud, |inputs| {
        found = oaas_plan::rotatable(inputs);
        Ok(())
    })?;
    Ok(found)
}

/// Judge a cloud of which nothing is there yet.
fn judge(cloud: &OpenStack, by: impl FnOnce(&Inputs<'_>) -> Result<(), Error>) -> Result<(), Error> {
    let catalog = Catalog::built_in().context(CatalogSnafu)?;
    by(&Inputs {
        cloud: &id(cloud),
        spec: &cloud.spec,
        catalog: &catalog,
        images: &unbuilt(&catalog),
        credentials: &Credentials::new(),
        user_secrets: None,
        nodes: &[],
        observed: &Observed::default(),
    })
}

/// Fail if there is a problem.
pub fn refuse(problems: Vec<Problem>) -> Result<(), Error> {
    if problems.is_empty() { Ok(()) } else { RefusedSnafu { problems }.fail() }
}

/// All images by their bare names.
pub fn unbuilt(catalog: &Catalog) -> Images {
    let of_services = catalog.services().values().flat_map(|service| {
        let components = service.components.iter().map(|component| component.pod.image.clone());
        components.chain(service.jobs.iter().map(|job| job.pod.image.clone()))
    });
    let of_releases = catalog.releases().values().map(|release| release.image.clone());
    let opaque = |name: String| (name.clone(), Image::opaque(format!("oaas.local/{name}")));
    of_services.chain(of_releases).map(opaque).collect()
}

/// The secrets there are, and a word for those that will be generated.
pub fn with_generated(mut secrets: Credentials, needed: Vec<CredentialSpec>) -> Credentials {
    for spec in needed {
        let known = secrets.entry(spec.name).or_default();
        for key in spec.kind.keys() {
            known.entry((*key).to_owned()).or_insert_with(|| Sensitive::new(GENERATED.to_owned()));
        }
    }
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(spec: &str) -> Vec<String> {
        let text = format!(
            "apiVersion: oaas.dev/v1alpha1\nkind: OpenStack\nmetadata: {{name: demo}}\nspec: {spec}\n"
        );
        images(&oaas_api::parse_resource(&text).unwrap()).unwrap().into_iter().collect()
    }

    #[test]
    fn a_cloud_names_the_images_of_its_release_and_of_what_it_runs() {
        let all = ["haproxy", "libvirt", "mariadb", "memcached", "openstack-2026.1", "ovn", "rabbitmq"];
        assert_eq!(names("{release: '2026.1'}"), all);
        let other = all.map(|name| name.replace("2026.1", "2025.1"));
        assert_eq!(names("{release: '2025.1'}"), other);
    }

    #[test]
    fn every_release_of_the_catalog_has_its_image() {
        let recipes = oaas_image::Recipes::embedded().unwrap();
        let catalog = Catalog::built_in().unwrap();
        for release in catalog.releases().values() {
            let made_of = recipes.release(&release.name).unwrap();
            assert_eq!(made_of.python, release.python, "{}", release.name);
            assert!(recipes.get(&release.image).unwrap().published, "{}", release.image);
        }
    }

    #[test]
    fn what_a_resource_names_by_its_address_is_not_built() {
        let own = "{release: '2026.1', images: {rabbitmq: 'registry.example/mine@sha256:00'}}";
        assert!(!names(own).contains(&"rabbitmq".to_owned()));
    }
}
