//! Whether the disk has room: a queue must not be what fills it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock;
use crate::installation::fs;
use crate::limits::STORE_ROOM_BYTES;

/// How long an answer is believed.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Asks for the free space of a file system, at most once a second while what it said is not used up.
pub(super) struct Room {
    directory: PathBuf,
    bytes_min: u64,
    answer: Option<(Instant, Result<u64, String>)>,
}

impl Room {
    /// However little is left to others, the store has its room: without it, nothing would be delivered, and
    /// no space ever given back.
    pub(super) fn new(directory: &Path, bytes_min: u64) -> Self {
        Self { directory: directory.into(), bytes_min: bytes_min.max(STORE_ROOM_BYTES), answer: None }
    }

    /// Whether anything may be written, or why not.
    pub(super) fn check(&mut self) -> Result<(), String> {
        let now = clock::monotonic();
        let lately = |at: &Instant| now.duration_since(*at) < ASK_EVERY;
        match &self.answer {
            Some((at, Ok(1..))) if lately(at) => Ok(()),
            Some((at, Err(why))) if lately(at) => Err(why.clone()),
            _ => {
                let answer = judge(fs::free_bytes(&self.directory), self.bytes_min, &self.directory);
                self.answer.insert((now, answer)).1.clone().map(|_| ())
            }
        }
    }

    /// Tells that so many bytes will be written: more than there is room for, and it is asked again.
    pub(super) fn spend(&mut self, bytes: u64) {
        if let Some((_, Ok(left))) = &mut self.answer {
            *left = left.saturating_sub(bytes);
        }
    }
}

/// How much may be written. A file system that does not say how much is free is believed to have room.
fn judge(free: io::Result<u64>, bytes_min: u64, directory: &Path) -> Result<u64, String> {
    let free = free.unwrap_or(u64::MAX);
    free.checked_sub(bytes_min).ok_or_else(|| {
        let place = directory.display();
        format!("{place} has {free} bytes free, and at least {bytes_min} are left to others")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_others_is_not_touched() {
        let place = Path::new("/srv");
        assert_eq!(judge(Ok(100), 100, place), Ok(0));
        assert!(judge(Ok(99), 100, place).unwrap_err().contains("/srv has 99 bytes free"));
        assert_eq!(judge(Err(io::Error::other("no answer")), 100, place), Ok(u64::MAX - 100));
        assert!(Room::new(&std::env::temp_dir(), u64::MAX).check().is_err());
    }

    #[test]
    fn what_there_was_room_for_is_used_up_by_writing_it() {
        let mut room = Room::new(&std::env::temp_dir(), 0);
        room.check().unwrap();
        // As if somebody had filled the disk since.
        room.bytes_min = u64::MAX;
        room.spend(1);
        room.check().unwrap();
        room.spend(u64::MAX);
        assert!(room.check().is_err());
    }
}
