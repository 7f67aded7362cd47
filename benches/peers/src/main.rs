//! What does an event cost its caller, and what becomes of it, with milepost and with what else one could take?
//!
//! Every peer gets the same events: six short properties, 163 bytes in bincode. Every trial is a process of its own
//! with a directory of its own beside this program. What a peer is and how it is set up stands in `peer.rs` and is
//! printed below the table.
//!
//! - A call: one event every 20 us, and bursts of 1,024 back to back with a flush in between (not timed). Each call
//!   is timed by itself and nothing is subtracted; the row `nothing` says what the clock costs. It contains what the
//!   peer needs the caller for: its own copy of the event, or its encoding, or its transaction.
//! - Events a second: one thread as fast as the peer takes them, until a million or the time is over, ended by a
//!   flush to the operating system; and the same with the peer's own way to make them durable, every 100 ms and at
//!   the end.
//! - Bytes an event: what the directory takes of the disk after the first of these, closed.
//! - kill -9: the process is killed while it enqueues every 20 us; the directory is opened again and counted. The
//!   worst of five.
//! - A second process: enqueues 100 events while the first one has the directory open, which has enqueued 100 and
//!   enqueues 100 more afterwards; then they are counted.
//!
//! Not measured: several callers, reading and deleting, a power cut, memory, a disk that is slow.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml` takes some four minutes, prints the table as
//! Markdown and writes `benches/peers/peers.svg`. With `-- --quick` it takes one and writes no picture; names behind
//! it choose peers.

mod child;
mod event;
mod peer;
mod peers;
mod plot;
#[path = "../../herd/svg.rs"]
mod svg;
mod table;
mod trial;

use std::env;
use std::path::Path;
use std::time::Duration;

use peer::{KINDS, Kind, Result};

const CHILD: &str = "--child";

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &*arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        [CHILD, action, name, directory, millis] => {
            let kind = KINDS.iter().find(|kind| kind.name == *name).ok_or("no such peer")?;
            child::run(action, kind, Path::new(directory), millis.parse()?)
        }
        chosen => compare(chosen),
    }
}

fn compare(chosen: &[&str]) -> Result<()> {
    let is_quick = chosen.contains(&"--quick");
    let (time, kills) = if is_quick { (Duration::from_millis(400), 1) } else { (Duration::from_secs(2), 5) };
    let chosen: Vec<_> = chosen.iter().filter(|name| **name != "--quick").collect();
    let is_chosen =
        |kind: &&Kind| chosen.is_empty() || chosen.iter().any(|name| kind.name.starts_with(**name));

    table::print_machine()?;
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for kind in KINDS.iter().filter(is_chosen) {
        eprintln!("{}", kind.name);
        match trial::run(kind, time, kills) {
            Ok(row) => rows.push(row),
            Err(error) => failures.push(format!("{}: {error}", kind.name)),
        }
    }
    table::print(&rows);
    if !is_quick && chosen.is_empty() {
        plot::draw(&rows)?;
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("; ").into()),
    }
}
