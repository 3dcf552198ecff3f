//! The agent alone, without the rest of `oaas`: what the daemon tests of this crate run inside a root directory.

use std::process::ExitCode;

use oaas_agent::roles::family::fork;
use oaas_agent::roles::node::{LibvirtHook, libvirt_hook};
use oaas_agent::run::{Args, main as run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        // As the hook that the role `libvirt` writes calls the whole `oaas`.
        ["agent", "libvirt-hook", "--cgroup", cgroup, score, "--", domain, operation] => {
            let score = score.strip_prefix("--oom-score-adj=").and_then(|score| score.parse().ok());
            ExitCode::from(libvirt_hook(&LibvirtHook {
                cgroup: (*cgroup).to_owned(),
                oom_score_adj: score.unwrap_or_default(),
                domain: (*domain).to_owned(),
                operation: (*operation).to_owned(),
            }))
        }
        // As programs of a family call it.
        ["agent", "fork", "--", ..] => ExitCode::from(fork(&arguments[3..])),
        [config] => ExitCode::from(run(&Args { config: config.into() })),
        _ => {
            eprintln!("usage: oaas-agent AGENT_JSON");
            ExitCode::from(2)
        }
    }
}
