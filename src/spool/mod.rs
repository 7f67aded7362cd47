//! The spool: what is on its way, and every decision. One thread touches it.
//!
//! In come free journals, as far as they are needed soon; out go leases of what a destination is owed, and
//! back comes what became of them. A block stays until nobody is owed any of it, its journal until all its
//! blocks are gone: a store that is lost is filled again from `taken/`, so what `sync` promised never depends
//! on sled. A crash repeats at most the deliveries that were not yet persisted, with the same ids.
//!
//! The order of what is made durable, decided in [`intake`] and [`core`]; `tests/power_cut` shows what is lost
//! without each:
//!
//! 1. a journal's bytes and its place in `taken/`, before the first transaction that speaks of it;
//! 2. the store's log, before the ledger that names its generation;
//! 3. the ledger, before any file goes;
//! 4. the unlink of a journal, before its record goes.

mod books;
mod core;
mod enter;
mod intake;
mod keys;
mod ledger;
mod open;
mod queue;
mod quota;
mod settle;
mod step;
mod store;

#[cfg(test)]
mod model;

use crate::product::Mode;

pub use books::DropReason;
pub(crate) use books::{Account, Books};
pub(crate) use core::{DeadLetter, Spool, SpoolError};
pub(crate) use intake::Intake;
pub(crate) use ledger::{LastWord, Ledger, Owner};
pub(crate) use queue::Lease;
pub(crate) use settle::Outcome;
pub(crate) use step::{Step, reached};

/// The destination of events that are delivered over the network.
pub(crate) const DEFAULT: &str = "default";

/// The destination of events that stay on this host.
pub(crate) const LOCAL: &str = "local";

/// The destination of the events of a mode.
fn destination_of(mode: Mode) -> &'static str {
    if mode == Mode::Local { LOCAL } else { DEFAULT }
}
