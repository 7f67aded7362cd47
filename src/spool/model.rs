//! The spool against a simple model: who is owed what, after any order of operations, kills and losses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::Event;
use crate::block::{Address, BlockBuilder, Class, Epoch, Origin, decode_grown, encode, read_block, single};
use crate::clock;
use crate::installation::{Installation, fs};
use crate::journal::{Cut, Journal, cut, oldest};
use crate::limits::OPENINGS_MAX;
use crate::product::{Mode, Quota};

#[derive(Debug, Clone)]
enum Operation {
    /// A writer leaves a journal with so many events, in blocks of so many.
    Append { events: u32, a_block: u32 },
    /// A server leaves a journal with so many latest-only events.
    Beat { events: u32 },
    /// A writer makes room: the events of the oldest free journal go.
    Cut,
    /// Intake does so many steps.
    TakeIn { steps: u32 },
    /// A batch is leased, and this becomes of it.
    Lease { events: usize, fate: Fate },
    /// What is due is persisted, and journals that are done with are let go.
    Tidy { at_once: bool },
    /// The process ends in order, and another opens the spool.
    Reopen,
    /// The process is killed: what sled had not written is gone.
    Kill,
    /// Somebody removes the store under a killed process.
    LoseStore,
    /// The store is there, the ledger is not.
    LoseLedger,
    /// The store turns out to be wrong under a killed process, and is kept.
    SetAside,
    /// What is set aside is read.
    Salvage,
    /// The store is set aside, and the journals are gone that it could be filled from: what it owed comes back out of
    /// it. Once, since what came back is in no store that is set aside.
    LoseTaken,
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Delivered,
    Rejected,
    Dropped,
    Dead,
    /// No answer came: it is sent again some time.
    Returned,
}

fn operation() -> impl Strategy<Value = Operation> {
    let fate = prop_oneof![
        6 => Just(Fate::Delivered),
        1 => Just(Fate::Rejected),
        1 => Just(Fate::Dropped),
        1 => Just(Fate::Dead),
        2 => Just(Fate::Returned),
    ];
    prop_oneof![
        4 => (1..400u32, 1..60u32).prop_map(|(events, a_block)| Operation::Append { events, a_block }),
        2 => (1..40u32).prop_map(|events| Operation::Beat { events }),
        1 => Just(Operation::Cut),
        6 => (1..5u32).prop_map(|steps| Operation::TakeIn { steps }),
        8 => (1..300usize, fate).prop_map(|(events, fate)| Operation::Lease { events, fate }),
        3 => any::<bool>().prop_map(|at_once| Operation::Tidy { at_once }),
        2 => Just(Operation::Reopen),
        2 => Just(Operation::Kill),
        1 => Just(Operation::LoseStore),
        1 => Just(Operation::LoseLedger),
        1 => Just(Operation::SetAside),
        1 => Just(Operation::Salvage),
        1 => Just(Operation::LoseTaken),
    ]
}

