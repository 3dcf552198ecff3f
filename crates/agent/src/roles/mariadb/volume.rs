//! What a member's volume holds, and what the agent keeps on it.
//!
//! Below the volume: `data` is the data directory, `data.new` one being initialised, `oaas/last-view.json` the last
//! primary view. The latter is not in the data directory because a state transfer empties that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oaas_feedback::{Explain, Kind};
use snafu::{ResultExt as _, Snafu};

use super::decide::{LastView, Position, Volume};
use crate::prepare;

/// What can go wrong with a volume.
#[derive(Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum Error {
    /// A file.
    #[snafu(display("failed to {doing} {}", path.display()))]
    File {
        /// The verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that the agent wrote is not what it writes.
    #[snafu(display("failed to understand {}", path.display()))]
    Memory {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A file could not be written.
    #[snafu(transparent)]
    Write {
        /// Why.
        source: prepare::Error,
    },
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::File { .. } => Kind::Environment,
            Self::Memory { .. } => Kind::Integrity,
            Self::Write { source } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File { .. } => None,
            Self::Memory { path, .. } => Some(format!(
                "{} says which members the database had; look at the other members' copies before removing it",
                path.display()
            )),
            Self::Write { source } => source.hint(),
        }
    }
}

/// Bytes kept free for the view, beside the blocks of a directory and a file.
const RESERVE: usize = 64 * 1024;

/// A member's volume.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// The state file that Galera keeps in a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grastate {
    /// Where the server was when it stopped cleanly; -1 as sequence number otherwise.
    pub uuid: String,
    /// The last transaction; -1 where not known.
    pub seqno: i64,
}

impl Store {
    /// The volume mounted here.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// A data directory being initialised; worth nothing until it is moved to its place.
    pub fn fresh(&self) -> PathBuf {
        self.root.join("data.new")
    }

    fn memory(&self) -> PathBuf {
        self.root.join("oaas/last-view.json")
    }

    /// Remove what a killed initialisation left.
    pub fn remove_fresh(&self) -> Result<(), Error> {
        remove(&self.fresh(), |path| fs::remove_dir_all(path))
    }

    /// Put an initialised data directory into its place.
    pub fn adopt_fresh(&self) -> Result<(), Error> {
        // An empty directory may be there; anything else makes this fail, rightly.
        fs::rename(self.fresh(), self.data())
            .context(FileSnafu { doing: "move into place", path: self.fresh() })
    }

    /// The last primary view, if the volume remembers one.
    pub fn last_view(&self) -> Result<Option<LastView>, Error> {
        let path = self.memory();
        let Some(text) = read(&path)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).context(MemorySnafu { path })
    }

    /// Remember a primary view; on the disk when this returns. Where the disk is full, it is written in the room that was
    /// kept for it.
    pub fn remember(&self, view: &LastView) -> Result<(), Error> {
        let path = self.memory();
        let text = serde_json::to_vec_pretty(view).context(MemorySnafu { path: &path })?;
        let write = || prepare::write_file(&path, &text, 0o640, None);
        if let Err(failed) = write() {
            if !failed.is_full_disk() {
                return Err(failed.into());
            }
            remove(&self.reserve(), |path| fs::remove_file(path))?;
            write()?;
        }
        Ok(())
    }

    /// Keep room for the next view, where there is room; a full disk is told when it matters.
    pub fn keep_room(&self) {
        let reserve = self.reserve();
        if !reserve.exists() {
            // Not zeros, which some file systems keep without any room.
            let filling: Vec<u8> = (0..=250u8).cycle().take(RESERVE).collect();
            let _ = prepare::write_file(&reserve, &filling, 0o640, None);
        }
    }

    fn reserve(&self) -> PathBuf {
        self.root.join("oaas/reserve")
    }

    /// Galera's state file.
    pub fn grastate(&self) -> Result<Option<Grastate>, Error> {
        Ok(read(&self.data().join("grastate.dat"))?.as_deref().and_then(parse_grastate))
    }

    /// Whether a state transfer into the data directory was begun and not ended.
    pub fn transfer_cut_off(&self) -> bool {
        self.data().join("sst_in_progress").exists()
    }

    /// Whether there is a database at all.
    pub fn has_database(&self) -> bool {
        let data = self.data();
        data.join("ibdata1").is_file() && data.join("mysql").is_dir()
    }

    /// Whether there is anything in the data directory.
    pub fn is_empty(&self) -> Result<bool, Error> {
        let path = self.data();
        match fs::read_dir(&path) {
            Ok(mut entries) => Ok(entries.next().is_none()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(source) => Err(source).context(FileSnafu { doing: "read", path }),
        }
    }

    /// Drop what Galera remembers of its view by itself: the agent decides.
    pub fn forget_view(&self) -> Result<(), Error> {
        remove(&self.data().join("gvwstate.dat"), |path| fs::remove_file(path))
    }

    /// Tell Galera that a bootstrap from here was decided: it refuses otherwise after a crash.
    pub fn allow_bootstrap(&self, owner: Option<&str>) -> Result<(), Error> {
        let path = self.data().join("grastate.dat");
        let Some(text) = read(&path)? else { return Ok(()) };
        let lines: Vec<&str> = text
            .lines()
            .map(|line| if line.starts_with("safe_to_bootstrap:") { "safe_to_bootstrap: 1" } else { line })
            .collect();
        prepare::write_file(&path, (lines.join("\n") + "\n").as_bytes(), 0o660, owner)?;
        Ok(())
    }
}

