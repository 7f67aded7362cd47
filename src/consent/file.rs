//! Settings files as they stand on the disk: others write them in place, and at any time.

use std::fs::{Metadata, Permissions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::clock;
use crate::limits::{SETTINGS_BYTES_MAX, SETTLED_AFTER};

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stamp {
    Absent,
    Found {
        len: u64,
        modified: Option<SystemTime>,
        /// Device, inode and the time of the last change of any kind.
        identity: (u64, u64, i64, i64),
    },
    Unreadable(io::ErrorKind),
}

impl Stamp {
    /// Of a product's own file, which may well be a link.
    pub(crate) fn of(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Ok(found) => {
                Self::Found { len: found.len(), modified: found.modified().ok(), identity: identity(&found) }
            }
            Err(error) if is_absent(&error) => Self::Absent,
            Err(error) => Self::Unreadable(error.kind()),
        }
    }

    /// Whether somebody may be writing the file just now: it changed within the last second, or its time lies
    /// ahead.
    pub(crate) fn is_fresh(&self) -> bool {
        let Self::Found { modified, identity: (.., seconds, nanos), .. } = self else { return false };
        let changed = u64::try_from(*seconds).ok().map(|seconds| {
            SystemTime::UNIX_EPOCH + Duration::new(seconds, u32::try_from(*nanos).unwrap_or_default())
        });
        let now = clock::wall();
        let is_old = |at: &SystemTime| now.duration_since(*at).is_ok_and(|age| age >= SETTLED_AFTER);
        [modified, &changed].into_iter().flatten().any(|at| !is_old(at))
    }
}

#[cfg(unix)]
fn identity(found: &Metadata) -> (u64, u64, i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (found.dev(), found.ino(), found.ctime(), found.ctime_nsec())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> (u64, u64, i64, i64) {
    (0, 0, 0, 0)
}

/// Whether a file is not there, as opposed to one that cannot be read.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Reads a file, if there is one.
///
/// # Errors
///
/// Says which file cannot be read, and why.
pub(crate) fn read(path: &Path) -> Result<Option<String>, String> {
    match read_bytes(path) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes);
            text.map(Some).map_err(|_| format!("{} makes no sense: it is no text", path.display()))
        }
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    // Before it is opened: a pipe would never answer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(SETTINGS_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SETTINGS_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {SETTINGS_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Replaces a file as a whole, durably, where it still has this stamp: whoever reads it sees the old bytes or the
/// new ones. Its mode is kept, and where it is a link, the file that it leads to is replaced. `false` where
/// somebody changed it meanwhile.
pub(crate) fn replace(path: &Path, text: &str, before: &Stamp) -> io::Result<bool> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let Some((directory, name)) = path.parent().zip(path.file_name()) else {
        return Err(io::Error::other("a file in a directory is needed"));
    };
    let hidden = directory.join(format!(".{}-{}", name.display(), Uuid::new_v4().simple()));
    let permissions = std::fs::metadata(&path).ok().map(|found| found.permissions());
    let replaced = write_new(&hidden, text.as_bytes(), permissions).and_then(|()| {
        let is_as_before = Stamp::of(&path) == *before;
        if is_as_before { std::fs::rename(&hidden, &path).map(|()| true) } else { Ok(false) }
    });
    if !matches!(replaced, Ok(true)) {
        let _ = std::fs::remove_file(&hidden);
        return replaced;
    }
    std::fs::File::open(directory)?.sync_all()?;
    Ok(true)
}

/// Writes a file that must not be there yet and makes its bytes durable. It is closed to everybody else, unless it is
/// to be as open as another.
pub(crate) fn write_new(path: &Path, bytes: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.sync_all()
}
