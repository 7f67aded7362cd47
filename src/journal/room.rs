//! Whether the disk has room: a queue must not be what fills it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock;
use crate::installation::fs;

/// How long an answer is believed.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Asks for the free space of a file system, at most once a second.
pub(super) struct Room {
    directory: PathBuf,
    bytes_min: u64,
    answer: Option<(Instant, Result<(), String>)>,
}

impl Room {
    pub(super) fn new(directory: &Path, bytes_min: u64) -> Self {
        Self { directory: directory.into(), bytes_min, answer: None }
    }

    /// Whether anything may be written, or why not.
    pub(super) fn check(&mut self) -> Result<(), String> {
        let now = clock::monotonic();
        match &self.answer {
            Some((at, answer)) if now.duration_since(*at) < ASK_EVERY => answer.clone(),
            _ => {
                let answer = judge(fs::free_bytes(&self.directory), self.bytes_min, &self.directory);
                self.answer = Some((now, answer.clone()));
                answer
            }
        }
    }
}

/// A file system that does not say how much is free is believed to have room.
fn judge(free: io::Result<u64>, bytes_min: u64, directory: &Path) -> Result<(), String> {
    match free {
        Ok(free) if free < bytes_min => {
            let place = directory.display();
            Err(format!("{place} has {free} bytes free, and at least {bytes_min} are left to others"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_others_is_not_touched() {
        let place = Path::new("/srv");
        assert!(judge(Ok(100), 100, place).is_ok());
        assert!(judge(Ok(99), 100, place).unwrap_err().contains("/srv has 99 bytes free"));
        assert!(judge(Ok(0), 0, place).is_ok());
        assert!(judge(Err(io::Error::other("no answer")), 100, place).is_ok());
        assert!(Room::new(&std::env::temp_dir(), u64::MAX).check().is_err());
    }
}
