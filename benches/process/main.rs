//! What does milepost cost the process that it lives in, beside the calls?
//!
//! Parts, each of which can be asked for by name (`cargo bench --bench process -- memory`):
//!
//! - `short`: a process that enqueues one event, beside one that does nothing.
//! - `start`: from the begin of `main` to the first `enqueue` that returned.
//! - `shutdown`: with 10,000 events in the channel and no network; with a request in flight to a black hole.
//! - `quiet`: what an idle process and one with a trickle use: time, bytes, syncs.
//! - `memory`: with a million events waiting, beside a process without milepost.
//! - `written`: bytes that are written an event.
//! - `build`: crates and time without the default features. Only when asked for, since it builds them all.
//!
//! The bench runs itself as children, each measured by itself.
//!
//! Not measured: a directory that does not exist yet, a disk that is slow, a product file that has to be read.

#[path = "../common/mod.rs"]
mod common;

mod build;
mod memory;
mod quiet;
mod short;
mod shutdown;
mod start;
mod written;

use common::goals::Goals;
use common::{child, is_asked_for, part};

fn main() {
    if let Some((does, home)) = child::task() {
        let tasks =
            [short::TASKS, start::TASKS, shutdown::TASKS, quiet::TASKS, memory::TASKS, written::TASKS];
        let mut tasks = tasks.into_iter().flatten();
        let (_, task) =
            tasks.find(|(name, _)| *name == does).unwrap_or_else(|| panic!("no child does {does:?}"));
        return task(&home);
    }
    let mut goals = Goals::default();
    part("short", || short::run(&mut goals));
    part("start", || start::run(&mut goals));
    part("shutdown", || shutdown::run(&mut goals));
    part("quiet", || quiet::run(&mut goals));
    part("memory", || memory::run(&mut goals));
    part("written", || written::run(&mut goals));
    // Whoever asks for nothing in particular does not want to wait for it.
    if is_asked_for("build") {
        part("build", || build::run(&mut goals));
    }
    goals.print();
}
