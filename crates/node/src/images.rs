//! The read-only registry of a cluster, as a service of its first node: the endpoint of `oaas-image` over the image
//! cache.

use std::net::SocketAddr;
use std::path::Path;

use oaas_image::Cache;
use snafu::{OptionExt, ResultExt, Snafu};

/// The registry cannot serve.
#[derive(Debug, Snafu)]
pub(crate) enum ImagesError {
    #[snafu(display(
        "usage: node-supervise images --listen=ADDRESS:PORT --cache=DIR --certificate=FILE --key=FILE"
    ))]
    Usage,
    #[snafu(display("failed to serve images"))]
    Serve { source: oaas_image::endpoint::Error },
}

/// What `serve` is told.
#[derive(Debug, PartialEq, Eq)]
struct Arguments<'a> {
    listen: SocketAddr,
    /// The directory that holds the image layout, which is named `images`.
    root: &'a Path,
    certificate: &'a Path,
    key: &'a Path,
}

fn parse(arguments: &[String]) -> Option<Arguments<'_>> {
    let value = |name: &str| arguments.iter().find_map(|argument| argument.strip_prefix(name));
    Some(Arguments {
        listen: value("--listen=")?.parse().ok()?,
        root: Path::new(value("--cache=")?).parent()?,
        certificate: Path::new(value("--certificate=")?),
        key: Path::new(value("--key=")?),
    })
}

/// Serve until killed.
pub(crate) async fn serve(arguments: &[String]) -> Result<(), ImagesError> {
    let given = parse(arguments).context(UsageSnafu)?;
    crate::install_crypto();
    oaas_image::endpoint::serve(Cache::at(given.root), given.listen, given.certificate, given.key)
        .await
        .context(ServeSnafu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_told_what_it_needs() {
        let service =
            crate::services::services(&crate::config::tests::facts(), &std::collections::BTreeMap::default())
                .into_iter()
                .find(|service| service.name == "images")
                .unwrap();
        let given = parse(&service.command[3..]).unwrap();
        assert_eq!(given.listen.to_string(), "10.87.0.11:5000");
        assert_eq!(Cache::at(given.root).images(), Path::new(crate::options::inside::IMAGES));
        assert_eq!(parse(&[]), None);
    }
}
