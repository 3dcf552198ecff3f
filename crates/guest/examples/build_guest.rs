//! Build the guest image from packages that apt's mirror has: `build_guest <image>`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::PathBuf;

use oaas_feedback::Task;

fn main() {
    let out = std::env::args_os().nth(1).map(PathBuf::from).expect("usage: build_guest <image>");
    let inputs = support::inputs();
    let begin = std::time::Instant::now();
    match oaas_guest::build(&inputs, &out, &Task::silent()) {
        Ok(built) => println!(
            "{}: {} bytes, sha256 {}, built in {:.1} s",
            built.path.display(),
            built.bytes,
            built.sha256,
            begin.elapsed().as_secs_f32()
        ),
        Err(error) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = cause {
                eprintln!("{error}");
                cause = error.source();
            }
            std::process::exit(1);
        }
    }
}
