//! What a peer is, and which there are.

use std::error::Error;
use std::path::Path;

use crate::peers::*;

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Something that takes events from one thread. Dropped, it closes as its makers say it should be closed.
pub trait Peer {
    /// What is timed: one event is handed over. False where the peer refused it or would have dropped it.
    fn enqueue(&mut self, number: u64) -> bool;

    /// Waits until the operating system, or an exporter, has all that was handed over.
    fn flush(&mut self);

    /// Waits until all that was handed over is durable. False where the peer has no such thing.
    fn sync(&mut self) -> bool {
        false
    }
}

pub struct Kind {
    pub name: &'static str,
    /// How it is set up, and what it does and does not do with an event.
    pub does: &'static str,
    pub open: fn(&Path) -> Result<Box<dyn Peer>>,
    /// How many events are in a directory that nobody has open; nothing where there is never one.
    pub count: Option<fn(&Path) -> Result<u64>>,
}

pub const NOTHING: &str = "nothing";

/// In the order of the table.
pub const KINDS: [Kind; 18] = [
    Kind {
        name: NOTHING,
        does: "a call that does nothing: the clock's own cost",
        open: channel::nothing,
        count: None,
    },
    Kind {
        name: "channel, polled",
        does: "`try_send` of what milepost is given (boxed, since it is over 110 bytes) to a bounded crossbeam channel, whose consumer looks \
               every 2 ms and throws it away",
        open: channel::polled,
        count: None,
    },
    Kind {
        name: "channel, parked",
        does: "the same, with a consumer that waits in `recv`",
        open: channel::parked,
        count: None,
    },
    Kind {
        name: "milepost",
        does: "mode `local`, i.e. offline; blocks with LZ4 and CRC, written by a thread; durable by `sync`",
        open: milepost::open,
        count: Some(milepost::count),
    },
    Kind {
        name: "file with CRC",
        does: "length, CRC-32 and bincode into a `BufWriter` of 64 KiB; durable by `fdatasync`. No lock, no reader, no \
               deletion",
        open: file::open,
        count: Some(file::count),
    },
    Kind {
        name: "sled",
        does: "a key an event, default settings: flushed by a thread every 500 ms. Its `flush` is not durable \
               (`sync_file_range`)",
        open: sled::open,
        count: Some(sled::count),
    },
    Kind {
        name: "SQLite, NORMAL",
        does: "an `INSERT` an event, a transaction each; WAL, `synchronous = NORMAL`; durable by a checkpoint",
        open: sqlite::normal,
        count: Some(sqlite::count),
    },
    Kind {
        name: "SQLite, FULL",
        does: "the same with `synchronous = FULL`: each event is durable",
        open: sqlite::full,
        count: Some(sqlite::count),
    },
    Kind {
        name: "redb",
        does: "a transaction an event, default settings: each is durable",
        open: redb::immediate,
        count: Some(redb::count),
    },
    Kind {
        name: "redb, None",
        does: "the same with `Durability::None`: nothing is on disk before the next durable commit, which is the flush",
        open: redb::none,
        count: Some(redb::count),
    },
    Kind {
        name: "fjall",
        does: "a key an event, default settings: the journal is written at once; durable by `persist(SyncData)`",
        open: fjall::open,
        count: Some(fjall::count),
    },
    Kind {
        name: "yaque",
        does: "`try_send`, default settings: a write an event, nothing is ever synced",
        open: yaque::open,
        count: Some(yaque::count),
    },
    Kind {
        name: "queue-file",
        does: "`add`, default settings: each event is durable",
        open: queue_file::synced,
        count: Some(queue_file::count),
    },
    Kind {
        name: "queue-file, no sync",
        does: "the same with `set_sync_writes(false)`; durable by `sync_all`",
        open: queue_file::unsynced,
        count: Some(queue_file::count),
    },
    Kind {
        name: "tracing-appender",
        does: "`tracing::info!` as JSON, formatted by the caller, written by a thread; nothing is ever synced; more \
               than 128,000 lines in its channel are dropped",
        open: tracing::open,
        count: Some(tracing::count),
    },
    Kind {
        name: "OpenTelemetry SDK",
        does: "`BatchLogProcessor`, default settings, to an exporter that throws away what it gets; more than 2,048 \
               in its channel are dropped",
        open: otel::open,
        count: None,
    },
    Kind {
        name: "sentry",
        does: "`capture_event` with tags, default settings without integrations, to a transport thread that writes \
               envelopes to nowhere; more than 30 in its channel are dropped",
        open: sentry::open,
        count: None,
    },
    Kind {
        name: "glean",
        does: "`EventMetric::record`, default settings, with an uploader that fails: a line of JSON an event, and a \
               ping every 500; written by a thread, never synced; what it has not written yet is in memory, without a \
               limit",
        open: glean::open,
        count: Some(glean::count),
    },
];
