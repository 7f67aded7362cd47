//! `session`: the id and the start that a server's heartbeats carry. Made once an installation and kept, so that
//! uptime survives a restart.
//!
//! ```json
//! {"session_id":"7f0c8a52-...","session_start_timestamp":"2026-11-23T08:59:00.000001+00:00","epoch":"..."}
//! ```
//!
//! It names the epoch that it was made in: one of another device id is no session, whoever forgot to delete it.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::fs;
use crate::clock;
use crate::limits::SESSION_BYTES_MAX;

/// What stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// A random UUID.
    #[serde(rename = "session_id")]
    pub(crate) id: String,
    /// ISO 8601 in UTC, as Python writes it.
    #[serde(rename = "session_start_timestamp")]
    pub(crate) start: String,
    epoch: Uuid,
}

impl Session {
    fn new(epoch: Uuid) -> Self {
        let id = Uuid::new_v4().hyphenated().to_string();
        Self { id, start: clock::iso8601(clock::wall_micros()), epoch }
    }

    pub(super) fn read(path: &Path, epoch: Uuid) -> io::Result<Option<Self>> {
        let bytes = match fs::read_to_limit(path, SESSION_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let read: Option<Self> = serde_json::from_slice(&bytes).ok();
        Ok(read.filter(|session| session.epoch == epoch))
    }

    /// The session of this epoch; of several processes that make it at once, all have the first one's.
    pub(super) fn read_or_make(path: &Path, epoch: Uuid) -> io::Result<Self> {
        if let Some(session) = Self::read(path, epoch)? {
            return Ok(session);
        }
        let session = Self::new(epoch);
        let hidden = path.with_file_name(format!(".session-{}", Uuid::new_v4().simple()));
        fs::write_new(&hidden, &serde_json::to_vec(&session)?)?;
        fs::place_first(&hidden, path, session, || Self::read(path, epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Uuid = Uuid::from_u128(7);

    #[test]
    fn it_is_made_once_and_kept_and_all_who_make_it_at_once_have_the_same() {
        for _ in 0..20 {
            let directory = tempfile::tempdir().unwrap();
            let make = || Session::read_or_make(&directory.path().join("session"), EPOCH).unwrap();
            let made: Vec<Session> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(made.iter().all(|session| *session == make()), "{made:?}");
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_is_no_session_or_of_another_epoch_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("session");
        let first = Session::read_or_make(&path, EPOCH).unwrap();
        assert_eq!(Uuid::try_parse(&first.id).unwrap().get_version_num(), 4);
        assert!(first.start.ends_with("+00:00"), "{}", first.start);
        let second = Session::read_or_make(&path, Uuid::from_u128(8)).unwrap();
        assert_ne!(second.id, first.id);
        for text in ["", "{}", "[", &" ".repeat(SESSION_BYTES_MAX as usize + 1)] {
            std::fs::write(&path, text).unwrap();
            let made = Session::read_or_make(&path, EPOCH).unwrap();
            assert_eq!(Session::read(&path, EPOCH).unwrap(), Some(made));
        }
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("session");
        Session::read_or_make(&path, EPOCH).unwrap();
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
