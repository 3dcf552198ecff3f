//! Which mirror the machine takes Debian from.

use oaas_feedback::{Explain, Kind, Task};
use snafu::{OptionExt as _, ResultExt as _, Snafu};

use super::lock::Archive;
use crate::process;

/// The machine's mirrors, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    /// Of releases and updates.
    pub main: String,
    /// Of security updates.
    pub security: String,
}

/// No mirror is known.
#[derive(Debug, Snafu)]
#[snafu(module, visibility(pub(crate)))]
pub enum Error {
    /// apt names none.
    #[snafu(display("failed to find a Debian mirror in the machine's apt configuration"))]
    None,
    /// apt could not be asked.
    #[snafu(display("failed to ask apt for its mirrors"))]
    Apt {
        /// What went wrong.
        source: process::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::None => {
                Some("set OAAS_DEBIAN_MIRROR (and OAAS_DEBIAN_SECURITY_MIRROR) to the URL of a mirror".into())
            }
            Self::Apt { source } => source.hint(),
        }
    }
}

impl Mirrors {
    /// The machine's: what apt is set up with, or what `OAAS_DEBIAN_MIRROR` and `OAAS_DEBIAN_SECURITY_MIRROR` say.
    pub async fn of_machine(task: &Task) -> Result<Self, Error> {
        let mut apt = process::command("apt-get");
        apt.args(["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(ORIGIN)", "Identifier: Packages"]);
        let set = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        let main = set("OAAS_DEBIAN_MIRROR");
        let security = set("OAAS_DEBIAN_SECURITY_MIRROR");
        let targets = match (&main, &security) {
            (Some(_), Some(_)) => String::new(),
            _ => process::run("list the machine's mirrors", apt, task).await.context(error::AptSnafu)?,
        };
        Self::choose(&targets, main, security).context(error::NoneSnafu)
    }

    /// The first Debian archive and the first security archive among lines `URI suite …`; what is given wins.
    fn choose(targets: &str, main: Option<String>, security: Option<String>) -> Option<Self> {
        let lines: Vec<(&str, &str)> = targets.lines().filter_map(|l| l.split_once(' ')).collect();
        let find = |wanted: &dyn Fn(&str, &str) -> bool| {
            lines
                .iter()
                .find(|(uri, suite)| wanted(uri.trim_end_matches('/'), suite))
                .map(|(uri, _)| (*uri).to_owned())
        };
        let is_security = |uri: &str, suite: &str| {
            uri.ends_with("debian-security")
                || suite
                    .split(' ')
                    .next()
                    .is_some_and(|s| s.ends_with("-security") || s.ends_with("/updates"))
        };
        let main =
            main.or_else(|| find(&|uri, suite| uri.ends_with("/debian") && !is_security(uri, suite)))?;
        // Every mirror network serves both below one host, by the names that Debian gives them.
        let security = security
            .or_else(|| find(&|uri, suite| is_security(uri, suite)))
            .unwrap_or_else(|| format!("{}-security", main.trim_end_matches('/')));
        let trim = |uri: String| uri.trim_end_matches('/').to_owned();
        Some(Self { main: trim(main), security: trim(security) })
    }

    /// The mirror of an archive.
    pub fn of(&self, archive: Archive) -> &str {
        match archive {
            Archive::Main => &self.main,
            Archive::Security => &self.security,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_is_found_among_other_repositories() {
        let targets = "https://packages.example/apt stable \nhttp://mirror.example/debian/ bookworm Debian\n\
                       http://mirror.example/debian-security/ bookworm-security Debian";
        let mirrors = Mirrors::choose(targets, None, None).unwrap();
        assert_eq!(mirrors.of(Archive::Main), "http://mirror.example/debian");
        assert_eq!(mirrors.of(Archive::Security), "http://mirror.example/debian-security");
    }

    #[test]
    fn what_the_user_sets_wins() {
        let mirrors = Mirrors::choose("http://a/debian/ trixie", Some("http://b/d/".into()), None).unwrap();
        assert_eq!(mirrors, Mirrors { main: "http://b/d".into(), security: "http://b/d-security".into() });
    }

    #[test]
    fn without_a_mirror_the_hint_names_the_variable() {
        assert_eq!(Mirrors::choose("https://packages.example/apt stable", None, None), None);
        assert!(Error::None.hint().unwrap().contains("OAAS_DEBIAN_MIRROR"));
    }
}
