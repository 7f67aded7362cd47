//! milepost: an offline-first event queue with a disk spool.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![allow(dead_code, unused_imports)]

mod block;
mod clock;
mod delivery;
mod error;
mod event;
mod limits;

pub use block::Mode;
pub use delivery::Format;
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, Limit, Value};
