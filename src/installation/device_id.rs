//! `device_id`: a UUIDv4 as text without a newline, mode 0600, as Prefect writes it.
//!
//! Any other text that stands there is kept: the installation is already known by it. What is not kept is a
//! damaged copy of the id that was known before, since with another id all that waits would belong to nobody.
//! One that is gone is not damaged: that is how somebody says no.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use uuid::Uuid;

use super::fs;
use crate::clock;
use crate::limits::{DEVICE_ID_BYTES_MAX, SETTLED_AFTER};

/// What stands in the file's place.
enum Found {
    Nothing,
    Id(String),
    /// No text, or none that can be an id.
    Unreadable,
    /// A link, a pipe, a directory.
    Stranger,
}

/// Reads the id, if there is one.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] where something stands there that is none.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    match look(path)? {
        Found::Nothing => Ok(None),
        Found::Id(id) => Ok(Some(id)),
        Found::Unreadable | Found::Stranger => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "it is no device id"))
        }
    }
}

/// Whether a text can be an id, as it would be read.
pub(crate) fn is_device_id(text: &str) -> bool {
    text.len() <= DEVICE_ID_BYTES_MAX && matches!(Found::read(text.as_bytes()), Found::Id(_))
}

pub(super) fn read_or_make(directory: &Path) -> io::Result<String> {
    let path = directory.join("device_id");
    match look(&path)? {
        Found::Id(id) => return Ok(id),
        Found::Stranger => drop(fs::set_aside(&path)?),
        Found::Nothing | Found::Unreadable => {}
    }
    let id = Uuid::new_v4().hyphenated().to_string();
    // Bytes, then name, then directory: a journal must not outlive the id that it was collected under.
    let hidden = write_hidden(directory, &id)?;
    fs::place_first(&hidden, &path, id, || read(&path))
}

/// Replaces the id by a random one. `None` where there is none, or what stands there is none.
pub(super) fn replace(directory: &Path) -> io::Result<Option<String>> {
    let path = directory.join("device_id");
    if !matches!(look(&path)?, Found::Id(_) | Found::Unreadable) {
        return Ok(None);
    }
    let id = Uuid::new_v4().hyphenated().to_string();
    std::fs::rename(write_hidden(directory, &id)?, &path)?;
    fs::sync_directory(directory)?;
    Ok(Some(id))
}

/// Whether a damaged copy of `known` stands there.
pub(super) fn is_damaged_at(directory: &Path, known: &str) -> io::Result<bool> {
    look(&directory.join("device_id")).map(|found| is_damaged(&found, known))
}

/// Writes `known` where a damaged copy of it stands. Says whether there was one.
pub(super) fn mend(directory: &Path, known: &str) -> io::Result<bool> {
    let path = directory.join("device_id");
    let found = look(&path)?;
    if !is_damaged(&found, known) {
        return Ok(false);
    }
    if !matches!(found, Found::Stranger) && !is_settled(&path) {
        // Whoever writes it in place may be at it just now.
        thread::sleep(SETTLED_AFTER);
    }
    match look(&path)? {
        Found::Stranger => {
            fs::set_aside(&path)?;
            std::fs::rename(write_hidden(directory, known)?, &path)?;
            fs::sync_directory(directory)?;
        }
        found if is_damaged(&found, known) => {
            // In place: should somebody say no meanwhile, and delete it, this brings nothing back.
            let mut file = fs::open(&path)?;
            file.write_all(known.as_bytes())?;
            file.set_len(known.len() as u64)?;
            file.sync_all()?;
        }
        _ => return Ok(false),
    }
    log::error!("{} was damaged, and is again what it was", path.display());
    Ok(true)
}

fn look(path: &Path) -> io::Result<Found> {
    match fs::read_to_limit(path, DEVICE_ID_BYTES_MAX as u64) {
        Ok(bytes) => Ok(Found::read(&bytes)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Ok(Found::Nothing),
            // It is larger than any device id.
            io::ErrorKind::InvalidData => Ok(Found::Unreadable),
            _ if !fs::is_file(path) => Ok(Found::Stranger),
            _ => Err(error),
        },
    }
}

impl Found {
    fn read(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
        let is_id = !text.is_empty() && !text.contains(char::is_control);
        if is_id { Self::Id(text.to_owned()) } else { Self::Unreadable }
    }
}

fn is_damaged(found: &Found, known: &str) -> bool {
    match found {
        Found::Nothing => false,
        Found::Id(text) => is_damaged_copy(text, known),
        Found::Unreadable | Found::Stranger => true,
    }
}

