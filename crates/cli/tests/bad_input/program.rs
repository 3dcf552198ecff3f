//! The program, run in a place of its own.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How long one run may take; what is wrong is to be told long before.
const PATIENCE: Duration = Duration::from_mins(1);

/// The instance that these tests name; none is ever made.
pub const INSTANCE: &str = "badinput";

/// What a run came to.
#[derive(Debug)]
pub struct Said {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

impl Said {
    /// The error as it is told: everything from `error:` on.
    pub fn error(&self) -> &str {
        let at = self.stderr.find("error: ").unwrap_or_else(|| panic!("no error was told: {self:?}"));
        &self.stderr[at..]
    }

    /// Check the exit code and the whole error, which says how much memory the cloud wants: `{}` stands for it, as the
    /// catalog decides it. It is more than this.
    #[track_caller]
    pub fn assert_wants(&self, code: i32, error: &str, more_than: u64) {
        let rest = self.error().split_once("the cloud wants ").unwrap_or_else(|| panic!("{}", self.stderr)).1;
        let wants = rest.split(' ').next().unwrap();
        assert!(wants.parse::<u64>().unwrap() > more_than, "{}", self.stderr);
        self.assert(code, &error.replace("{}", wants));
    }

    /// Check the exit code and the whole error.
    #[track_caller]
    pub fn assert(&self, code: i32, error: &str) {
        assert_eq!((self.code, self.error()), (Some(code), error), "{}", self.stderr);
    }
}

/// State and cache of one test, and the variables that it sets.
pub struct Place {
    directory: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Place {
    /// An empty one, on the disk that is built on.
    pub fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { directory, variables: Vec::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// Set an environment variable for all runs from here on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    /// Write a file of this place.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A directory of links to all programs of this machine but one, as PATH of all runs from here on.
    pub fn without_program(&mut self, missing: &str) -> PathBuf {
        let own = self.path("programs");
        fs::create_dir(&own).unwrap();
        for directory in std::env::split_paths(&std::env::var_os("PATH").unwrap()) {
            for program in fs::read_dir(directory).into_iter().flatten().flatten() {
                if program.file_name() != missing {
                    // The first one in PATH is the one that counts.
                    let _ = std::os::unix::fs::symlink(program.path(), own.join(program.file_name()));
                }
            }
        }
        self.set("PATH", own.display().to_string());
        own
    }

    /// The program with these arguments, not started yet.
    pub fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(["--instance", INSTANCE])
            .args(arguments)
            .env("NO_COLOR", "1")
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", self.directory.path())
            .env("OAAS_STATE_DIR", self.state())
            .env("OAAS_CACHE_DIR", self.cache())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }

    /// Run the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        finish(self.start(arguments))
    }

    /// Start the program.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(Path::new(env!("CARGO_BIN_EXE_oaas")), arguments).spawn().unwrap()
    }
}

/// Wait for the end of a run; what takes too long is ended with all that it started.
pub fn finish(mut child: Child) -> Said {
    fn reader(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<String> {
        thread::spawn(move || {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        })
    }
    let (stdout, stderr) = (reader(child.stdout.take().unwrap()), reader(child.stderr.take().unwrap()));
    let began = Instant::now();
    let mut late = false;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > PATIENCE && !late {
            late = true;
            killpg(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGKILL).unwrap();
        }
        thread::sleep(Duration::from_millis(10));
    };
    let said = Said { stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap(), code: status.code() };
    assert!(!late, "it did not end within {PATIENCE:?}: {}", said.stderr);
    said
}

/// Do something on a machine whose network and mounts are its own: nothing of it is seen outside or remains.
pub fn alone<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let machine = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("these tests need root");
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        shell("ip link set lo up");
        work()
    });
    machine.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Run shell commands, which must succeed.
#[track_caller]
pub fn shell(commands: &str) {
    let output = Command::new("sh").args(["-ec", commands]).output().unwrap();
    assert!(output.status.success(), "{commands}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Put a file in the place of another, for a machine that is alone.
pub fn cover(path: &str, with: &Path) {
    let none: Option<&str> = None;
    mount(Some(with), path, none, MsFlags::MS_BIND, none).unwrap();
}
