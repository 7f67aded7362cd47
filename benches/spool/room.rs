//! What a million events that nobody takes need on the disk, beside LZ4's own size of the same blocks.

use milepost::{Client, Destination};

use super::common::goals::Goal::{AtMost, Known};
use super::common::goals::Goals;
use super::common::proc::disk_bytes;
use super::common::{Does, LONG, Said, begin, event, fill, high_entropy, low_entropy, roomy, takes_nothing};

const EVENTS: u64 = 1_000_000;

/// A block's limits.
const BLOCK_EVENTS: usize = 128;
const BLOCK_BYTES: usize = 4_096;

pub(crate) fn run(goals: &mut Goals) {
    for (name, say) in [("low", low_entropy as fn(u64) -> Said), ("high", high_entropy)] {
        let home = tempfile::tempdir().expect("a temporary directory");
        let product = roomy().destination(Destination::new("default").by_program());
        let builder = Client::builder(product).home(home.path()).deliver("default", Does(takes_nothing));
        let client = begin(builder);
        let mut number = 0;
        let mut next = || {
            number += 1;
            event(&say(number))
        };
        fill(&client, EVENTS, &mut next);
        // What goes into the spool is there, too.
        client.flush(LONG).expect("a flush");
        let directory = home.path().join("telemetry");
        let du = disk_bytes(&directory).expect("it is there") as f64 / EVENTS as f64;
        let lz4 = lz4_bytes(say) as f64 / EVENTS as f64;
        let name = format!("du an event, {name} entropy, beside LZ4's size of the blocks");
        goals.ratio(name, du, lz4, "bytes", AtMost(1.15));
        client.shutdown(LONG).expect("the disk takes it");
        let du = disk_bytes(&directory).expect("it is there") as f64 / EVENTS as f64;
        goals.ratio("  after the process has ended", du, lz4, "bytes", Known);
    }
}

/// LZ4's size of the same events, each with the time that went by since the one before, in blocks as large as they may
/// be: without headers, sums and addresses.
fn lz4_bytes(say: fn(u64) -> Said) -> u64 {
    let (mut sum, mut raw, mut starts) = (0, Vec::new(), Vec::new());
    let mut number = 1;
    let mut events = BLOCK_EVENTS;
    while number <= EVENTS {
        raw.clear();
        starts.clear();
        for number in number..(number + events as u64).min(EVENTS + 1) {
            starts.push(raw.len());
            let record = (1_i64, say(number));
            bincode::serde::encode_into_std_write(record, &mut raw, bincode::config::standard())
                .expect("a Vec takes every byte");
        }
        let packed = lz4_flex::block::compress(&raw).len();
        if packed > BLOCK_BYTES {
            events = events * BLOCK_BYTES / packed;
            continue;
        }
        sum += packed as u64;
        number += starts.len() as u64;
    }
    sum
}
