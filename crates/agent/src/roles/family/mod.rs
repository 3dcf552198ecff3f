//! Programs in Python that are forked from one process ([`Family`]), and whoever has it fork one more.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use oaas_agent_config::{Family, Program};
use oaas_feedback::{Explain, Kind};
use serde_json::json;
use snafu::{ResultExt as _, Snafu};

use crate::context::{Context, Outcome, Role};
use crate::error::Failure;
use crate::prepare::prepare;
use crate::python::home;

/// The parent of the family; what it does stands in it.
const PARENT: &str = include_str!("family.py");

/// A family could not be started.
#[derive(Debug, Snafu)]
#[snafu(display("failed to start a family of programs: {} cannot be made", path.display()))]
struct Error {
    path: PathBuf,
    source: io::Error,
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        Kind::Environment
    }
}

/// Where the parent is asked for one more program.
fn socket() -> PathBuf {
    home().join("family")
}

impl Role for Family {
    async fn run(&self, context: &Context) -> Result<Outcome, Failure> {
        prepare(&self.pre, context).await?;
        let home = home();
        fs::create_dir_all(&home).context(Snafu { path: &home })?;
        let parent = home.join("family.py");
        fs::write(&parent, PARENT).context(Snafu { path: &parent })?;
        let told =
            json!({"imports": self.imports, "programs": self.programs, "socket": self.helpers.then(socket)});
        let mut program = Program::new(["python".to_owned(), parent.display().to_string(), told.to_string()]);
        program.stop = self.stop.clone();
        context.start("family", &program)?;
        context.running();
        Ok(Outcome::Supervise)
    }
}

/// Have the family of this container run one more program, and give that one's exit code.
pub fn fork(words: &[String]) -> u8 {
    let ask = || -> io::Result<u8> {
        let mut stream = UnixStream::connect(socket())?;
        stream.write_all(format!("{}\n", json!(words)).as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        answer.trim().parse().map_err(|_| io::Error::other("the process that was asked ended meanwhile"))
    };
    ask().unwrap_or_else(|error| {
        eprintln!("error: failed to have {} run: {}: {error}", words.join(" "), socket().display());
        Kind::Environment.exit_code()
    })
}
