//! Which Python package index the machine uses, told to pip and uv inside a sandbox.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where Debian keeps the certificates of the authorities that the machine trusts.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Settings of pip that also matter to uv.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// Variables for the sandbox.
    pub environment: BTreeMap<String, String>,
    /// The bundle of certificate authorities on the machine, if it is a file.
    pub certificates: Option<PathBuf>,
}

impl Index {
    /// The machine's: pip's configuration files, then `PIP_*`, `UV_*` and proxy variables, which win.
    pub fn of_machine() -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let mut files = vec![PathBuf::from("/etc/pip.conf"), PathBuf::from("/etc/xdg/pip/pip.conf")];
        files.extend(home.iter().flat_map(|h| [h.join(".pip/pip.conf"), h.join(".config/pip/pip.conf")]));
        files.extend(std::env::var_os("PIP_CONFIG_FILE").map(PathBuf::from));
        let texts: Vec<String> = files.iter().filter_map(|f| std::fs::read_to_string(f).ok()).collect();
        Self::read(&texts, std::env::vars())
    }

    fn read(files: &[String], variables: impl Iterator<Item = (String, String)>) -> Self {
        let mut settings = BTreeMap::new();
        for text in files {
            settings.extend(global_section(text));
        }
        let mut environment = BTreeMap::new();
        for (name, value) in variables {
            if let Some(setting) = name.strip_prefix("PIP_") {
                settings.insert(setting.to_ascii_lowercase().replace('_', "-"), value);
            } else if [
                "UV_DEFAULT_INDEX",
                "UV_INDEX",
                "UV_INDEX_URL",
                "UV_EXTRA_INDEX_URL",
                "UV_INSECURE_HOST",
            ]
            .contains(&name.as_str())
                || ["http_proxy", "https_proxy", "no_proxy", "all_proxy"]
                    .contains(&name.to_ascii_lowercase().as_str())
            {
                environment.insert(name, value);
            }
        }
        for (setting, pip, uv) in [
            ("index-url", "PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
            ("extra-index-url", "PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL"),
            ("trusted-host", "PIP_TRUSTED_HOST", "UV_INSECURE_HOST"),
            ("proxy", "PIP_PROXY", "ALL_PROXY"),
        ] {
            if let Some(value) = settings.get(setting) {
                environment.insert(pip.into(), value.clone());
                environment.entry(uv.into()).or_insert_with(|| value.clone());
            }
        }
        let bundle = settings.get("cert").map_or(CERTIFICATES, String::as_str);
        let certificates = Some(PathBuf::from(bundle)).filter(|p| p.is_file());
        Self { environment, certificates }
    }
}

/// Keys and values of the `[global]` and `[install]` sections of a pip.conf.
fn global_section(text: &str) -> BTreeMap<String, String> {
    let mut inside = false;
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    let mut last = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = trimmed.strip_prefix('[') {
            inside = ["global]", "install]"].contains(&section);
        } else if !inside {
        } else if let (true, Some(key)) = (line.starts_with([' ', '\t']), &last) {
            let value: &mut String = out.entry(Clone::clone(key)).or_default();
            format!("{value} {trimmed}").trim().clone_into(value);
        } else if let Some((key, value)) = trimmed.split_once('=') {
            let key = key.trim().to_ascii_lowercase().replace('_', "-");
            out.insert(key.clone(), value.trim().to_owned());
            last = Some(key);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_pip_becomes_that_of_uv() {
        let files = ["[global]\nindex-url = https://mirror.example/simple\ntrusted-host =\n  a.example\n  b.example\n[freeze]\nproxy=x\n".to_owned()];
        let index = Index::read(&files, std::iter::empty());
        assert_eq!(index.environment["PIP_INDEX_URL"], "https://mirror.example/simple");
        assert_eq!(index.environment["UV_DEFAULT_INDEX"], "https://mirror.example/simple");
        assert_eq!(index.environment["UV_INSECURE_HOST"], "a.example b.example");
        assert!(!index.environment.contains_key("PIP_PROXY"));
    }

    #[test]
    fn variables_win_over_files() {
        let files = ["[global]\nindex-url = https://a\n".to_owned()];
        let variables = [
            ("PIP_INDEX_URL", "https://b"),
            ("UV_DEFAULT_INDEX", "https://c"),
            ("https_proxy", "http://p"),
            ("EDITOR", "x"),
        ];
        let index = Index::read(&files, variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        let got: Vec<_> = index.environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(got, ["PIP_INDEX_URL=https://b", "UV_DEFAULT_INDEX=https://c", "https_proxy=http://p"]);
    }
}
