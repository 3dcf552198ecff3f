//! Drives the crate without the command line: `build [lock DIRECTORY | extract IMAGE PATH DIRECTORY | IMAGE...]`. `ARTEFACTS=name=path,...` hands over
//! what recipes put into images besides this program as the agent.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use oaas_feedback::{Event, Explain, Outcome, Sink, Task};
use oaas_image::{BuildOptions, build, extract, lock};

/// Prints what begins and ends, with seconds.
struct Plain(Instant);

impl Sink for Plain {
    fn event(&self, event: Event) {
        let at = self.0.elapsed().as_secs_f64();
        match event {
            Event::Started { id, name, .. } => println!("{at:7.1} {id:?} {name}"),
            Event::Ended { id, outcome: Outcome::Failed(why) } => println!("{at:7.1} {id:?} failed: {why}"),
            Event::Ended { id, outcome } => println!("{at:7.1} {id:?} {outcome:?}"),
            Event::Status { id, text } if std::env::var_os("VERBOSE").is_some() => {
                println!("{at:7.1} {id:?}   {text}");
            }
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let start = Instant::now();
    let task = Task::root(Arc::new(Plain(start)), "images");
    let mut options = BuildOptions::of_user()?;
    let artefacts = std::env::var("ARTEFACTS").unwrap_or_default();
    options.artefacts.extend(
        artefacts
            .split(',')
            .filter_map(|a| a.split_once('='))
            .map(|(name, path)| (name.to_owned(), path.into())),
    );
    if let [command, directory] = &arguments[..]
        && command == "lock"
    {
        let refreshed = lock::debian(&options.cache, Path::new(directory), &task).await?;
        println!("{}", serde_json::to_string_pretty(&refreshed)?);
        let refreshed = lock::python(&options, Path::new(directory), &task).await?;
        println!("{}", serde_json::to_string_pretty(&refreshed)?);
        return Ok(());
    }
    if let [command, image, path, into] = &arguments[..]
        && command == "extract"
    {
        println!("{} files", extract(&options.cache, image, path, Path::new(into)).await?);
        return Ok(());
    }
    match build(&options, &arguments, &task).await {
        Ok(built) => println!("{}", serde_json::to_string_pretty(&built)?),
        Err(error) => {
            let mut next: Option<&dyn Error> = Some(&error);
            while let Some(current) = next {
                eprintln!("error: {current}");
                next = current.source();
            }
            eprintln!("hint: {:?}", error.hint());
            std::process::exit(error.kind().exit_code().into());
        }
    }
    println!("took {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}
