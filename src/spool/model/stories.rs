//! What happened once, and what is worth a story of its own.

use super::*;

#[test]
fn a_store_that_is_lost_is_filled_again_from_the_journals_taken_in() {
    let mut world = World::new();
    world.append(300, 30);
    world.apply(&Operation::TakeIn { steps: 2 });
    world.lease(100, Fate::Delivered);
    world.apply(&Operation::Tidy { at_once: true });
    world.apply(&Operation::LoseStore);
    world.drain();
    assert_eq!(world.spool().books().total().delivered, 300);
}

#[test]
fn what_a_set_aside_store_owed_comes_back_whatever_happens_to_it_next() {
    let mut world = World::new();
    world.append(1_000, 30);
    world.apply(&Operation::TakeIn { steps: 20 });
    world.lease(100, Fate::Delivered);
    world.apply(&Operation::LoseTaken);
    for operation in [
        Operation::Kill,
        Operation::TakeIn { steps: 1 },
        Operation::LoseStore,
        Operation::Salvage,
        Operation::TakeIn { steps: 1 },
        Operation::SetAside,
        Operation::LoseLedger,
        Operation::Salvage,
    ] {
        world.apply(&operation);
    }
    world.drain();
    assert_eq!(world.spool().books().total().delivered, 1_000);
}

/// A dead letter that came back took the booking of an event beside it, which was then accepted a second time.
#[test]
fn a_dead_letter_that_comes_back_is_counted_for_itself() {
    let mut world = World::new();
    world.append(2, 1);
    world.apply(&Operation::TakeIn { steps: 1 });
    world.lease(1, Fate::Dead);
    world.apply(&Operation::LoseTaken);
    world.drain();
    let account = world.spool().books().total();
    assert_eq!((account.accepted, account.delivered, account.dead), (2, 1, 1));
}

/// Events that had come back and were entered anew took the bookings of others that stay lost.
#[test]
fn what_came_back_and_is_entered_anew_is_counted_for_itself() {
    let mut world = World::new();
    world.append(200, 18);
    world.apply(&Operation::TakeIn { steps: 20 });
    world.lease(54, Fate::Delivered);
    world.apply(&Operation::Tidy { at_once: true });
    world.apply(&Operation::SetAside);
    // The newer store owes all of it again; the older one knows better.
    world.apply(&Operation::TakeIn { steps: 20 });
    world.apply(&Operation::LoseTaken);
    world.apply(&Operation::TakeIn { steps: 20 });
    world.apply(&Operation::LoseStore);
    world.drain();
    let account = world.spool().books().total();
    assert_eq!((account.accepted, account.dropped[&DropReason::Damaged]), (200, 54));
}

#[test]
fn a_drained_store_gives_its_space_back() {
    let mut world = World::new();
    let noise: String = {
        // Text that LZ4 cannot shrink: 900 bytes an event, 4 to a block.
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'!' + (state >> 33) as u8 % 90)
        };
        (0..900).map(|_| next()).collect()
    };
    let origin = Origin::sample();
    for _ in 0..2 {
        let mut journal = Journal::create(&world.installation().journals(), &origin).unwrap();
        let mut builder = BlockBuilder::new();
        while journal.len < 4 << 20 {
            let first = journal.next;
            for index in first..first + 4 {
                builder.push(
                    0,
                    Event::new("e").with("index", index).with("noise", &noise[index as usize % 90..]).bytes(),
                );
                world.appended.insert(Address { journal: journal.id(), index });
            }
            let mut out = Vec::new();
            let blocks = builder.seal(journal.id(), first, Class::Bulk, origin.id(), &mut out);
            journal.append(&out, blocks, 4).unwrap();
        }
    }
    let mut intake = Intake::default();
    while intake.step(world.spool(), false).unwrap() {}
    let (number, bytes) = (world.spool().number, world.spool().store.bytes());
    assert!(bytes > 8 << 20, "{bytes}");
    while world.spool().owed(0).0 > 0 {
        world.lease(1_000, Fate::Delivered);
    }
    // Where there is no place for another one, the old one goes on.
    let in_the_way = world.installation().store(number + 1).join("x");
    std::fs::create_dir_all(&in_the_way).unwrap();
    world.spool().tidy(true).unwrap();
    assert_eq!(world.spool().number, number);
    world.append(10, 1);
    world.apply(&Operation::TakeIn { steps: 2 });
    std::fs::remove_dir_all(in_the_way.parent().unwrap()).unwrap();
    world.drain();
    assert_eq!(world.spool().number, number + 1);
    assert!(world.spool().store.bytes() < 4 << 20);
    assert_eq!(names(world.installation().spool()), [(number + 1).to_string()]);
}

