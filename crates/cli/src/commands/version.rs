//! `oaas version`.

use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::report::Failure;

/// Arguments of `oaas version`.
#[derive(Debug, Args)]
pub struct Arguments {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: &'static str,
}

/// Print the version.
pub fn run(_: &Arguments, context: &Context) -> Result<(), Failure> {
    let version = Version { version: env!("CARGO_PKG_VERSION") };
    context.answer(&version, |version| format!("oaas {}", version.version))
}