/// Whether a text is what damage leaves of a UUID. A person's own text, or another UUID, has next to nothing in
/// common with it; of a text that a person chose, nobody can say which is the damaged one.
fn is_damaged_copy(text: &str, known: &str) -> bool {
    let is_uuid = Uuid::try_parse(known).is_ok_and(|id| id.hyphenated().to_string() == known);
    let same = text.bytes().zip(known.bytes()).filter(|(left, right)| left == right).count();
    is_uuid && text != known && (known.starts_with(text) || 4 * same >= 3 * known.len())
}

/// Whether nobody has written to it for a while.
fn is_settled(path: &Path) -> bool {
    let written = std::fs::symlink_metadata(path).and_then(|found| found.modified());
    written.is_ok_and(|at| clock::wall().duration_since(at).is_ok_and(|since| since >= SETTLED_AFTER))
}

fn write_hidden(directory: &Path, id: &str) -> io::Result<PathBuf> {
    let hidden = directory.join(format!(".device_id-{}", Uuid::new_v4().simple()));
    fs::write_new(&hidden, id.as_bytes())?;
    Ok(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_that_make_it_at_once_agree() {
        for _ in 0..20 {
            let directory = tempfile::tempdir().unwrap();
            let ids: Vec<String> = std::thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..4).map(|_| scope.spawn(|| read_or_make(directory.path()).unwrap())).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
            assert_eq!(std::fs::read_to_string(directory.path().join("device_id")).unwrap(), ids[0]);
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_stands_there_is_kept_unless_it_is_empty_or_too_long() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device_id");
        std::fs::write(&path, " my-laptop\n").unwrap();
        assert_eq!(read_or_make(directory.path()).unwrap(), "my-laptop");
        for text in ["", " \n", "\0\0\0", &"x".repeat(DEVICE_ID_BYTES_MAX + 1)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
            let id = read_or_make(directory.path()).unwrap();
            assert_eq!(Uuid::try_parse(&id).unwrap().get_version_num(), 4);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), id);
        }
    }

    const KNOWN: &str = "3e9b8b0c-5d2c-4e3a-9f43-0a5f1d6a7b8c";

    fn mended(bytes: &[u8], known: &str) -> (bool, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device_id");
        std::fs::write(&path, bytes).unwrap();
        let long_ago = clock::wall() - SETTLED_AFTER;
        std::fs::File::open(&path).unwrap().set_modified(long_ago).unwrap();
        (mend(directory.path(), known).unwrap(), std::fs::read(&path).unwrap())
    }

    #[test]
    fn each_damaged_byte_of_a_known_id_is_put_right() {
        for at in 0..KNOWN.len() {
            for bit in 0..8 {
                let mut bytes = KNOWN.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                assert!(is_damaged(&Found::read(&bytes), KNOWN), "bit {bit} of byte {at}");
            }
            assert!(is_damaged(&Found::read(&KNOWN.as_bytes()[..at]), KNOWN), "cut at {at}");
        }
        let (changed, cut) = (KNOWN.replacen('b', "c", 1), &KNOWN[..20]);
        for bytes in
            [changed.as_bytes(), cut.as_bytes(), &[0; 36], &[0xff; 300], format!("{KNOWN}x").as_bytes()]
        {
            assert_eq!(mended(bytes, KNOWN), (true, KNOWN.into()));
        }
    }

    #[test]
    fn another_id_a_persons_own_text_and_one_that_is_gone_are_no_damage() {
        let another = Uuid::new_v4().to_string();
        for (text, known) in [(another.as_str(), KNOWN), ("my-laptop", KNOWN), (KNOWN, KNOWN), ("b1", "b2")] {
            assert_eq!(mended(text.as_bytes(), known), (false, text.into()));
        }
        let directory = tempfile::tempdir().unwrap();
        assert!(!mend(directory.path(), KNOWN).unwrap());
        assert_eq!(read(&directory.path().join("device_id")).unwrap(), None);
    }

    #[test]
    fn what_is_just_being_written_is_left_to_its_writer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device_id");
        std::fs::write(&path, "").unwrap();
        let another = Uuid::new_v4().to_string();
        std::thread::scope(|scope| {
            let mending = scope.spawn(|| mend(directory.path(), KNOWN).unwrap());
            std::fs::write(&path, &another).unwrap();
            assert!(!mending.join().unwrap());
        });
        assert_eq!(read_or_make(directory.path()).unwrap(), another);
    }
}
