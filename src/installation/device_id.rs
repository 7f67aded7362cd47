//! `device_id`: a UUIDv4 as text without a newline, mode 0600, as Prefect writes it.
//!
//! Any other text that stands there is kept: the installation is already known by it.

use std::io;
use std::path::Path;

use uuid::Uuid;

use super::fs;
use crate::limits::DEVICE_ID_BYTES_MAX;

pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_limit(path, DEVICE_ID_BYTES_MAX as u64) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).ok();
            Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
        }
        // A file that is larger than any device id is unreadable, which is as good as none.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn read_or_make(directory: &Path) -> io::Result<String> {
    let path = directory.join("device_id");
    if let Some(id) = read(&path)? {
        return Ok(id);
    }
    let id = Uuid::new_v4().hyphenated().to_string();
    // Bytes, then name, then directory: a journal must not outlive the id that it was collected under.
    let hidden = directory.join(format!(".device_id-{}", Uuid::new_v4().simple()));
    let made =
        fs::write_new(&hidden, id.as_bytes()).and_then(|()| match std::fs::hard_link(&hidden, &path) {
            // Somebody was faster, or what stands there is empty or unreadable.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match read(&path) {
                Ok(Some(theirs)) => Ok(theirs),
                _ => std::fs::rename(&hidden, &path).map(|()| id),
            },
            linked => linked.map(|()| id),
        });
    // It has done its work, or is of no use; when it was renamed it is no longer there.
    let _ = std::fs::remove_file(&hidden);
    let id = made?;
    fs::sync_directory(directory)?;
    Ok(id)
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
        for text in ["", " \n", &"x".repeat(DEVICE_ID_BYTES_MAX + 1)] {
            std::fs::write(&path, text).unwrap();
            let id = read_or_make(directory.path()).unwrap();
            assert_eq!(Uuid::try_parse(&id).unwrap().get_version_num(), 4);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), id);
        }
    }
}