/// What a volume holds, by what was found on it. `recovered` is what `--wsrep-recover` (or a clean stop) gave.
pub fn judge(
    empty: bool,
    has_database: bool,
    transfer_cut_off: bool,
    recovered: Option<Position>,
    last_view: Option<&LastView>,
) -> Volume {
    if empty && last_view.is_none() {
        return Volume::New;
    }
    if transfer_cut_off {
        return Volume::AbortedTransfer;
    }
    if !has_database {
        let what = if empty { "the data directory is empty" } else { "the data directory holds no database" };
        return Volume::Emptied { why: what.to_owned() };
    }
    match (recovered.filter(Position::is_defined), last_view) {
        (Some(position), _) => Volume::Data(position),
        (None, None) => Volume::Initialised,
        (None, Some(_)) => {
            Volume::Emptied { why: "the database there has no position in any history".to_owned() }
        }
    }
}

/// Understand `grastate.dat`.
pub fn parse_grastate(text: &str) -> Option<Grastate> {
    let value = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim())
    };
    Some(Grastate { uuid: value("uuid")?.to_owned(), seqno: value("seqno")?.parse().ok()? })
}

/// The position in the log of `mariadbd --wsrep-recover`.
pub fn parse_recovered(log: &str) -> Option<Position> {
    const MARK: &str = "WSREP: Recovered position:";
    let line = log.lines().rev().find(|line| line.contains(MARK))?;
    line.split_once(MARK)?.1.trim().parse().ok()
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(source).context(FileSnafu { doing: "read", path }),
    }
}

fn remove(path: &Path, how: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Error> {
    match how(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(source).context(FileSnafu { doing: "remove", path })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const UUID: &str = "6c5cf6fd-c2b1-11ef-8a4e-0242ac110002";

    fn position(seqno: i64) -> Position {
        Position { uuid: UUID.to_owned(), seqno }
    }

    fn view() -> LastView {
        LastView { position: position(5), members: BTreeSet::from(["mariadb-0".to_owned()]) }
    }

    #[test]
    fn what_the_volume_holds() {
        assert_eq!(judge(true, false, false, None, None), Volume::New);
        assert!(matches!(judge(true, false, false, None, Some(&view())), Volume::Emptied { .. }));
        assert!(matches!(judge(false, false, false, None, None), Volume::Emptied { .. }));
        assert_eq!(judge(false, true, true, Some(position(9)), Some(&view())), Volume::AbortedTransfer);
        assert_eq!(judge(false, true, false, Some(position(9)), None), Volume::Data(position(9)));
        let zero = Position { uuid: "00000000-0000-0000-0000-000000000000".to_owned(), seqno: -1 };
        assert_eq!(judge(false, true, false, Some(zero.clone()), None), Volume::Initialised);
        assert!(matches!(judge(false, true, false, Some(zero), Some(&view())), Volume::Emptied { .. }));
    }

    #[test]
    fn galera_s_words_are_understood() {
        let text = format!(
            "# GALERA saved state\nversion: 2.1\nuuid:    {UUID}\nseqno:   -1\nsafe_to_bootstrap: 0\n"
        );
        assert_eq!(parse_grastate(&text), Some(Grastate { uuid: UUID.to_owned(), seqno: -1 }));
        assert_eq!(parse_grastate(""), None);
        let log =
            format!("2026-01-01 0:00:00 0 [Note] WSREP: Recovered position: {UUID}:42,0-1-7\n[Note] done\n");
        assert_eq!(parse_recovered(&log), Some(position(42)));
        assert_eq!(parse_recovered("nothing"), None);
    }

    #[test]
    fn the_view_is_remembered_and_a_broken_memory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path());
        assert_eq!(store.last_view().unwrap(), None);
        store.remember(&view()).unwrap();
        assert_eq!(store.last_view().unwrap(), Some(view()));
        fs::write(store.memory(), "{").unwrap();
        assert!(store.last_view().unwrap_err().to_string().contains("last-view.json"));
    }

    #[test]
    fn room_is_kept_for_the_view() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path());
        store.keep_room();
        assert_eq!(fs::metadata(store.reserve()).unwrap().len(), RESERVE as u64);
        store.remember(&view()).unwrap();
        assert!(store.reserve().exists(), "where there is room, none is taken from the reserve");
    }

    #[test]
    fn a_bootstrap_is_allowed_in_galera_s_file() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path());
        fs::create_dir(store.data()).unwrap();
        store.allow_bootstrap(None).unwrap();
        fs::write(store.data().join("grastate.dat"), "uuid: x\nsafe_to_bootstrap: 0\n").unwrap();
        store.allow_bootstrap(None).unwrap();
        assert_eq!(
            fs::read_to_string(store.data().join("grastate.dat")).unwrap(),
            "uuid: x\nsafe_to_bootstrap: 1\n"
        );
    }
}
