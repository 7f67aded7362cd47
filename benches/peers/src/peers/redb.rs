use std::path::Path;

use ::redb::{Database, Durability, ReadableDatabase, ReadableTableMetadata, TableDefinition};

use crate::event::{encoded, id};
use crate::peer::{Peer, Result};

const EVENTS: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("events");

struct Table {
    database: Database,
    durability: Durability,
}

pub fn immediate(directory: &Path) -> Result<Box<dyn Peer>> {
    open(directory, Durability::Immediate)
}

pub fn none(directory: &Path) -> Result<Box<dyn Peer>> {
    open(directory, Durability::None)
}

fn open(directory: &Path, durability: Durability) -> Result<Box<dyn Peer>> {
    let mut table = Table { database: Database::create(directory.join("events.redb"))?, durability };
    table.flush();
    Ok(Box::new(table))
}

pub fn count(directory: &Path) -> Result<u64> {
    let database = Database::open(directory.join("events.redb"))?;
    Ok(database.begin_read()?.open_table(EVENTS)?.len()?)
}

impl Table {
    fn insert(&self, number: u64) -> Result<()> {
        let mut write = self.database.begin_write()?;
        write.set_durability(self.durability)?;
        write.open_table(EVENTS)?.insert(id(number), &encoded(number)[..])?;
        Ok(write.commit()?)
    }

    /// What came before becomes durable with it.
    fn commit(&self) -> Result<()> {
        let write = self.database.begin_write()?;
        write.open_table(EVENTS)?;
        Ok(write.commit()?)
    }
}

impl Peer for Table {
    fn enqueue(&mut self, number: u64) -> bool {
        self.insert(number).is_ok()
    }

    fn flush(&mut self) {
        self.commit().expect("the disk takes it");
    }

    fn sync(&mut self) -> bool {
        self.flush();
        true
    }
}
