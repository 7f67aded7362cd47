//! Who may hold the store, and what the holder does with it.
//!
//! One process at a time has the lock of `owner.lock`: a worker that happened to get it, or a command that
//! asked for it. In comes a free lock, out goes everything that waits, as far as there is an address for it.
//! A crash frees the lock with the process; whoever gets it next opens the spool and goes on.

mod admin;
mod census;
mod check;
mod checkup;
mod choices;
mod config;
mod dead;
mod destination;
mod dispatch;
mod engine;
mod erase;
mod errand;
mod examine;
mod export;
mod flush;
mod forget;
mod headers;
mod history;
mod import;
mod inspect;
mod lines;
mod lock;
mod network;
mod noted;
mod otel;
mod peek;
mod permit;
mod privacy;
mod receipt;
mod route;
mod settings;
mod signing;
mod size;
mod status;
mod thread;
mod upkeep;

pub use admin::Admin;
pub use checkup::{Checkup, Finding, Remedy, Salvage, Verdict};
pub(crate) use choices::Choices;
pub(crate) use config::refuse;
pub use config::{Changed, Setting};
pub use dead::DeadEvent;
pub(crate) use errand::Errand;
pub use export::{Exported, Selection};
pub use flush::{DestinationReport, FlushReport};
pub use forget::Forgotten;
pub use history::SentEvent;
pub use import::{Delivered, Imported};
pub use lines::LineFormat;
pub use peek::PeekedEvent;
pub use privacy::{DeclaredEvent, GuardRule, Privacy};
pub use receipt::Receipted;
pub(crate) use settings::Settings;
pub use status::{DestinationStatus, OwnerStatus, Status, Waiting};
pub(crate) use thread::{StoreThread, erase_in_background};
