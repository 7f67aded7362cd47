//! milepost: an offline-first event queue with a disk spool.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod admission;
mod block;
mod client;
mod clock;
mod consent;
mod delivery;
mod error;
mod event;
mod installation;
mod journal;
mod limits;
mod owner;
mod product;
mod spool;

pub use admission::Refusal;
pub use block::Mode;
pub use client::{Client, ClientBuilder, EnqueueError, Stats};
pub use delivery::Format;
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, Limit, Value};
pub use journal::SyncEvery;
pub use owner::{
    Admin, DeadEvent, DestinationStatus, FlushReport, OwnerStatus, PeekedEvent, Status, Waiting,
};
pub use product::Product;
pub use spool::DropReason;
