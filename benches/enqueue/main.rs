//! What does one `enqueue` cost the thread that calls it, and what would the bare channel cost?
//!
//! Parts, each of which can be asked for by name (`cargo bench --bench enqueue -- paces`):
//!
//! - `paces`: six properties, back to back and every 1 us, 20 us and 1 ms, prebuilt and built in the call, by one
//!   thread and by four; beside `try_send` of the same event into a bare crossbeam channel of the same capacity, to a
//!   consumer that polls it every 2 ms and to one that is parked in `recv`.
//! - `shapes`: none, three and six properties, static and owned strings.
//! - `refusals`: by a client that refuses, for a milestone that was reached before, into a full channel.
//! - `first`: the first call of a process.
//! - `bursts`: which share of a burst is refused, after a second of silence.
//! - `stalled`: a disk on which every write and sync takes half a second (by `strace`).
//!
//! Each call is timed by itself and nothing is subtracted, so every figure contains one reading of the clock;
//! the line `nothing` says what that is. Waiting for the next call is not timed. Back to back means bursts of
//! 4,096 calls, with the channel empty at the start of each: below half-full, as in a host that is not
//! overloaded. The table has all calls, the warm-up's too.
//!
//! Not measured: the cost on the writer's side (`spool`), other allocators. Nothing is random, so there is no seed.

#[path = "../common/mod.rs"]
mod common;

mod bursts;
mod first;
mod paces;
mod refusals;
mod shapes;
mod stalled;
mod timed;

use std::time::Duration;

use common::goals::Goals;
use common::part;
use criterion::Criterion;
use timed::Table;

fn main() {
    if let Some((does, home)) = common::child::task() {
        match does.as_str() {
            first::CHILD => first::call(&home),
            stalled::CHILD => stalled::enqueue(&home),
            other => panic!("no child does {other:?}"),
        }
        return;
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(1_300))
        .sample_size(10)
        .nresamples(2_000)
        .without_plots();
    let (mut table, mut goals) = (Table::default(), Goals::default());
    part("paces", || paces::run(&mut criterion, &mut table, &mut goals));
    part("shapes", || shapes::run(&mut criterion, &mut table));
    part("refusals", || refusals::run(&mut criterion, &mut table, &mut goals));
    part("first", || first::run(&mut goals));
    part("bursts", || bursts::run(&mut goals));
    part("stalled", || stalled::run(&mut goals));
    criterion.final_summary();
    table.print();
    goals.print();
}
