//! What a build needs to know beyond the recipes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use snafu::ResultExt as _;

use super::failure::{Error, error};
use crate::store::Cache;

/// What a build needs to know beyond the recipes.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The cache to build in.
    pub cache: Cache,
    /// Files that recipes name as artefacts. `agent` is the `oaas` binary.
    pub artefacts: BTreeMap<String, PathBuf>,
}

impl BuildOptions {
    /// The user's cache, and the running program as the agent.
    pub fn of_user() -> Result<Self, Error> {
        let agent = std::env::current_exe().context(error::OwnBinarySnafu)?;
        let cache = Cache::of_user().context(error::StoreSnafu)?;
        Ok(Self { cache, artefacts: BTreeMap::from([("agent".into(), agent)]) })
    }
}
