//! milepost: an offline-first event queue with a disk spool.
//!
//! A program embeds a [`Client`] and enqueues [`Event`]s. They are written to an append-only journal at
//! once, wait on disk as long as there is no way to deliver them, and go to a receiver when there is one:
//! any that takes OTLP/HTTP logs, or one of the other [`Format`]s. Nothing here may slow, block or break the
//! program; no event is lost unseen or counted twice; nothing is collected that the person did not agree to.
//!
//! # Usage
//!
//! ```
//! # fn main() -> milepost::Result<()> {
//! # let home = tempfile::tempdir().unwrap();
//! use std::time::Duration;
//! use milepost::{Client, Event, Product};
//!
//! let product = Product::new("acme-worker", "1.4.0").opt_out_env("ACME_TELEMETRY");
//! let client = Client::builder(product).home(home.path()).build()?;
//!
//! client.enqueue(Event::new("job_finished").with("rows", 10).with("ok", true).with("region", "eu"));
//!
//! client.shutdown(Duration::from_secs(2))?; // Writes and syncs; the network is not waited for.
//! # Ok(())
//! # }
//! ```
//!
//! # The way of an event
//!
//! 1. [`Client::enqueue`], on the caller's thread: a flag, a clock, a `try_send`. No lock, no system call.
//! 2. The thread `milepost-writer` packs events into blocks and appends them to this process's journal,
//!    every 10 to 100 ms. A kill loses at most that.
//! 3. The thread `milepost-sync` makes them durable every second, and for whoever waits in [`Client::sync`].
//! 4. One process of all that share the directory holds the spool: its thread `milepost-store` takes
//!    journals in as far as they are needed soon.
//! 5. Its threads `milepost-courier-NAME`, two a destination, prepare one request while another is in flight, and
//!    report; what was acked is booked and removed.
//!
//! # Consent
//!
//! `DO_NOT_TRACK`, the variables of CI hosts, the product's own variable and settings files are asked before a
//! directory is made or a thread is started. A client that is refused costs one load an event.
//!
//! What a person sets while processes run, by the product's own command, `milepost config set` or
//! [`Client::refuse`], is known to each of them within 5 s: they stop, what was collected is deleted, and the
//! device id with it. Granted again, collecting goes on under a new id.
//!
//! # Privacy
//!
//! A [`Product`] that declares its events takes no others, and no keys but theirs. On the writer's thread, before
//! anything is written, a guard looks through every string: a property whose value is a path, an address, a token or
//! the like is left out, and the event stays. [`Admin::privacy`] lists the rules and counts.
//!
//! # Features
//!
//! - `tls` (default): HTTPS, by rustls, and whoever Mozilla trusts.
//! - `platform-verifier`: `tls`, and instead whoever the system trusts.
//! - `cli` (default): the program `milepost` and all that only it needs. A program that embeds the library
//!   turns it off.
//!
//! # Logs
//!
//! By the `log` facade: errors where events are refused or a store was set aside, warnings where somebody
//! has to mend a setting and where a property was left out (its key, once, never its value), and at `trace`, under the target `milepost::step`, each step of intake and delivery.
//!
//! # Minimum supported Rust version
//!
//! 1.89, which is where the standard library learned to lock files. It is raised with a minor version only.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod admission;
mod block;
mod bundle;
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
mod process;
mod product;
#[cfg(all(test, target_os = "linux"))]
mod soak;
mod spool;
mod sum;

pub use admission::Refusal;
pub use block::DropReason;
pub use bundle::{Bundle, PublicKey, SecretKey};
pub use client::{Client, ClientBuilder, EnqueueError, Heartbeat, Stats};
pub use delivery::{Batch, BatchEvent, CheckStep, Checked, Deliver, Delivery, EventOrigin, Format};
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, Limit, Value};
pub use journal::SyncEvery;
pub use owner::{
    Admin, Changed, Checkup, DeadEvent, DeclaredEvent, Delivered, DestinationReport, DestinationStatus,
    Exported, Finding, FlushReport, Forgotten, GuardRule, Imported, LineFormat, OwnerStatus, PeekedEvent,
    Privacy, Receipted, Remedy, Salvage, Selection, SentEvent, Setting, Status, Verdict, Waiting,
};
pub use product::{Destination, Exit, Mode, Network, Product, ServerInfo};