#[test]
fn a_store_that_nobody_comes_to_an_end_of_opening_is_set_aside_unopened() {
    let mut world = World::new();
    world.append(100, 10);
    world.apply(&Operation::TakeIn { steps: 1 });
    world.apply(&Operation::Reopen);
    for (openings, aside) in [(1, false), (OPENINGS_MAX - 1, false), (OPENINGS_MAX, true)] {
        world.spool.take().unwrap().close().unwrap();
        let path = world.installation().ledger();
        let mut ledger = Ledger::read(&path).unwrap().unwrap();
        ledger.state = ledger::State::Opening(openings);
        ledger.write(&path).unwrap();
        world.open();
        let kept = names(world.installation().spool()).iter().any(|name| name.starts_with("aside-"));
        assert_eq!(kept, aside, "after {openings}");
    }
    world.losses = 1;
    world.drain();
}

#[test]
fn a_damaged_ledger_is_set_aside_and_counted_and_the_store_goes_on() {
    let mut world = World::new();
    world.append(100, 10);
    world.apply(&Operation::TakeIn { steps: 1 });
    world.spool.take().unwrap().close().unwrap();
    std::fs::write(world.installation().ledger(), "{}\n").unwrap();
    world.open();
    world.losses = 1;
    world.drain();
    assert!(names(world.installation().directory()).iter().any(|name| name.starts_with("ledger.aside-")));
}

#[test]
fn what_was_collected_before_somebody_said_no_is_dropped_for_consent() {
    for ledger_is_lost in [false, true] {
        let mut world = World::new();
        world.append(100, 10);
        world.spool.take().unwrap().close().unwrap();
        let installation = world.installation();
        std::fs::create_dir(installation.spool().join("aside-1-1")).unwrap();
        if ledger_is_lost {
            std::fs::remove_file(installation.ledger()).unwrap();
        }
        let owner = Owner { pid: 1, version: "0".into(), delivers: true };
        let mut spool = Spool::open(&installation, Epoch::of("another device"), owner).unwrap();
        let mut intake = Intake::default();
        while intake.step(&mut spool, false).unwrap() {}
        let account = spool.books().total();
        assert_eq!(account.dropped, [(DropReason::Consent, 100)].into());
        assert_eq!((account.accepted, account.waiting(), spool.books().damaged), (100, 0, 0));
        assert_eq!(names(installation.journals()), [""; 0]);
        assert_eq!(names(installation.spool()), ["2"]);
    }
}

/// Each refusal counted as an opening that never ended, and after enough of them the store was set aside.
#[test]
fn a_store_of_a_newer_version_is_left_to_it_however_often_it_is_refused() {
    let mut world = World::new();
    world.append(100, 10);
    world.apply(&Operation::TakeIn { steps: 1 });
    world.spool.take().unwrap().close().unwrap();
    let (installation, ledger) = (world.installation(), world.installation().ledger());
    let of_version = |version: u32| {
        let mut store = store::Store::open(&installation.store(1), 0, |_, _| Ok(())).unwrap();
        let meta: core::Meta = decode_grown(&store.get(keys::META).unwrap().unwrap()).unwrap();
        let changed = core::Meta { version, ..meta };
        store.apply([(keys::META.to_vec(), Some(encode(&changed)))].into()).unwrap();
        store.close().unwrap();
    };
    of_version(core::META_VERSION + 1);
    let before = Ledger::read(&ledger).unwrap();
    for _ in 0..3 {
        let owner = Owner { pid: 1, version: "0".into(), delivers: true };
        let refused = Spool::open(&installation, Origin::sample().epoch(), owner);
        assert!(matches!(refused.err(), Some(SpoolError::Newer(_))));
        assert_eq!(Ledger::read(&ledger).unwrap(), before);
    }
    assert_eq!(names(installation.spool()), ["1"]);
    of_version(core::META_VERSION);
    world.open();
    world.drain();
}

