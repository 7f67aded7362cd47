//! What the installation's no deletes: all that was collected, unsent, and the id. What was counted stays.
//!
//! Whoever sees the no may do it, and several at once. The one who holds the spool is waited for, and so are
//! writers, since each lets go by itself; but the deletion needs no lock, since a holder may be stopped for a day.
//!
//! The order: what there is is noted while the no is known to hold; the device id goes, and with it nothing
//! of it can be sent any more; the ledger takes everything into account as dropped for `consent`, and names the
//! files; the files go; the ledger is left with counters only. A crash in between costs nothing: what the ledger
//! names is removed by whoever comes next, and is not counted again.
//!
//! Only what was noted is removed. Journals have names that are unique for ever; what has not is taken away by a
//! rename, and put back where it turns out to be another thing than the one that was noted. So a deleter that was
//! stopped through the no and a later yes harms nothing that was collected since.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::census::{self, Census};
use super::lock;
use crate::block::Epoch;
use crate::clock;
use crate::consent::Watch;
use crate::installation::{Installation, fs};
use crate::limits::OWNER_WAIT_EVERY;
use crate::spool::{DropReason, Ledger};

/// What was there when the no held.
struct Noted {
    /// The device id's file, kept open so that no other file can be taken for it, and what stood in it.
    device_id: Option<(File, String)>,
    /// Of the device id and of the ledger.
    epochs: Vec<Epoch>,
    /// Whether the ledger says more than counters.
    is_ledger_left: bool,
    /// Journals and whatever else lies beside them, which have names of their own.
    files: Vec<PathBuf>,
    /// Directories whose names others may come to have, kept open like the id.
    directories: Vec<(File, PathBuf)>,
}

/// Deletes what a no deletes, if the installation's no holds, waiting for those who let go by themselves at most so
/// long. Says how many events were dropped; `None` where there is nothing, or the no does not hold any more.
///
/// # Errors
///
/// Those of the file system. What could be deleted is deleted.
pub(super) fn erase(installation: &Installation, watch: &Watch, wait: Duration) -> io::Result<Option<u64>> {
    if !watch.state().is_refused || !installation.exists() {
        return Ok(None);
    }
    let noted = Noted::take(installation)?;
    // What was noted was collected before a no only if that still holds now.
    if noted.is_empty() || !watch.is_as_read() {
        return Ok(None);
    }
    let deadline = clock::monotonic() + wait;
    let _locks = lock::for_erasing(installation, deadline);
    wait_for_writers(installation, deadline);
    if !noted.is_current(installation) {
        return Ok(None);
    }
    noted.take_device_id_away(installation)?;
    let (mut ledger, dropped) = settle(installation);
    ledger.erased = noted.names(installation);
    let path = installation.ledger();
    // Deleting matters more than counting: a full disk is no reason to keep anything.
    let written = ledger.write(&path);
    let mut failed = None;
    for path in &noted.files {
        failed = failed.or(fs::remove_tree(path).err().filter(|error| !is_gone(error)));
    }
    for (directory, path) in &noted.directories {
        failed = failed.or(take_away(path, directory, |_| true).err());
    }
    for directory in [installation.journals(), installation.taken(), installation.spool()] {
        // Where there is one.
        let _ = fs::sync_directory(&directory);
    }
    if let Some(error) = failed {
        return Err(error);
    }
    written?;
    // Somebody who was granted it since has written another one.
    if noted.is_current(installation) && Ledger::read(&path).is_ok_and(|now| now.as_ref() == Some(&ledger)) {
        Ledger { erased: Vec::new(), ..ledger }.write(&path)?;
    }
    fs::sync_directory(installation.directory())?;
    log::info!("{} events and the device id were deleted: somebody said no", dropped);
    Ok(Some(dropped))
}

