//! milepost: an offline-first event queue with a disk spool.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![allow(dead_code, unused_imports)]

mod admission;
mod block;
mod clock;
mod consent;
mod delivery;
mod error;
mod event;
mod installation;
mod journal;
mod limits;
mod product;
mod spool;

pub use admission::Refusal;
pub use block::Mode;
pub use delivery::Format;
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, Limit, Value};
pub use journal::SyncEvery;
pub use product::Product;
pub use spool::DropReason;