/// A writer that was slow to make the first device id found an owner that took all it wrote for another's.
#[test]
fn a_spool_that_was_opened_before_the_installation_had_its_id_drops_nothing() {
    let mut world = World::new();
    let owner = || Owner { pid: 1, version: "0".into(), delivers: true };
    world.spool.take().unwrap().close().unwrap();
    let mut early = Spool::open(&world.installation(), Epoch::of(""), owner()).unwrap();
    let id = world.installation().device_id_or_new().unwrap();
    let origin = Origin { device_id: id.clone(), ..Origin::sample() };
    world.append_of(&origin, 100, 10);
    let refused = Intake::default().step(&mut early, false);
    assert!(matches!(refused, Err(SpoolError::Epoch(_))), "{refused:?}");
    drop(early);
    let mut spool = Spool::open(&world.installation(), Epoch::of(&id), owner()).unwrap();
    let mut intake = Intake::default();
    while intake.step(&mut spool, false).unwrap() {}
    let account = spool.books().total();
    assert_eq!((account.accepted, account.waiting()), (100, 100));
}

#[test]
fn events_that_stay_on_this_host_cost_the_store_nothing_and_can_be_purged() {
    let mut world = World::new();
    world.append_of(&Origin { mode: Mode::Local, ..Origin::sample() }, 100, 10);
    world.append(50, 10);
    let mut intake = Intake::default();
    while intake.step(world.spool(), false).unwrap() {}
    assert_eq!(world.spool().queue.blocks(), 5);
    assert_eq!(names(world.installation().journals()).len(), 1);
    assert_eq!(intake.discard_all(world.spool(), DropReason::Purged).unwrap(), 100);
    let account = &world.spool().books().accounts[LOCAL];
    assert_eq!((account.accepted, account.waiting()), (100, 0));
    assert_eq!(names(world.installation().journals()), [""; 0]);
}

/// A journal that ends in a milestone and was only begun was taken for the oldest of what may be dropped.
#[test]
fn a_milestone_in_a_journal_that_was_only_begun_outlives_the_quota() {
    let mut world = World::new();
    let origin = Origin::sample();
    let directory = world.installation().journals();
    let mut journal = Journal::create_for_milestones(&directory, &origin).unwrap();
    let mut builder = BlockBuilder::new();
    for index in 0..100 {
        let class = if index == 99 { Class::Milestone } else { Class::Bulk };
        builder.push(1, Event::new("first_job").bytes());
        let mut out = Vec::new();
        let blocks = builder.seal(journal.id(), index, class, origin.id(), &mut out);
        journal.append(&out, blocks, 1).unwrap();
        world.appended.insert(Address { journal: journal.id(), index });
    }
    journal.end().unwrap();
    let milestone = Address { journal: journal.id(), index: 99 };
    drop(journal);
    let mut intake = Intake::default();
    intake.step(world.spool(), false).unwrap();
    let nothing = Quota { bytes: 0, age: std::time::Duration::ZERO, files: 0, ..Quota::default() };
    world.keep_quota(&mut intake, nothing);
    while intake.step(world.spool(), false).unwrap() {}
    let first = world.spool().lease(0, 1, u64::MAX);
    assert_eq!(world.addresses(&first), [milestone]);
    world.check();
}

#[test]
fn a_journal_that_was_cut_within_what_is_entered_of_it_or_is_gone_is_counted_once() {
    for gone in [false, true] {
        let mut world = World::new();
        world.append(2_000, 10);
        world.apply(&Operation::TakeIn { steps: 2 });
        let entered = world.spool().owed(0).0;
        assert!((1..2_000).contains(&entered), "{entered}");
        world.spool.take().unwrap().close().unwrap();
        let taken = world.installation().taken();
        let journal = taken.join(names(&taken).remove(0));
        match gone {
            true => std::fs::remove_file(journal).unwrap(),
            false => std::fs::File::options().write(true).open(journal).unwrap().set_len(1_000).unwrap(),
        }
        world.open();
        for _ in 0..2 {
            world.apply(&Operation::TakeIn { steps: 2 });
            let books = world.spool().books();
            assert_eq!(
                (books.total().accepted, books.total().waiting(), books.damaged),
                (entered, entered, 1)
            );
            world.apply(&Operation::Reopen);
        }
    }
}
