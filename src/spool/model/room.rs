//! What goes where there is too much.

use super::*;
use crate::limits::STORE_REWRITE_WAITING_BYTES;
use crate::spool::keys;

#[test]
fn where_the_quota_is_used_up_the_oldest_events_go_first_and_milestones_stay() {
    let mut world = World::new();
    let milestone = {
        let origin = Origin::sample();
        let directory = world.installation().journals();
        let mut journal = Journal::create_for_milestones(&directory, &origin).unwrap();
        let mut builder = BlockBuilder::new();
        builder.push(1, Event::new("first_job").bytes());
        let mut out = Vec::new();
        let blocks = builder.seal(journal.id(), 0, Class::Milestone, origin.id(), &mut out);
        journal.append(&out, blocks, 1).unwrap();
        journal.end().unwrap();
        journal.id()
    };
    for _ in 0..20 {
        world.append(20_000, 128);
        // Names are told apart by their milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let mut intake = Intake::default();
    // Some are taken in: these are the oldest.
    for _ in 0..4 {
        intake.step(world.spool(), false).unwrap();
    }
    let journals = names(world.installation().journals());
    let all = size(&world.installation().journals()) + size(&world.installation().taken());
    let bytes = fs::disk_bytes(world.directory.path()) - all / 2;
    world.keep_quota(&mut intake, Quota { bytes, ..Quota::default() });
    let kept = fs::disk_bytes(world.directory.path());
    assert!(kept <= bytes && kept > bytes - all / 6, "{kept} of {bytes}");
    let mut newest = names(world.installation().journals());
    newest.sort_unstable();
    assert!(journals.iter().filter(|name| **name >= newest[0]).count() == newest.len(), "the oldest went");
    let account = world.spool().books().total();
    let dropped = account.dropped[&DropReason::Quota];
    assert!((190_000..=240_000).contains(&dropped), "{dropped}");
    assert_eq!(account.dropped.len(), 1);
    world.check();

    let mut leases = world.spool().lease(0, 1, u64::MAX);
    assert_eq!(world.addresses(&leases)[0].journal, milestone, "the milestone is still first");
    assert!(names(world.installation().taken()).iter().any(|name| name.ends_with("now")));
    leases.clear();

    let aged = Quota { age: std::time::Duration::ZERO, ..Quota::default() };
    world.keep_quota(&mut intake, aged);
    let account = world.spool().books().total();
    assert_eq!(account.dropped[&DropReason::Age] + dropped, account.accepted - account.waiting());
    assert_eq!(account.waiting(), 1, "all but the milestone: {account:?}");
    assert_eq!(names(world.installation().journals()), [""; 0]);
}

fn size(directory: &Path) -> u64 {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn of_the_dead_letters_the_newest_are_kept_and_they_are_no_reason_to_write_the_store_again() {
    let mut world = World::new();
    let events = crate::limits::DEAD_LETTERS_MAX as u32 + 10;
    world.append(events, 1);
    let mut intake = Intake::default();
    while intake.step(world.spool(), false).unwrap() {}
    for _ in 0..events {
        world.lease(1, Fate::Dead);
    }
    world.spool().tidy(true).unwrap();
    let account = world.spool().books().total();
    assert_eq!(
        (account.dead, account.dropped[&DropReason::Quota]),
        (crate::limits::DEAD_LETTERS_MAX as u64, 10)
    );
    world.check();
    let number = world.spool().number;
    for _ in 0..5 {
        world.spool().tidy(true).unwrap();
    }
    assert!(world.spool().number <= number + 1);
}

/// One destination is down, and what others were sent of the same store has filled its log.
#[test]
fn a_store_that_is_mostly_garbage_is_written_anew_while_something_waits() {
    let mut world = World::new();
    world.append(1_000, 100);
    let mut intake = Intake::default();
    while intake.step(world.spool(), false).unwrap() {}
    let spool = world.spool();
    let (number, owed) = (spool.number, spool.owed(0));
    // In the place of blocks that are delivered a moment later. They are let go together, since sled fills what was
    // freed before the log grows.
    let (mut passing, noise) = (Vec::new(), vec![7; crate::limits::BLOCK_BODY_BYTES_MAX]);
    while spool.store.bytes() <= STORE_REWRITE_WAITING_BYTES {
        spool.tidy(false).unwrap();
        assert_eq!(spool.number, number, "{} bytes are not worth it", spool.store.bytes());
        let keys: Vec<_> = (0..256).map(|more| keys::block(u64::MAX - passing.len() as u64 - more)).collect();
        spool.store.apply(keys.iter().map(|key| (key.clone(), Some(noise.clone()))).collect()).unwrap();
        passing.extend(keys);
    }
    spool.store.apply(passing.into_iter().map(|key| (key, None)).collect()).unwrap();
    spool.tidy(true).unwrap();
    assert_eq!(spool.number, number, "whoever waits for the store does not wait for that");
    spool.tidy(false).unwrap();
    assert_eq!((spool.number, spool.owed(0)), (number + 1, owed));
    assert!(spool.store.bytes() < STORE_REWRITE_WAITING_BYTES / 4, "{}", spool.store.bytes());
    world.apply(&Operation::Reopen);
    assert_eq!(world.spool().owed(0), owed);
    world.check();
}
