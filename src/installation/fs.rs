//! The file system as milepost uses it: private files, no link followed, directories made durable.

#[cfg_attr(unix, path = "fs/unix.rs")]
#[cfg_attr(not(unix), path = "fs/elsewhere.rs")]
mod sys;

use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::clock;
use crate::consent;
use crate::limits::FILES_ASIDE_MAX;

/// What came of trying to lock a file.
#[derive(Debug)]
pub(crate) enum Locked {
    /// The lock is ours as long as this handle is open, and the handle's file is the one at the path.
    Ours(File),
    /// Somebody else has it.
    Busy,
    /// There is no such file, or no longer.
    Gone,
}

/// Locks the file at `path` without waiting.
///
/// A lock on a file that was renamed or replaced in the meantime locks nothing that anybody looks at, so the
/// handle is compared with the path afterwards.
pub(crate) fn lock(path: &Path) -> io::Result<Locked> {
    match open(path) {
        Ok(file) => lock_file(file, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Locked::Gone),
        Err(error) => Err(error),
    }
}

/// Locks a file that is already open; as [`lock`] otherwise.
pub(crate) fn lock_file(file: File, path: &Path) -> io::Result<Locked> {
    match file.try_lock() {
        Ok(()) if is_at(&file, path) => Ok(Locked::Ours(file)),
        Ok(()) => Ok(Locked::Gone),
        Err(TryLockError::WouldBlock) => Ok(Locked::Busy),
        Err(TryLockError::Error(error)) => Err(cannot_lock(error)),
    }
}

/// Whether somebody has the exclusive lock of the file at `path`. Disturbs nobody: the lock that is tried is
/// a shared one, and lives as long as this call.
pub(crate) fn is_locked(path: &Path) -> io::Result<bool> {
    match open_to_read(path) {
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(cannot_lock(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Names what is usual where a lock cannot even be asked for: network file systems, and some of containers.
fn cannot_lock(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{error}: a home on a file system with locks is needed"))
}

/// Opens a regular file for reading and writing.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = sys::options().read(true).write(true).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// Opens a regular file for reading alone: also where nothing can be written.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    let file = sys::options().read(true).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// Opens a regular file, which is made if there is none.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    let file = sys::options().read(true).write(true).create(true).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// Makes a file that must not be there yet.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    sys::options().read(true).write(true).create_new(true).open(path)
}

/// Reads a file of at most `limit` bytes; a larger one is [`io::ErrorKind::InvalidData`].
pub(crate) fn read_to_limit(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_to_read(path)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Writes a new file and makes its bytes durable.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    consent::write_new(path, bytes, None)
}

/// Replaces a file as a whole: whoever reads it sees the old bytes or the new ones. The order is what makes
/// it durable: bytes, then name, then directory.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_if(path, bytes, || true).map(drop)
}

/// The same, if that may still be done when the bytes are durable; says whether it was.
pub(crate) fn replace_if(path: &Path, bytes: &[u8], may: impl FnOnce() -> bool) -> io::Result<bool> {
    let name = path.file_name().unwrap_or_default();
    let hidden = path.with_file_name(format!(".{}-new", name.to_string_lossy()));
    remove(&hidden)?;
    write_new(&hidden, bytes)?;
    if !may() {
        return remove(&hidden).map(|()| false);
    }
    rename(&hidden, path).map(|()| true)
}

/// Gives a file another name in its directory, durably.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let directory = to.parent().ok_or_else(|| io::Error::other("a file in a directory is needed"))?;
    std::fs::rename(from, to)?;
    sync_directory(directory)
}

/// Gives a file that was written under a hidden name its place, unless something that can be read stands there: of
/// several who do so at once all have the first one's. What cannot be read is replaced; whose comes last stays.
pub(crate) fn place_first<T>(
    hidden: &Path,
    path: &Path,
    ours: T,
    read: impl FnOnce() -> io::Result<Option<T>>,
) -> io::Result<T> {
    let placed = match std::fs::hard_link(hidden, path) {
        Ok(()) => Ok(ours),
        // Whoever was faster may have cleared ours away, too.
        Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
            match read() {
                Ok(Some(theirs)) => Ok(theirs),
                _ => std::fs::rename(hidden, path).map(|()| ours),
            }
        }
        Err(error) => Err(error),
    };
    // It has done its work, or is of no use; when it was renamed it is no longer there.
    let _ = std::fs::remove_file(hidden);
    let placed = placed?;
    path.parent().map_or(Ok(()), sync_directory)?;
    Ok(placed)
}

/// Whether others than its owner can read a file.
pub(crate) fn is_open_to_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| sys::mode(&found) & 0o077 != 0)
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a file's bytes durable, whoever wrote them; one that is not there is fine.
pub(crate) fn sync_file(path: &Path) -> io::Result<()> {
    match sys::options().read(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        file => file?.sync_all(),
    }
}

