//! The other selves of the one binary, looked for before anything else happens.
//!
//! A node's first process and a pod's agent are the same file as the command line. They are not in its help, take their
//! arguments by themselves, and must not pay for the threads and the logging of a command line; a node's first process
//! must not even have had a thread.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use oaas_agent::roles::node::{LibvirtHook, libvirt_hook};

/// Run the other self that `arguments` name, if they do, to its end.
pub fn other_self(arguments: &[OsString]) -> Option<ExitCode> {
    let rest =
        || arguments.iter().skip(2).map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>();
    match arguments.get(1)?.to_str()? {
        "node-init" => Some(oaas_node::init::main(&rest())),
        "node-supervise" => Some(oaas_node::supervise::main(&rest())),
        "agent" => Some(agent(arguments)),
        "operator" => Some(operator(arguments)),
        _ => None,
    }
}

/// `oaas agent …`, which only pods call.
#[derive(Debug, Parser)]
#[command(name = "oaas agent", bin_name = "oaas agent")]
struct Agent {
    #[command(subcommand)]
    command: AgentCommand,
}

#[derive(Debug, Subcommand)]
enum AgentCommand {
    /// Run what the configuration says, as the first process of a container
    Run {
        /// `agent.json`
        #[arg(long)]
        config: PathBuf,
    },
    /// Have the family of programs in this container run one more, and end as it ends
    Fork {
        /// The program and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        words: Vec<String>,
    },
    /// Called by libvirt when something happens to a guest
    LibvirtHook {
        /// The cgroup that guests' ones are below
        #[arg(long)]
        cgroup: String,
        /// `oom_score_adj` of the guest's process
        #[arg(long, allow_negative_numbers = true)]
        oom_score_adj: i32,
        /// The guest's name
        domain: String,
        /// What happens, such as `started`
        operation: String,
    },
}

/// `oaas operator …`, which only the operator's Deployment calls.
#[derive(Debug, Parser)]
#[command(name = "oaas operator", bin_name = "oaas operator")]
struct Operator {
    /// The namespace that it runs in
    #[arg(long)]
    namespace: String,
    /// Its name among candidates for the lease
    #[arg(long)]
    identity: String,
    /// Where it answers probes and gives metrics
    #[arg(long, default_value = "0.0.0.0:8080")]
    listen: std::net::SocketAddr,
    /// File with the images there are: JSON, name → {reference, closure}
    #[arg(long)]
    images: PathBuf,
}

fn operator(arguments: &[OsString]) -> ExitCode {
    let Operator { namespace, identity, listen, images } =
        match Operator::try_parse_from(arguments.iter().skip(1)) {
            Ok(parsed) => parsed,
            Err(error) => error.exit(),
        };
    let settings = oaas_operator::process::Settings { namespace, identity, listen, images };
    match oaas_operator::process::main(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", oaas_operator::in_full(&error));
            ExitCode::from(oaas_feedback::Explain::kind(&error).exit_code())
        }
    }
}

fn agent(arguments: &[OsString]) -> ExitCode {
    let parsed = match Agent::try_parse_from(arguments.iter().skip(1)) {
        Ok(parsed) => parsed,
        Err(error) => error.exit(),
    };
    ExitCode::from(match parsed.command {
        AgentCommand::Run { config } => oaas_agent::run::main(&oaas_agent::run::Args { config }),
        AgentCommand::Fork { words } => oaas_agent::roles::family::fork(&words),
        AgentCommand::LibvirtHook { cgroup, oom_score_adj, domain, operation } => {
            libvirt_hook(&LibvirtHook { cgroup, oom_score_adj, domain, operation })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Agent, AgentCommand, other_self};
    use clap::Parser;

    #[test]
    fn people_s_commands_are_left_to_the_command_line() {
        let words = |words: &[&str]| words.iter().map(Into::into).collect::<Vec<_>>();
        assert!(other_self(&words(&["oaas"])).is_none());
        assert!(other_self(&words(&["oaas", "status"])).is_none());
        assert!(other_self(&words(&["oaas", "--instance", "agent"])).is_none());
    }

    #[test]
    fn the_hook_is_called_as_libvirt_s_file_calls_it() {
        let line = "agent libvirt-hook --cgroup machine --oom-score-adj=-500 -- instance-1 started";
        let parsed = Agent::try_parse_from(line.split(' ')).unwrap();
        assert!(matches!(
            parsed.command,
            AgentCommand::LibvirtHook { oom_score_adj: -500, domain, operation, .. }
                if domain == "instance-1" && operation == "started"
        ));
    }
}
