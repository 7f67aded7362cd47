//! The spool against a simple model: who is owed what, after any order of operations, kills and losses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::Event;
use crate::Product;
use crate::block::{Address, BlockBuilder, Class, Epoch, Origin, decode_grown, encode, read_block, single};
use crate::clock;
use crate::installation::{Installation, fs};
use crate::journal::{Cut, Journal, cut, oldest};
use crate::limits::OPENINGS_MAX;
use crate::product::{Destination, Mode, Quota};

mod crowded;
mod room;
mod stories;

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
    /// A batch is leased for one of the destinations, and this becomes of it.
    Lease { destination: u16, events: usize, fate: Fate },
    /// What is due is persisted, and journals that are done with are let go.
    Tidy { at_once: bool },
    /// The store is written anew, whatever is in it.
    Rewrite,
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
    /// It was prepared and not sent: it is next again.
    Withdrawn,
}

fn operation() -> impl Strategy<Value = Operation> {
    let fate = prop_oneof![
        6 => Just(Fate::Delivered),
        1 => Just(Fate::Rejected),
        1 => Just(Fate::Dropped),
        1 => Just(Fate::Dead),
        2 => Just(Fate::Returned),
        1 => Just(Fate::Withdrawn),
    ];
    prop_oneof![
        4 => (1..400u32, 1..60u32).prop_map(|(events, a_block)| Operation::Append { events, a_block }),
        2 => (1..40u32).prop_map(|events| Operation::Beat { events }),
        1 => Just(Operation::Cut),
        6 => (1..5u32).prop_map(|steps| Operation::TakeIn { steps }),
        8 => (0..2u16, 1..300usize, fate).prop_map(|(second, events, fate)| {
            Operation::Lease { destination: second * SECOND, events, fate }
        }),
        3 => any::<bool>().prop_map(|at_once| Operation::Tidy { at_once }),
        1 => Just(Operation::Rewrite),
        2 => Just(Operation::Reopen),
        2 => Just(Operation::Kill),
        1 => Just(Operation::LoseStore),
        1 => Just(Operation::LoseLedger),
        1 => Just(Operation::SetAside),
        1 => Just(Operation::Salvage),
        1 => Just(Operation::LoseTaken),
    ]
}

/// The number of a second destination: behind those that every store has.
const SECOND: u16 = 2;

/// The spool under test, and what must be true of it.
struct World {
    /// The numbers of all destinations.
    destinations: Vec<u16>,
    directory: TempDir,
    spool: Option<Spool>,
    intake: Intake,
    /// Every event that was ever appended.
    appended: BTreeSet<Address>,
    /// Those of them that a newer one may take the place of.
    beats: BTreeSet<Address>,
    /// Events that met their end at a destination, and how often anybody was told of it.
    ended: BTreeMap<(u16, Address), u32>,
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
        Self::with(vec![0])
    }

    fn with(destinations: Vec<u16>) -> Self {
        let mut world = Self {
            destinations,
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
        let mut spool = Spool::open(&self.installation(), Origin::sample().epoch(), owner).unwrap();
        if self.destinations.len() > 1 {
            let there = |name: &str| Destination::new(name).endpoint("http://127.0.0.1/");
            let product = Product::new("a", "1").destination(there(DEFAULT)).destination(there("second"));
            spool.route_by(product.routing());
            assert_eq!(spool.destination("second"), SECOND);
        }
        self.spool = Some(spool);
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
        self.lease_for(0, events, fate);
    }

    fn lease_for(&mut self, number: u16, events: usize, fate: Fate) {
        let mut leases = self.spool().lease(number, events, u64::MAX);
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
            Fate::Withdrawn => {
                self.spool().release(&leases);
                assert_eq!(self.spool().lease(number, events, u64::MAX), leases);
                return self.spool().release(&leases);
            }
            Fate::Delivered => Outcome::Delivered { rejected: 0 },
            Fate::Rejected => Outcome::Delivered { rejected: addresses.len() as u64 / 2 },
            Fate::Dropped => Outcome::Dropped(DropReason::TooOld),
            Fate::Dead => {
                let (block, origin) = self.spool().block(&first).unwrap();
                let destination = if number == 0 { "default" } else { "second" }.into();
                let answer = String::new();
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
            let times = self.ended.entry((number, address)).or_default();
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
        for number in self.destinations.clone() {
            assert_eq!(self.spool().owed(number), (0, 0));
        }
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
            Operation::Lease { destination, events, fate } if self.destinations.contains(&destination) => {
                self.lease_for(destination, events, fate);
            }
            Operation::Lease { .. } => {}
            Operation::Tidy { at_once } => self.spool().tidy(at_once).unwrap(),
            Operation::Rewrite => {
                let number = self.spool().number;
                self.spool().rewrite().unwrap();
                assert_eq!(self.spool().number, number + 1);
            }
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
        for (number, name) in [(0, DEFAULT), (SECOND, "second")] {
            let spool = self.spool();
            let account = spool.books().accounts.get(name).cloned().unwrap_or_default();
            let owed = spool.owed(number).0;
            assert_eq!(account.waiting(), owed, "the books of {name} and the queue disagree");
            let ended = account.delivered + account.dead + account.dropped.values().sum::<u64>();
            assert_eq!(account.accepted, ended + owed, "the books of {name} do not balance: {account:?}");
        }
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
            let mut owed = 0;
            for number in self.destinations.clone() {
                self.lease_for(number, 1_000, Fate::Delivered);
                owed += self.spool().owed(number).0;
            }
            if !busy && owed == 0 {
                break;
            }
        }
        self.spool().tidy(true).unwrap();
        self.check();
        for number in self.destinations.clone() {
            let met = |address: &Address| {
                self.ended.contains_key(&(number, *address)) || self.beats.contains(address)
            };
            let lost: Vec<_> = self.appended.iter().filter(|address| !met(address)).collect();
            assert!(lost.is_empty(), "{} of {} events vanished", lost.len(), self.appended.len());
            // What was cut out of journals was never anybody's but the default's.
            let (name, cut) = if number == 0 { (DEFAULT, self.cut) } else { ("second", 0) };
            let account = self.spool().books().accounts.get(name).cloned().unwrap_or_default();
            assert_eq!(account.accepted, self.appended.len() as u64 + cut, "{name}: {account:?}");
            assert_eq!(account.dropped.get(&DropReason::Quota).copied().unwrap_or(0), cut);
        }
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

fn names(directory: impl AsRef<Path>) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
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

    /// What comes back out of a store that is set aside goes to everybody again: that alone is left out.
    #[test]
    fn each_of_two_destinations_gets_everything_and_its_books_balance_whatever_happens(
        operations in prop::collection::vec(operation(), 1..40)
    ) {
        let mut world = World::with(vec![0, SECOND]);
        world.has_lost_taken = true;
        for operation in &operations {
            world.apply(operation);
        }
        world.drain();
    }
}
