//! What it costs that one of two destinations is down for long: what it is owed fills the store up to the quota.

use super::*;
use crate::installation::fs;
use crate::limits::{BATCH_BLOCK_BYTES_MAX, BATCH_EVENTS_MAX, OWED_BYTES, STORE_REWRITE_WAITING_TIMES};

/// An event as a host would report it: LZ4 finds little in it that it knows.
fn event(number: u32) -> Event {
    let random = clock::random();
    let event = Event::new("job_finished").with("number", number).with("rows", (random % 100_000) as i64);
    event
        .with("seconds", (random % 1_000_000) as f64 / 1_000.0)
        .with("ok", random.is_multiple_of(7))
        .with("region", "eu")
}

impl World {
    /// A writer leaves a journal of 4 MiB.
    fn append_full(&mut self) -> u64 {
        let origin = Origin::sample();
        let mut journal = Journal::create(&self.installation().journals(), &origin).unwrap();
        while journal.len < 4 << 20 {
            let (mut builder, mut out, first) = (BlockBuilder::new(), Vec::new(), journal.next);
            (first..first + 128).for_each(|number| builder.push(clock::wall_micros(), event(number).bytes()));
            let blocks = builder.seal(journal.id(), first, Class::Bulk, origin.id(), &mut out);
            journal.append(&out, blocks, 128).unwrap();
        }
        self.intake.look_again();
        journal.next.into()
    }

    /// What a worker does while the first destination takes everything and the second nothing.
    fn work_until_drained(&mut self, keeper: &mut Keeper) {
        loop {
            let mut intake = std::mem::take(&mut self.intake);
            intake.look_again();
            let wanted = self.spool().owed(0).1 < OWED_BYTES;
            let busy = intake.step(self.spool(), !wanted).unwrap();
            while self.spool().keep_quota(&mut intake, keeper).unwrap() {}
            self.intake = intake;
            let leases = self.spool().lease(0, BATCH_EVENTS_MAX, BATCH_BLOCK_BYTES_MAX);
            self.spool().settle(&leases, &Outcome::Delivered { rejected: 0 }).unwrap();
            self.spool().tidy(false).unwrap();
            if !busy && leases.is_empty() {
                return;
            }
        }
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1_024
}

#[test]
#[ignore = "it fills the quota: some minutes"]
fn slow_what_a_destination_that_is_down_is_owed_fills_the_store_up_to_the_quota() {
    let mut world = World::with(vec![0, SECOND]);
    let (mut keeper, mut appended) = (Keeper::new(Quota::default()), 0);
    for round in 1..=40 {
        appended += world.append_full();
        world.work_until_drained(&mut keeper);
        let (owed, blocks) = world.spool().owed(SECOND);
        let (disk, store) = (fs::disk_bytes(world.directory.path()), world.spool().store.bytes());
        let resident = resident_bytes();
        println!(
            "{:>3} MiB written, {appended} events: {owed} owed in {blocks} bytes of blocks, {} MiB on disk, of which the \
             store {}, {} MiB resident",
            round * 4,
            disk >> 20,
            store >> 20,
            resident >> 20
        );
    }
    let store = world.spool().store.bytes();
    let most = STORE_REWRITE_WAITING_TIMES * world.spool().owed(SECOND).1;
    assert!(store < most + (4 << 20), "what has gone through is given back: {store} bytes, at most {most}");
    let books = world.spool().books().clone();
    assert_eq!(books.accounts[DEFAULT].delivered, appended, "the other has everything");
    let second = &books.accounts["second"];
    assert_eq!(second.accepted, appended);
    assert_eq!(second.waiting() + second.dropped[&DropReason::Quota], appended);
    world.check();
}
