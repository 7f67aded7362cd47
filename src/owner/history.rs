//! What was sent, for a person to read: the last requests, one a line, in two files of which the older one goes.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::admin::Admin;
use crate::clock;
use crate::delivery::Manifest;
use crate::error::{Error, Result};
use crate::installation::{Installation, fs};
use crate::limits::{SENT_BYTES_MAX, SENT_LINE_RUNS_MAX, SENT_QUOTA_PARTS, SENT_ROOM_BYTES};
use crate::product::Quota;

/// An event that left this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SentEvent {
    /// When its request was answered, or given up, RFC 3339.
    pub time: String,
    /// Where it went.
    pub destination: String,
    /// The HTTP status of the answer; `None` where there was none, and it may have arrived.
    pub status: Option<u16>,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// A line of the history.
#[derive(Serialize, Deserialize)]
struct Line<E> {
    time: String,
    destination: String,
    status: Option<u16>,
    events: E,
}

/// The history, as who delivers writes it.
///
/// It is no part of the books: what cannot be written is left out, and nothing waits for the disk.
pub(super) struct History {
    installation: Installation,
    /// Of each of the two files.
    bytes_max: u64,
    /// Kept open: after a deletion it leads nowhere any more.
    file: Option<File>,
    bytes: u64,
}

impl History {
    pub(super) fn new(installation: &Installation, quota: Quota) -> Self {
        let bytes_max = SENT_BYTES_MAX.min(quota.bytes / SENT_QUOTA_PARTS) / 2;
        Self { installation: installation.clone(), bytes_max, file: None, bytes: 0 }
    }

    /// Adds a request. `is_current` says whether the installation is still the one that its events are of.
    pub(super) fn add(
        &mut self,
        destination: &str,
        status: Option<u16>,
        manifest: &Manifest,
        mut is_current: impl FnMut() -> bool,
    ) {
        for events in manifest.chunks(SENT_LINE_RUNS_MAX) {
            let time = clock::rfc3339(clock::wall_micros());
            let line = Line { time, destination: destination.into(), status, events };
            let written = serde_json::to_vec(&line)
                .map_err(io::Error::from)
                .and_then(|line| self.write(line, &mut is_current));
            if let Err(error) = written {
                log::debug!("what was sent is not in {}: {error}", self.installation.sent().display());
                self.file = None;
                return;
            }
        }
    }

    fn write(&mut self, mut line: Vec<u8>, is_current: &mut dyn FnMut() -> bool) -> io::Result<()> {
        line.push(b'\n');
        let length = line.len() as u64;
        let free = fs::free_bytes(self.installation.directory()).unwrap_or(u64::MAX);
        if length > self.bytes_max || free < SENT_ROOM_BYTES {
            return Ok(());
        }
        if self.file.is_none() {
            if !is_current() {
                return Ok(());
            }
            self.open()?;
        }
        if self.bytes + length > self.bytes_max {
            if !is_current() {
                return Ok(());
            }
            std::fs::rename(self.installation.sent(), self.installation.sent_before())?;
            self.open()?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(&line)?;
            self.bytes += length;
        }
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        let mut file = fs::open_or_create(&self.installation.sent())?;
        self.bytes = file.seek(SeekFrom::End(0))?;
        self.file = Some(file);
        Ok(())
    }
}

impl Admin {
    /// What left this machine, oldest first: as much as the history of at most 1 MiB has. Needs no lock and disturbs
    /// nobody.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Io`] where the history is there and cannot be read.
    pub fn sent(&self) -> Result<Vec<SentEvent>> {
        let Some(installation) = self.existing() else { return Ok(Vec::new()) };
        let mut sent = Vec::new();
        for path in [installation.sent_before(), installation.sent()] {
            read(&path, &mut sent).map_err(|error| Error::io("read", &path, error))?;
        }
        Ok(sent)
    }
}

fn read(path: &Path, sent: &mut Vec<SentEvent>) -> io::Result<()> {
    let bytes = match fs::read_to_limit(path, SENT_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        bytes => bytes?,
    };
    // A line that was torn by a kill says nothing.
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    for Line::<Manifest> { time, destination, status, events } in lines {
        let all =
            events.into_iter().flat_map(|(name, ids)| ids.into_iter().map(move |id| (name.clone(), id)));
        sent.extend(all.map(|(name, id)| SentEvent {
            time: time.clone(),
            destination: destination.clone(),
            status,
            id: id.to_string(),
            name,
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn installation(directory: &tempfile::TempDir) -> Installation {
        let installation = Installation::new(directory.path().into());
        installation.create().unwrap();
        installation
    }

    fn read_all(installation: &Installation) -> Vec<SentEvent> {
        let mut sent = Vec::new();
        read(&installation.sent_before(), &mut sent).unwrap();
        read(&installation.sent(), &mut sent).unwrap();
        sent
    }

    fn bytes(installation: &Installation) -> u64 {
        let length = |path: std::path::PathBuf| path.metadata().map_or(0, |found| found.len());
        length(installation.sent()) + length(installation.sent_before())
    }

    #[test]
    fn the_newest_stay_within_a_bound_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let installation = installation(&directory);
        for generation in 0..3 {
            // Who delivers ends and is followed by others.
            let mut history = History::new(&installation, Quota::default());
            for request in 0..40_u128 {
                let ids =
                    (0..1_000).map(|event| Uuid::from_u128((generation * 40 + request) * 1_000 + event));
                history.add("default", Some(200), &vec![("done".into(), ids.collect())], || true);
                assert!(bytes(&installation) <= SENT_BYTES_MAX);
            }
        }
        let sent = read_all(&installation);
        assert!(sent.len() > 12_000, "{}", sent.len());
        let last = 120_000 - sent.len() as u128;
        for (event, number) in sent.iter().zip(last..) {
            assert_eq!(event.id, Uuid::from_u128(number).to_string());
        }
    }

    #[test]
    fn many_names_and_torn_lines_cost_only_themselves() {
        let directory = tempfile::tempdir().unwrap();
        let installation = installation(&directory);
        let mut history = History::new(&installation, Quota::default());
        let manifest: Manifest =
            (0..4_096).map(|n| (format!("{n:0>100}"), vec![Uuid::from_u128(n)])).collect();
        history.add("default", None, &manifest, || true);
        assert_eq!(read_all(&installation).len(), 4_096);
        let whole = std::fs::read(installation.sent()).unwrap();
        std::fs::write(installation.sent(), &whole[..whole.len() - 9]).unwrap();
        let left = read_all(&installation);
        assert_eq!(left.len(), 4_096 - SENT_LINE_RUNS_MAX);
        assert_eq!((left[0].status, left[0].name.len()), (None, 100));
    }

    #[test]
    fn nothing_comes_back_after_a_deletion() {
        let directory = tempfile::tempdir().unwrap();
        let installation = installation(&directory);
        let mut history = History::new(&installation, Quota { bytes: 16_000, ..Quota::default() });
        let one = |number| vec![("done".to_owned(), vec![Uuid::from_u128(number)])];
        history.add("default", Some(200), &one(1), || true);
        std::fs::remove_file(installation.sent()).unwrap();
        for number in 2..100 {
            history.add("default", Some(200), &one(number), || false);
        }
        assert_eq!(bytes(&installation), 0);
    }
}
