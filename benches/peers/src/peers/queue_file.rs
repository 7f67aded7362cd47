use std::path::Path;

use ::queue_file::QueueFile;

use crate::event::encoded;
use crate::peer::{Peer, Result};

struct Queue(QueueFile);

pub fn synced(directory: &Path) -> Result<Box<dyn Peer>> {
    Ok(Box::new(Queue(queue(directory)?)))
}

pub fn unsynced(directory: &Path) -> Result<Box<dyn Peer>> {
    let mut queue = queue(directory)?;
    queue.set_sync_writes(false);
    Ok(Box::new(Queue(queue)))
}

pub fn count(directory: &Path) -> Result<u64> {
    Ok(queue(directory)?.iter().count() as u64)
}

fn queue(directory: &Path) -> Result<QueueFile> {
    Ok(QueueFile::open(directory.join("events.qf"))?)
}

impl Peer for Queue {
    fn enqueue(&mut self, number: u64) -> bool {
        self.0.add(&encoded(number)).is_ok()
    }

    /// Each event is with the operating system when it returns.
    fn flush(&mut self) {}

    fn sync(&mut self) -> bool {
        self.0.sync_all().expect("the disk takes it");
        true
    }
}
