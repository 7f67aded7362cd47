//! What is set aside, since it could not be used, and the copies of stores that are made for it.
//!
//! sled writes zeroes over what it takes for the end of its log while it opens a store: behind a damaged place lies
//! much that is whole. So a store is copied before each opening, and should the opening fail, that copy is set aside
//! and not what sled left. And sled reuses the room in its log before the names of its snapshots are durable: a power
//! cut meanwhile may leave neither. So the copy is durable before sled touches the store, and where nobody came to an
//! end of opening it, the store goes back to the copy.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::core::SpoolError;
use crate::clock;
use crate::installation::{Installation, fs};
use crate::limits::{STORE_READ_BYTES_MAX, STORE_ROOM_BYTES, STORES_ASIDE_MAX};

/// Begins the name of a store that was set aside: `aside-<when>-<its number>`.
const STORE: &str = "aside-";

/// Everything that is set aside and may have something in it.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    pub(crate) stores: Vec<PathBuf>,
    /// Files out of `journals/` and `taken/`.
    pub(crate) journals: Vec<PathBuf>,
    pub(crate) ledgers: Vec<PathBuf>,
}

impl Aside {
    pub(super) fn is_empty(&self) -> bool {
        self.stores.is_empty() && self.journals.is_empty()
    }

    pub(crate) fn find(installation: &Installation) -> Self {
        let mut ledgers = fs::files_aside(installation.directory());
        ledgers.retain(|path| path.file_stem().is_some_and(|name| name == "ledger"));
        let [journals, taken] = [installation.journals(), installation.taken()];
        Self {
            stores: stores(&installation.spool()).into_iter().filter(|path| fs::is_directory(path)).collect(),
            journals: [fs::files_aside(&journals), fs::files_aside(&taken)].concat(),
            ledgers,
        }
    }
}

/// Whether this is the name of a store that was set aside.
pub(crate) fn is_store(name: &str) -> bool {
    name.starts_with(STORE)
}

/// The name of the copy of a store that was made before it was opened.
pub(super) fn before(number: u64) -> String {
    format!(".before-{number}")
}

/// Copies a store that is about to be opened, where there is room. Of one that somebody began to open before, the
/// copy of then is the better one.
pub(super) fn keep_before(installation: &Installation, number: u64) {
    let (spool, store) = (installation.spool(), installation.store(number));
    let before = spool.join(before(number));
    let made = || {
        let hidden = durable_copy(installation, &store)?;
        std::fs::rename(hidden, &before)?;
        fs::sync_directory(&spool)
    };
    if !fs::is_directory(&before)
        && let Err(error) = made()
    {
        log::debug!("{} is opened without a copy: {error}", store.display());
    }
}

/// Takes a store back to what it was before an opening of which nobody came to an end, if a copy says so. The copy
/// stays, for the next that does not.
pub(super) fn go_back(installation: &Installation, number: u64) {
    let (spool, store) = (installation.spool(), installation.store(number));
    let before = spool.join(before(number));
    let gone_back = || {
        let hidden = durable_copy(installation, &before)?;
        let half_opened = spool.join(".half-opened");
        if fs::is_directory(&store) {
            std::fs::rename(&store, &half_opened)?;
        }
        std::fs::rename(hidden, &store)?;
        fs::sync_directory(&spool)?;
        fs::remove_tree(&half_opened)
    };
    if fs::is_directory(&before)
        && let Err(error) = gone_back()
    {
        log::debug!("{} is opened as it was left: {error}", store.display());
    }
}

/// Copies a store, where there is room, to a hidden name.
fn durable_copy(installation: &Installation, store: &Path) -> io::Result<PathBuf> {
    let needed = fs::disk_bytes(store).saturating_add(STORE_ROOM_BYTES);
    if fs::free_bytes(&installation.spool())? < needed {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let hidden = installation.spool().join(".copy");
    copy(store, &hidden)?;
    fs::sync_tree(&hidden)?;
    Ok(hidden)
}

/// Removes the copy: the store was opened, and is right.
pub(super) fn forget_before(installation: &Installation, number: u64) {
    // What stays is removed at the next opening.
    let _ = fs::remove_tree(&installation.spool().join(before(number)));
}

/// Keeps a store, as it was before it was opened.
pub(super) fn store(installation: &Installation, number: u64) -> Result<(), SpoolError> {
    let path = installation.store(number);
    if fs::is_directory(&path) && copy_of(installation, number)? {
        return fs::remove_tree(&path).map_err(SpoolError::io("remove", path));
    }
    keep(installation, &path, number)
}

/// Keeps the copy of a store, if there is one.
pub(super) fn copy_of(installation: &Installation, number: u64) -> Result<bool, SpoolError> {
    let before = installation.spool().join(before(number));
    let is_there = fs::is_directory(&before);
    if is_there {
        keep(installation, &before, number)?;
    }
    Ok(is_there)
}

/// Keeps what was a store under a name that says when, and of those that were kept the newest few.
fn keep(installation: &Installation, path: &Path, number: u64) -> Result<(), SpoolError> {
    let spool = installation.spool();
    let aside = fs::free_name(path, &format!("{STORE}{}-{number}", clock::file_stamp()));
    std::fs::rename(path, aside).map_err(SpoolError::io("rename", path))?;
    for oldest in stores(&spool).iter().rev().skip(STORES_ASIDE_MAX) {
        fs::remove_tree(oldest).map_err(SpoolError::io("remove", oldest))?;
    }
    Ok(())
}

/// Copies a store that nobody has open. One with a file that is too large, or with what is no file, is not.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::remove_tree(to)?;
    fs::create_directory(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == "blobs" && fs::is_directory(&path) || name.ends_with(".generating") {
            continue;
        }
        // What is none of sled's fails here, and stays with the store.
        let mut source = fs::open_to_read(&path)?;
        if source.metadata()?.len() > STORE_READ_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // By reads and writes: other ways to copy are not on every file system.
        let source: &mut dyn Read = &mut source;
        io::copy(source, &mut fs::create_new(&to.join(&*name))?)?;
    }
    Ok(())
}

/// The stores that were set aside, the oldest first.
fn stores(spool: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(spool).into_iter().flatten().flatten();
    let aside = entries.filter(|entry| is_store(&entry.file_name().to_string_lossy()));
    let mut found: Vec<_> = aside.map(|entry| entry.path()).collect();
    found.sort_unstable();
    found
}
