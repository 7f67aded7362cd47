use std::path::Path;

use ::yaque::{Receiver, Sender, recovery};

use crate::event::encoded;
use crate::peer::{Peer, Result};

struct Queue(Sender);

pub fn open(directory: &Path) -> Result<Box<dyn Peer>> {
    Ok(Box::new(Queue(Sender::open(directory)?)))
}

/// Its lock is a file that a kill leaves behind, so it has to be recovered first.
pub fn count(directory: &Path) -> Result<u64> {
    recovery::recover(directory)?;
    let mut receiver = Receiver::open(directory)?;
    let mut events = 0;
    while let Ok(event) = receiver.try_recv() {
        event.commit()?;
        events += 1;
    }
    Ok(events)
}

impl Peer for Queue {
    fn enqueue(&mut self, number: u64) -> bool {
        self.0.try_send(encoded(number)).is_ok()
    }

    /// Each event is with the operating system when it returns.
    fn flush(&mut self) {}
}