/// The spool under test, and what must be true of it.
struct World {
    directory: TempDir,
    spool: Option<Spool>,
    intake: Intake,
    /// Every event that was ever appended.
    appended: BTreeSet<Address>,
    /// Those of them that a newer one may take the place of.
    beats: BTreeSet<Address>,
    /// Events that met their end, and how often anybody was told of it.
    ended: BTreeMap<Address, u32>,
    /// Whether an end may have been forgotten: a kill forgets what was not yet persisted.
    forgetful: bool,
    /// How many stores were lost: each counts as one damage.
    losses: u64,
    /// Events that writers cut out of free journals.
    cut: u64,
    has_lost_taken: bool,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            directory: tempfile::tempdir().unwrap(),
            spool: None,
            intake: Intake::default(),
            appended: BTreeSet::new(),
            beats: BTreeSet::new(),
            ended: BTreeMap::new(),
            forgetful: false,
            losses: 0,
            cut: 0,
            has_lost_taken: false,
        };
        world.installation().create().unwrap();
        world.open();
        world
    }

    fn installation(&self) -> Installation {
        Installation::new(self.directory.path().into())
    }

    fn open(&mut self) {
        let owner = Owner { pid: 1, version: "0".into(), delivers: true };
        self.spool = Some(Spool::open(&self.installation(), Origin::sample().epoch(), owner).unwrap());
        self.intake = Intake::default();
    }

    fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().unwrap()
    }

    fn append(&mut self, events: u32, a_block: u32) {
        self.append_of(&Origin::sample(), events, a_block);
    }

    fn append_of(&mut self, origin: &Origin, events: u32, a_block: u32) {
        self.append_as(origin, Class::Bulk, events, a_block);
    }

    fn append_as(&mut self, origin: &Origin, class: Class, events: u32, a_block: u32) {
        let mut journal = Journal::create(&self.installation().journals(), origin).unwrap();
        let mut builder = BlockBuilder::new();
        for first in (0..events).step_by(a_block as usize) {
            let count = a_block.min(events - first);
            for index in first..first + count {
                let address = Address { journal: journal.id(), index };
                builder.push(clock::wall_micros(), Event::new("e").with("index", index).bytes());
                self.appended.insert(address);
                if class == Class::Latest {
                    self.beats.insert(address);
                }
            }
            let mut out = Vec::new();
            let blocks = builder.seal(journal.id(), first, class, origin.id(), &mut out);
            journal.append(&out, blocks, count).unwrap();
        }
        self.intake.look_again();
    }

    fn keep_quota(&mut self, intake: &mut Intake, quota: Quota) {
        let mut keeper = Keeper::new(quota);
        while self.spool().keep_quota(intake, &mut keeper).unwrap() {}
    }

    fn addresses(&mut self, leases: &[Lease]) -> Vec<Address> {
        let mut addresses = Vec::new();
        for lease in leases {
            let (block, _) = self.spool().block(lease).unwrap();
            let block = read_block(&block).unwrap();
            let bits = (0..block.count).filter(|bit| lease.events >> bit & 1 == 1);
            addresses.extend(bits.map(|bit| block.address(bit)));
        }
        addresses
    }

    fn lease(&mut self, events: usize, fate: Fate) {
        let mut leases = self.spool().lease(0, events, u64::MAX);
        if matches!(fate, Fate::Dead) {
            // One event alone; the others stay leased until the next opening, as with a courier that hangs.
            let Some(first) = leases.first_mut() else { return };
            first.events = 1 << first.events.trailing_zeros();
            leases.truncate(1);
        }
        let Some(first) = leases.first().copied() else { return };
        let addresses = self.addresses(&leases);
        let outcome = match fate {
            Fate::Returned => return,
            Fate::Delivered => Outcome::Delivered { rejected: 0 },
            Fate::Rejected => Outcome::Delivered { rejected: addresses.len() as u64 / 2 },
            Fate::Dropped => Outcome::Dropped(DropReason::TooOld),
            Fate::Dead => {
                let (block, origin) = self.spool().block(&first).unwrap();
                let (destination, answer) = ("default".into(), String::new());
                let origin = origin.id();
                let block = single(&read_block(&block).unwrap(), first.events.trailing_zeros()).unwrap();
                Outcome::Dead(Box::new(DeadLetter {
                    destination,
                    status: 400,
                    answer,
                    time: 0,
                    block,
                    origin,
                }))
            }
        };
        self.spool().settle(&leases, &outcome).unwrap();
        for address in addresses {
            assert!(self.appended.contains(&address), "an event that nobody appended: {address:?}");
            let times = self.ended.entry(address).or_default();
            *times += 1;
            assert!(*times == 1 || self.forgetful, "{address:?} was owed again after its end");
        }
    }

    /// Goes on in a copy of the directory as a kill leaves it.
    fn kill(&mut self) {
        let copy = tempfile::tempdir().unwrap();
        copy_tree(self.directory.path(), copy.path());
        // The old process's store goes with its directory; its handle is closed where nobody looks.
        drop(self.spool.take());
        self.directory = copy;
        self.forgetful = true;
    }

    fn set_aside(&mut self) {
        let installation = self.installation();
        aside::store(&installation, Ledger::read(&installation.ledger()).unwrap().unwrap().store).unwrap();
        self.losses += 1;
    }

    fn salvage(&mut self) -> Salvaged {
        let mut intake = std::mem::take(&mut self.intake);
        let salvaged = self.spool().salvage(&mut intake).unwrap();
        self.intake = intake;
        salvaged
    }

    fn lose_taken(&mut self) {
        let mut intake = std::mem::take(&mut self.intake);
        intake.enter_begun(self.spool()).unwrap();
        self.spool.take().unwrap().close().unwrap();
        let waiting = Ledger::read(&self.installation().ledger()).unwrap().unwrap().books.total().waiting();
        self.set_aside();
        std::fs::remove_dir_all(self.installation().taken()).unwrap();
        self.open();
        assert_eq!(self.spool().owed(0), (0, 0));
        // What an older one says to have met its end does not come back.
        assert!(self.salvage().events <= waiting);
        assert_eq!(self.salvage().events, 0);
    }

    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Append { events, a_block } => self.append(events, a_block),
            Operation::Beat { events } => self.append_as(&Origin::sample(), Class::Latest, events, 1),
            Operation::Cut => {
                let directory = self.installation().journals();
                for name in oldest(&directory, 1, |_| true).unwrap() {
                    let path = directory.join(name.to_string());
                    let out = cut(&path, Origin::sample().epoch(), Cut::All, DropReason::Quota).unwrap();
                    // One that carries what came back is left alone.
                    let Some(out) = out else { continue };
                    self.appended.retain(|address| address.journal != name.id);
                    self.cut += out.removed;
                }
            }
            Operation::TakeIn { steps } => {
                let mut intake = std::mem::take(&mut self.intake);
                for _ in 0..steps {
                    intake.step(self.spool(), false).unwrap();
                }
                self.intake = intake;
            }
            Operation::Lease { events, fate } => self.lease(events, fate),
            Operation::Tidy { at_once } => self.spool().tidy(at_once).unwrap(),
            Operation::Reopen => {
                self.spool.take().unwrap().close().unwrap();
                self.open();
            }
            Operation::Kill => {
                self.kill();
                self.open();
            }
            Operation::LoseStore => {
                self.kill();
                std::fs::remove_dir_all(self.installation().spool()).unwrap();
                self.losses += 1;
                self.open();
            }
            Operation::LoseLedger => {
                self.kill();
                std::fs::remove_file(self.installation().ledger()).unwrap();
                self.open();
            }
            Operation::SetAside => {
                self.kill();
                self.set_aside();
                self.open();
            }
            Operation::Salvage => drop(self.salvage()),
            Operation::LoseTaken if self.has_lost_taken => {}
            Operation::LoseTaken => {
                self.has_lost_taken = true;
                self.lose_taken();
            }
        }
        self.check();
    }

    /// What is true at any time.
    fn check(&mut self) {
        let spool = self.spool();
        let account = spool.books().total();
        let owed = spool.owed(0).0;
        assert_eq!(account.waiting(), owed, "the books and the queue disagree");
        let ended = account.delivered + account.dead + account.dropped.values().sum::<u64>();
        assert_eq!(account.accepted, ended + owed, "the books do not balance: {account:?}");
    }

    /// Takes in and delivers all that is left: every event has met an end, and none was counted twice.
    fn drain(&mut self) {
        self.spool.take().unwrap().close().unwrap();
        self.open();
        loop {
            let mut intake = std::mem::take(&mut self.intake);
            intake.look_again();
            let busy = intake.step(self.spool(), false).unwrap();
            self.intake = intake;
            self.lease(1_000, Fate::Delivered);
            if !busy && self.spool().owed(0).0 == 0 {
                break;
            }
        }
        self.spool().tidy(true).unwrap();
        let met = |address: &Address| self.ended.contains_key(address) || self.beats.contains(address);
        let lost: Vec<_> = self.appended.iter().filter(|address| !met(address)).collect();
        assert!(lost.is_empty(), "{} of {} events vanished", lost.len(), self.appended.len());
        self.check();
        let account = self.spool().books().total();
        assert_eq!(account.accepted, self.appended.len() as u64 + self.cut, "{account:?}");
        assert_eq!(account.dropped.get(&DropReason::Quota).copied().unwrap_or(0), self.cut);
        let (damaged, losses) = (self.spool().books().damaged, self.losses);
        assert_eq!(damaged, losses, "sound journals were taken for damaged ones");
        let files = |directory| std::fs::read_dir(directory).unwrap().count();
        assert_eq!(files(self.installation().journals()), 0);
        assert_eq!(files(self.installation().taken()), 0);
        let blobs = self.installation().spool().join(self.spool().number.to_string()).join("blobs");
        assert_eq!(files(blobs), 0, "sled made a blob file");
    }
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy_tree(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_lost_and_the_books_balance_whatever_happens(
        operations in prop::collection::vec(operation(), 1..40)
    ) {
        let mut world = World::new();
        for operation in &operations {
            world.apply(operation);
        }
        world.drain();
    }
}

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

fn names(directory: impl AsRef<Path>) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
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
    world.append(events, 100);
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
