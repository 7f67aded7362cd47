//! Who may hold the store, and what the holder does with it.
//!
//! One process at a time has the lock of `owner.lock`: a worker that happened to get it, or a command that
//! asked for it. In comes a free lock, out goes everything that waits, as far as there is an address for it.
//! A crash frees the lock with the process; whoever gets it next opens the spool and goes on.

mod admin;
mod census;
mod checkup;
mod config;
mod destination;
mod engine;
mod erase;
mod errand;
mod examine;
mod export;
mod flush;
mod forget;
mod headers;
mod import;
mod inspect;
mod lock;
mod peek;
mod permit;
mod privacy;
mod receipt;
mod settings;
mod status;
mod thread;

pub use admin::{Admin, DeadEvent};
pub use checkup::{Checkup, Finding, Remedy, Salvage, Verdict};
pub(crate) use config::refuse;
pub use config::{Changed, Setting};
pub(crate) use errand::Errand;
pub use export::{Exported, LineFormat, Selection};
pub use flush::FlushReport;
pub use forget::Forgotten;
pub use import::{Delivered, Imported};
pub use peek::PeekedEvent;
pub use privacy::{DeclaredEvent, GuardRule, Privacy};
pub use receipt::Receipted;
pub(crate) use settings::{Choices, Settings};
pub use status::{DestinationStatus, OwnerStatus, Status, Waiting};
pub(crate) use thread::{StoreThread, erase_in_background};
