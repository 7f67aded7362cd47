//! What was there when a no held, and how it is taken away without harm to anything that came later.
//!
//! Journals have names that are unique for ever; what has not is taken away by a rename, and put back where it turns
//! out to be another thing than the one that was noted.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::block::Epoch;
use crate::installation::{ERASED, Installation, fs, is_hidden_id};
use crate::spool::Ledger;

/// What was there when the no held.
pub(super) struct Noted {
    /// The device id's file, kept open so that no other file can be taken for it, and what stood in it.
    device_id: Option<(File, String)>,
    /// Of the device id and of the ledger.
    epochs: Vec<Epoch>,
    /// Whether the ledger says more than counters.
    is_ledger_left: bool,
    /// Journals and whatever else lies beside them, which have names of their own.
    pub(super) files: Vec<PathBuf>,
    /// Directories whose names others may come to have, kept open like the id.
    pub(super) directories: Vec<(File, PathBuf)>,
}

impl Noted {
    pub(super) fn take(installation: &Installation) -> io::Result<Self> {
        let mut noted = Self {
            device_id: None,
            epochs: Vec::new(),
            is_ledger_left: false,
            files: Vec::new(),
            directories: Vec::new(),
        };
        let path = device_id(installation);
        if let Ok(file) = fs::open_to_read(&path) {
            let text = fs::read_to_limit(&path, 1 << 10).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            noted.epochs.push(Epoch::of(&text));
            noted.device_id = Some((file, text));
        }
        let ledger = Ledger::read(&installation.ledger()).ok().flatten();
        noted.is_ledger_left = ledger.as_ref().is_some_and(|ledger| ledger.epoch != Epoch::of(""));
        noted.epochs.extend(ledger.map(|ledger| ledger.epoch));
        for directory in [installation.journals(), installation.taken()] {
            noted.files.extend(entries(&directory)?);
        }
        // What was set aside holds what was collected, too, and what was hidden by who was killed names whose it was.
        let is_left = |path: &PathBuf| name_of(path).starts_with("ledger.aside-") || is_hidden_id(path);
        noted.files.extend(entries(installation.directory())?.into_iter().filter(is_left));
        let mut directories = entries(&installation.spool())?;
        // With names that the next epoch has, too; the last three are files.
        directories.extend([installation.exports(), installation.imports()]);
        directories.extend([installation.session(), installation.sent(), installation.sent_before()]);
        for path in directories {
            match File::open(&path) {
                Ok(directory) => noted.directories.push((directory, path)),
                Err(error) if is_gone(&error) => {}
                // A link that leads nowhere, or nothing that can be opened: it has no name that others take.
                Err(_) => noted.files.push(path),
            }
        }
        Ok(noted)
    }

    pub(super) fn is_empty(&self) -> bool {
        let is_bare = self.device_id.is_none() && self.files.is_empty() && self.directories.is_empty();
        is_bare && !self.is_ledger_left
    }

    /// Whether what stands in the directory is still what was noted, and nothing of a later installation.
    pub(super) fn is_current(&self, installation: &Installation) -> bool {
        let id = match installation.device_id() {
            Ok(Some(id)) => self.epochs.contains(&Epoch::of(&id)),
            Ok(None) => true,
            Err(_) => self.device_id.is_some(),
        };
        let nobody = Epoch::of("");
        let ledger = match Ledger::read(&installation.ledger()) {
            Ok(Some(ledger)) => ledger.epoch == nobody || self.epochs.contains(&ledger.epoch),
            // A newer or a damaged one goes, too.
            Ok(None) | Err(_) => true,
        };
        id && ledger
    }

    pub(super) fn take_device_id_away(&self, installation: &Installation) -> io::Result<()> {
        let Some((file, text)) = &self.device_id else { return Ok(()) };
        take_away(&device_id(installation), file, |path| {
            let now = fs::read_to_limit(path, 1 << 10).unwrap_or_default();
            String::from_utf8_lossy(&now).trim() == text
        })?;
        fs::sync_directory(installation.directory())
    }

    /// The files that the ledger names: those whose names nobody else will have.
    pub(super) fn names(&self, installation: &Installation) -> Vec<String> {
        let all = self.files.iter().chain(self.directories.iter().map(|(_, path)| path));
        let relative = all.filter_map(|path| path.strip_prefix(installation.directory()).ok()?.to_str());
        relative.filter(|name| !["exports", "imports"].contains(name)).map(str::to_owned).collect()
    }
}

/// A name that nobody else has, and whose file goes should this process be killed.
pub(super) fn hidden_beside(path: &Path) -> PathBuf {
    path.with_file_name(format!("{ERASED}{}", Uuid::new_v4().simple()))
}

/// Takes what stands at `path` away and removes it, if it is the file that was noted; anything else is put back.
pub(super) fn take_away(path: &Path, noted: &File, is_it: impl Fn(&Path) -> bool) -> io::Result<()> {
    if !fs::is_at(noted, path) || !is_it(path) {
        return Ok(());
    }
    let hidden = hidden_beside(path);
    match std::fs::rename(path, &hidden) {
        Err(error) if is_gone(&error) => return Ok(()),
        renamed => renamed?,
    }
    if fs::is_at(noted, &hidden) && is_it(&hidden) {
        return fs::remove_tree(&hidden);
    }
    // Somebody was granted it in this very moment.
    match std::fs::hard_link(&hidden, path) {
        Ok(()) => fs::remove(&hidden),
        Err(_) if fs::is_directory(&hidden) => std::fs::rename(&hidden, path),
        // Another deletion found it under its hidden name, and has removed it.
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

fn device_id(installation: &Installation) -> PathBuf {
    installation.directory().join("device_id")
}

/// What lies in a directory; nothing where there is none.
pub(super) fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::is_directory(directory) {
        return Ok(Vec::new());
    }
    std::fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}
