//! Drives an embedded cluster by hand: `node up|down|status|changes|preflight [INSTANCE] [NODES]`.
//!
//! Directories come from `OAAS_STATE_DIR` and `OAAS_CACHE_DIR`, the image of pause from `OAAS_PAUSE`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use oaas_feedback::{Event, Explain, Sink, Task};
use oaas_node::{Files, Images, Options, PortMap};

struct Lines(std::time::Instant);

impl Sink for Lines {
    fn event(&self, event: Event) {
        if !matches!(event, Event::Progress { .. }) {
            eprintln!("{:7.3} {event:?}", self.0.elapsed().as_secs_f64());
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("node-init") => return oaas_node::init::main(&arguments[1..]),
        Some("node-supervise") => return oaas_node::supervise::main(&arguments[1..]),
        _ => {}
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime of tokio");
    match runtime.block_on(run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                eprintln!("  because: {error}");
                source = error.source();
            }
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(error.kind().exit_code())
        }
    }
}

async fn run(arguments: &[String]) -> Result<(), oaas_node::Error> {
    let word = |at: usize| arguments.get(at).map(String::as_str);
    let directory =
        |name: &str, or: &str| PathBuf::from(std::env::var(name).unwrap_or_else(|_| or.to_owned()));
    let cache_dir = directory("OAAS_CACHE_DIR", "/var/cache/oaas");
    let options = Options {
        instance: word(1).unwrap_or("oaas").parse().expect("the name of an instance"),
        prefix: None,
        nodes: word(2).map_or(1, |count| count.parse().expect("a number of nodes")),
        ports: vec![PortMap::loopback(30080)],
        external: Vec::new(),
        state_dir: directory("OAAS_STATE_DIR", "/var/lib/oaas"),
        images: Images {
            cache: cache_dir.join("images"),
            pause: std::env::var("OAAS_PAUSE").unwrap_or_else(|_| "oaas.local/pause:test".into()),
        },
        cache_dir,
        program: std::env::current_exe().expect("this program's path"),
    };
    let task = Task::root(Arc::new(Lines(std::time::Instant::now())), word(0).unwrap_or("?"));
    match word(0) {
        Some("up") => println!("{:#?}", oaas_node::up(&options, &task).await?),
        Some("down") => {
            for change in oaas_node::down(&options, Files::Remove, &task).await? {
                println!("removed {change}");
            }
        }
        Some("stop") => println!("{:#?}", oaas_node::down(&options, Files::Keep, &task).await?),
        Some("status") => {
            let status = oaas_node::status(&options)?;
            println!("{}", serde_json::to_string_pretty(&status).expect("JSON"));
        }
        Some("changes") => {
            for change in oaas_node::host_changes(&options)? {
                println!("{change}");
            }
        }
        Some("preflight") => {
            for finding in oaas_node::preflight(&options).await.findings {
                println!("{finding}\n  hint: {}", finding.hint().unwrap_or_default());
            }
        }
        _ => eprintln!("usage: node up|down|stop|status|changes|preflight [INSTANCE] [NODES]"),
    }
    Ok(())
}
