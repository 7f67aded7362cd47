//! The spool: what is on its way, and every decision. One thread touches it.
//!
//! In come free journals, as far as they are needed soon; out go leases of what a destination is owed, and
//! back comes what became of them. A block stays until nobody is owed any of it, its journal until all its
//! blocks are gone: a store that is lost is filled again from `taken/`, so what `sync` promised never depends
//! on sled. A crash repeats at most the deliveries that were not yet persisted, with the same ids.
//!
//! What is lost to damage all the same is known by address. It comes back out of what was set aside, by salvage, in
//! journals like any other, and is let in once.
//!
//! The order of what is made durable, decided in [`intake`] and [`core`]; `tests/power_cut` shows what is lost
//! without each:
//!
//! 1. a journal's bytes and its place in `taken/`, before the first transaction that speaks of it;
//! 2. the store's log, before the ledger that names its generation;
//! 3. the ledger, before any file goes;
//! 4. the unlink of a journal, before its record goes.

mod aside;
mod books;
mod carried;
mod core;
mod dead;
mod destinations;
mod enter;
mod exports;
mod forget;
mod found;
mod imports;
mod intake;
mod keys;
mod latest;
mod ledger;
mod losses;
mod lost;
mod milestones;
mod open;
mod panics;
mod queue;
mod quota;
mod record;
mod redirect;
mod salvage;
mod settle;
mod shares;
mod stale;
mod step;
mod store;
mod view;

#[cfg(test)]
mod model;

pub(crate) use crate::product::{DEFAULT, JOURNALS, LOCAL};
pub(crate) use aside::is_store;
pub(crate) use books::{Account, Books, DropReason};
pub(crate) use core::{DeadLetter, Spool, SpoolError};
pub(crate) use exports::{Export, Exports};
pub(crate) use forget::begin_anew;
pub(crate) use imports::{Imports, place_imported};
pub(crate) use intake::Intake;
pub(crate) use ledger::{LastWord, Ledger, LedgerError, Owner, known_device_id};
pub(crate) use losses::{LOSSES, keys as losses_keys};
pub(crate) use lost::Lost;
pub(crate) use queue::Lease;
pub(crate) use quota::Keeper;
pub(crate) use salvage::Salvaged;
pub(crate) use settle::Outcome;
pub(crate) use shares::Shares;
pub(crate) use step::{Step, reached};
pub(crate) use store::{StoreError, is_usable};
pub(crate) use view::{Held, check};
