use std::path::Path;

use rusqlite::Connection;

use crate::event::encoded;
use crate::peer::{Peer, Result};

struct Outbox {
    connection: Connection,
    is_full: bool,
}

pub fn normal(directory: &Path) -> Result<Box<dyn Peer>> {
    Ok(Box::new(Outbox { connection: connect(directory, "NORMAL")?, is_full: false }))
}

pub fn full(directory: &Path) -> Result<Box<dyn Peer>> {
    Ok(Box::new(Outbox { connection: connect(directory, "FULL")?, is_full: true }))
}

pub fn count(directory: &Path) -> Result<u64> {
    let count = connect(directory, "FULL")?
        .query_row("SELECT count(*) FROM outbox", [], |row| row.get::<_, i64>(0))?;
    Ok(count as u64)
}

fn connect(directory: &Path, synchronous: &str) -> Result<Connection> {
    let connection = Connection::open(directory.join("outbox.db"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection
        .execute("CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY, body BLOB NOT NULL)", [])?;
    Ok(connection)
}

impl Peer for Outbox {
    fn enqueue(&mut self, number: u64) -> bool {
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO outbox (body) VALUES (?1)")
            .expect("the table is there");
        insert.execute([&encoded(number)[..]]).is_ok()
    }

    /// Each transaction is with the operating system when it returns.
    fn flush(&mut self) {}

    fn sync(&mut self) -> bool {
        if !self.is_full {
            self.connection
                .query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(()))
                .expect("the disk takes it");
        }
        true
    }
}
