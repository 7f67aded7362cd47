use std::path::Path;

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::event::{encoded, id};
use crate::peer::{Peer, Result};

struct Store {
    database: Database,
    events: Keyspace,
}

fn store(directory: &Path) -> Result<Store> {
    let database = Database::builder(directory).open()?;
    let events = database.keyspace("events", KeyspaceCreateOptions::default)?;
    Ok(Store { database, events })
}

pub fn open(directory: &Path) -> Result<Box<dyn Peer>> {
    Ok(Box::new(store(directory)?))
}

pub fn count(directory: &Path) -> Result<u64> {
    Ok(store(directory)?.events.len()? as u64)
}

impl Peer for Store {
    fn enqueue(&mut self, number: u64) -> bool {
        self.events.insert(id(number), encoded(number)).is_ok()
    }

    fn flush(&mut self) {
        self.database.persist(PersistMode::Buffer).expect("the disk takes it");
    }

    fn sync(&mut self) -> bool {
        self.database.persist(PersistMode::SyncData).expect("the disk takes it");
        true
    }
}