impl Noted {
    fn take(installation: &Installation) -> io::Result<Self> {
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
        // What was set aside holds what was collected, too.
        let is_aside = |path: &Path| name_of(path).starts_with("ledger.aside-");
        noted.files.extend(entries(installation.directory())?.into_iter().filter(|path| is_aside(path)));
        let mut directories = entries(&installation.spool())?;
        directories.push(installation.exports());
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

    fn is_empty(&self) -> bool {
        let is_bare = self.device_id.is_none() && self.files.is_empty() && self.directories.is_empty();
        is_bare && !self.is_ledger_left
    }

    /// Whether what stands in the directory is still what was noted, and nothing of a later installation.
    fn is_current(&self, installation: &Installation) -> bool {
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

    fn take_device_id_away(&self, installation: &Installation) -> io::Result<()> {
        let Some((file, text)) = &self.device_id else { return Ok(()) };
        take_away(&device_id(installation), file, |path| {
            let now = fs::read_to_limit(path, 1 << 10).unwrap_or_default();
            String::from_utf8_lossy(&now).trim() == text
        })?;
        fs::sync_directory(installation.directory())
    }

    /// The files that the ledger names: those whose names nobody else will have.
    fn names(&self, installation: &Installation) -> Vec<String> {
        let all = self.files.iter().chain(self.directories.iter().map(|(_, path)| path));
        let relative = all.filter_map(|path| path.strip_prefix(installation.directory()).ok()?.to_str());
        relative.filter(|name| *name != "exports").map(str::to_owned).collect()
    }
}

/// The ledger with counters only, and how many events were dropped.
fn settle(installation: &Installation) -> (Ledger, u64) {
    let Census { mut books, ledger, .. } = Census::take(installation);
    let mut dropped = 0;
    for account in books.accounts.values_mut() {
        let gone = account.waiting() + std::mem::take(&mut account.dead);
        account.drop(DropReason::Consent, gone);
        dropped += gone;
    }
    let numbers = entries(&installation.spool()).unwrap_or_default();
    let newest = numbers.iter().filter_map(|path| name_of(path).parse::<u64>().ok()).max().unwrap_or(0);
    let (generation, store) = ledger.map_or((0, 0), |ledger| (ledger.generation, ledger.store));
    // The number stays, so that no later store has the name of one that is deleted.
    let ledger = Ledger { generation, store: store.max(newest), books, ..Ledger::new(Epoch::of("")) };
    (ledger, dropped)
}

/// Takes what stands at `path` away and removes it, if it is the file that was noted; anything else is put back.
fn take_away(path: &Path, noted: &File, is_it: impl Fn(&Path) -> bool) -> io::Result<()> {
    if !fs::is_at(noted, path) || !is_it(path) {
        return Ok(());
    }
    let hidden = path.with_file_name(format!(".erased-{}", Uuid::new_v4().simple()));
    match std::fs::rename(path, &hidden) {
        Err(error) if is_gone(&error) => return Ok(()),
        renamed => renamed?,
    }
    if fs::is_at(noted, &hidden) && is_it(&hidden) {
        return match fs::remove_tree(&hidden) {
            Err(error) if !is_gone(&error) => Err(error),
            _ => Ok(()),
        };
    }
    // Somebody was granted it in this very moment.
    match std::fs::hard_link(&hidden, path) {
        Ok(()) => fs::remove(&hidden),
        Err(_) if fs::is_directory(&hidden) => std::fs::rename(&hidden, path),
        Err(error) => Err(error),
    }
}

/// Waits until writers have let go of their journals.
fn wait_for_writers(installation: &Installation, deadline: Instant) {
    while clock::monotonic() < deadline && !census::held_journals(installation).is_empty() {
        std::thread::sleep(clock::wait(OWNER_WAIT_EVERY));
    }
}

fn device_id(installation: &Installation) -> PathBuf {
    installation.directory().join("device_id")
}

/// What lies in a directory; nothing where there is none.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::is_directory(directory) {
        return Ok(Vec::new());
    }
    std::fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}
