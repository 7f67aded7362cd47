//! What does an event cost behind `enqueue`: on disk, on its way through the spool, and to whoever opens it?
//!
//! Parts, each of which can be asked for by name (`cargo bench --bench spool -- sync drain`):
//!
//! - `append`: one producer as fast as the writer takes it, beside a buffered file with a CRC an event.
//! - `sync`: by one thread and by 16, beside an append and fdatasync.
//! - `intake`: from journals into the store.
//! - `drain`: intake, delivery and acks, to code that takes all, and to receivers on loopback that discard, at once or
//!   5 ms later.
//! - `sustained`: from `enqueue` to a receiver's format, for a minute.
//! - `open`: with a million events waiting and 300 journals; with a million in the store.
//! - `owners`: how soon a command has the store of a living process, and another process that of a dead one.
//! - `room`: what a million events take on the disk, beside LZ4's own size of the same blocks.
//! - `cycles`: twenty times 200,000 events in and out.
//! - `growth`: with 1,000 to 10 million events waiting.
//!
//! Everything goes through the public interface, a `Client` or an `Admin` on a directory of its own; what happens
//! inside is told apart by the steps that milepost logs. Seeds are fixed.
//!
//! Not measured: slow disks, networks, and several processes that write at once.

#[path = "../common/mod.rs"]
mod common;

mod append;
mod cycles;
mod drain;
mod growth;
mod intake;
mod open;
mod owners;
mod room;
mod steps;
mod sustained;
mod sync;

use common::goals::Goals;
use common::part;

fn main() {
    if let Some((does, home)) = common::child::task() {
        return if does == owners::CHILD { owners::hold(&home) } else { growth::wait(&does, &home) };
    }
    steps::listen();
    let mut goals = Goals::default();
    part("append", || append::run(&mut goals));
    part("sync", || sync::run(&mut goals));
    part("intake", || intake::run(&mut goals));
    part("drain", || drain::run(&mut goals));
    part("sustained", || sustained::run(&mut goals));
    part("open", || open::run(&mut goals));
    part("owners", || owners::run(&mut goals));
    part("room", || room::run(&mut goals));
    part("cycles", || cycles::run(&mut goals));
    part("growth", || growth::run(&mut goals));
    goals.print();
}