/// Removes a directory with all that is in it, or whatever else stands there; if nothing does, that is fine.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let removed = std::fs::symlink_metadata(path).and_then(|found| match found.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    });
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Whether a regular file stands there: no link, no pipe, no directory.
pub(crate) fn is_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// Whether a directory stands there, and no link to one.
pub(crate) fn is_directory(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// Stands in the name of what was set aside, behind its own: `<name>.aside-<when>`.
const ASIDE: &str = ".aside-";

/// Renames what cannot be used and is not to be deleted to a name that says when. Of the files that were, the newest
/// of a directory are kept.
pub(crate) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let name = format!("{}{ASIDE}{}", path.file_name().unwrap_or_default().display(), clock::file_stamp());
    let aside = free_name(path, &name);
    std::fs::rename(path, &aside)?;
    for oldest in files_aside(path.parent().unwrap_or(path)).iter().rev().skip(FILES_ASIDE_MAX) {
        remove(oldest)?;
    }
    Ok(aside)
}

/// Whether this is the name of what was set aside.
pub(crate) fn is_aside(name: &str) -> bool {
    name.contains(ASIDE)
}

/// The files of a directory that were set aside, the oldest first. One that cannot be listed has none.
pub(crate) fn files_aside(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let stamped = entries.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let (_, stamp) = name.rsplit_once(ASIDE)?;
        is_file(&entry.path()).then(|| (stamp.to_owned(), entry.path()))
    });
    let mut found: Vec<_> = stamped.collect();
    found.sort_unstable();
    found.into_iter().map(|(_, path)| path).collect()
}

/// A name beside `path` that nothing has: `name`, or with a number behind it.
pub(crate) fn free_name(path: &Path, name: &str) -> PathBuf {
    let mut free = path.with_file_name(name);
    for number in 1.. {
        if std::fs::symlink_metadata(&free).is_err() {
            break;
        }
        free = path.with_file_name(format!("{name}-{number}"));
    }
    free
}

/// Syncs every file and directory below `directory`, itself last.
pub(crate) fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_tree(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    sync_directory(directory)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Makes a directory and those above it, closed to everybody else, and makes their names durable: nothing in a
/// directory is safer than its name. Whoever made one that is there may have died before it came so far; that is
/// made up for by `Installation::sync` before anybody is told that something is durable, and by the ledger.
pub(crate) fn create_directories(directory: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(directory) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(io::Error::new(io::ErrorKind::NotADirectory, "something else stands there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let Some(parent) = directory.parent() else { return Ok(()) };
    if !parent.is_dir() {
        create_directories(parent)?;
    }
    match sys::create_directory(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_directory(parent),
    }
}

/// Makes a directory, closed to everybody else, in one that is there. Its name is not made durable.
pub(crate) fn create_directory(directory: &Path) -> io::Result<()> {
    sys::create_directory(directory)
}

/// Sets a file's time stamp to now; the file is made if there is none.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    open_or_create(path)?.set_modified(clock::wall())
}

/// Whether a directory can be written, or made where there is none.
pub(crate) fn check_writable(directory: &Path) -> io::Result<()> {
    match (std::fs::symlink_metadata(directory), directory.parent()) {
        (Ok(found), _) if !found.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
        (Ok(_), _) => sys::check_writable(directory),
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => check_writable(parent),
        (Err(error), _) => Err(error),
    }
}

/// Whether the file of this handle is the one that stands at `path`.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(ours), Ok(theirs)) => sys::identity(&ours) == sys::identity(&theirs),
        _ => false,
    }
}

/// Whether the file of this handle has more names than one.
pub(crate) fn has_other_names(file: &File) -> bool {
    file.metadata().is_ok_and(|found| sys::names(&found) > 1)
}

/// Why somebody else could write into a directory, if so, and what to do.
pub(crate) fn exposure(directory: &Path) -> Option<String> {
    let found = std::fs::symlink_metadata(directory).ok()?;
    sys::exposure(&found).map(|(what, advice)| format!("{} {what}: {advice}", directory.display()))
}

/// Bytes that are free where a directory lies, for who is not root.
pub(crate) fn free_bytes(directory: &Path) -> io::Result<u64> {
    sys::free_bytes(directory)
}

/// Whether there was no room, no right or no handle: that says nothing of what stands on the disk, and later there
/// may be.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    sys::is_passing(error)
}

/// Bytes that a file takes on the disk.
pub(crate) fn disk_bytes_of(found: &Metadata) -> u64 {
    sys::disk_bytes(found)
}

/// Bytes that a directory takes on the disk, with all that is in it.
pub(crate) fn disk_bytes(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => sys::disk_bytes(&found) + disk_bytes(&entry.path()),
        Ok(found) => sys::disk_bytes(&found),
        Err(_) => 0,
    });
    sizes.sum()
}
