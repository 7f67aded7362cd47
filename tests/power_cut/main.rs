//! The promise: the power may fail at any moment. Nothing whose `sync` had returned is missing, nothing panics,
//! nothing gets two ids, and the books balance.
//!
//! A worker and commands of the program are recorded with their system calls (`strace`, `recording`). At many
//! points of the recording the state is built that a power cut may leave (`disk`, `cuts`), and a worker goes on
//! there (`check`). That losses would be found is shown by leaving syncs out of the recording (`lies`).

#[path = "../common/mod.rs"]
mod common;

mod check;
mod cuts;
mod disk;
mod lies;
mod recording;
mod scenario;
mod strace;
mod tree;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use check::Story;
use common::dice::Dice;
use common::{Home, in_a_clean_process};
use cuts::{Tally, choose, choose_honestly, perform};
use disk::{Disk, Fate, Order};
use lies::Lie;
use milepost::Product;
use recording::Recording;
use scenario::Scenario;
use tree::is_same;

/// Recordings of which one has to be clear.
const RECORDINGS_MAX: u32 = 5;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// A recording, and what is known of it.
struct Case {
    scenario: Scenario,
    recording: Recording,
    story: Story,
    product: Product,
    dice: Dice,
}

impl Case {
    /// Records a scenario, anew where nobody can tell what happened: a process was killed within a call that changes
    /// files. `None` where there is no strace.
    fn record(scenario: Scenario) -> Option<Self> {
        let mut cases = (0..RECORDINGS_MAX).map(|_| Self::record_once(scenario));
        let case = cases.find(|case| case.as_ref().is_none_or(|case| !case.recording.is_unclear));
        case.unwrap_or_else(|| panic!("{scenario:?}: no recording shows what stands on the disk"))
    }

    fn record_once(scenario: Scenario) -> Option<Self> {
        // Small disks are no reason to refuse anything here.
        let home = Home::with("free_disk_min = 0\n");
        let (receiver, answers) = scenario::receiver(&home);
        let mut recording = Recording::of(&home, &scenario.driver(&home, &receiver.url()))?;
        let mut dice = Dice::new(1);
        let on_disk = tree::read(home.path());
        let shows_the_disk = [Order::Journalled, Order::EachForItself].into_iter().all(|order| {
            let mut disk = Disk::new(&recording, order);
            (0..recording.operations.len()).for_each(|at| disk.apply(at));
            is_same(&disk.cut(Fate::Everything, &mut dice), &on_disk)
        });
        recording.is_unclear |= !shows_the_disk;
        let story = Story::new(&recording, &answers.lock().unwrap());
        let product = Product::from_file(home.product_file()).unwrap();
        Some(Self { scenario, recording, story, product, dice })
    }

    fn cut(&mut self, cuts: usize) -> Tally {
        let may_lose_the_store = self.scenario.may_lose_the_store();
        let cuts = choose_honestly(&self.recording, cuts, may_lose_the_store, &mut self.dice);
        self.perform("", &BTreeSet::new(), &cuts, usize::MAX)
    }

    fn cut_with(&mut self, lie: Lie, cuts: usize) -> Tally {
        let cuts = choose(&[&lie.moments(&self.recording)], cuts, false, &mut self.dice);
        self.perform(&format!(", {lie:?}"), &lie.left_out(&self.recording), &cuts, 3)
    }

    fn perform(
        &mut self,
        what: &str,
        left_out: &BTreeSet<usize>,
        cuts: &[cuts::Cut],
        losses: usize,
    ) -> Tally {
        let Self { scenario, recording, story, product, dice } = self;
        let tally = perform(recording, story, product, left_out, cuts, losses, dice);
        println!("power cuts, {scenario:?}{what}: {tally}");
        tally
    }
}

/// Records scenarios, and loses nothing at so many cuts of each.
fn lose_nothing(name: &str, scenarios: &[(Scenario, usize)]) {
    in_a_clean_process(name, || {
        count_panics();
        for (scenario, cuts) in scenarios {
            let Some(mut case) = Case::record(*scenario) else { return };
            let tally = case.cut(*cuts);
            assert!(tally.losses.is_empty(), "{scenario:?}: {:#?}", tally.losses);
            assert_eq!(PANICS.load(Ordering::SeqCst), 0, "{scenario:?}: something panicked");
            if !scenario.may_lose_the_store() {
                assert_eq!(tally.refilled, 0, "{scenario:?}: sled lost what was persisted");
            }
        }
    });
}

/// A thread of ours that panics ends no test by itself.
fn count_panics() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        eprintln!("{panic}");
    }));
}

#[test]
fn a_power_cut_loses_nothing_that_was_synced() {
    let scenarios = [(Scenario::Life { fillings: 4 }, 250), (Scenario::Refill, 80), (Scenario::Deaths, 60)];
    lose_nothing("a_power_cut_loses_nothing_that_was_synced", &scenarios);
}

#[test]
fn a_power_cut_loses_nothing_that_is_on_a_bundle() {
    lose_nothing("a_power_cut_loses_nothing_that_is_on_a_bundle", &[(Scenario::Gap, 120)]);
}

#[test]
#[ignore = "slow"]
fn slow_a_power_cut_loses_nothing_that_was_synced() {
    let life = Scenario::Life { fillings: 12 };
    let scenarios = [
        (life, 2_000),
        (Scenario::Refill, 1_000),
        (Scenario::Deaths, 1_000),
        (Scenario::Rewrite, 500),
        (Scenario::Gap, 1_000),
    ];
    lose_nothing("slow_a_power_cut_loses_nothing_that_was_synced", &scenarios);
}

/// The test of the test.
#[test]
fn a_power_cut_shows_each_sync_that_is_left_out() {
    in_a_clean_process("a_power_cut_shows_each_sync_that_is_left_out", || {
        // What sled meets then makes it panic.
        count_panics();
        let Some(mut case) = Case::record(Scenario::Life { fillings: 4 }) else { return };
        for lie in Lie::OF_A_LIFE {
            let tally = case.cut_with(lie, 400);
            assert!(!tally.losses.is_empty(), "{lie:?}: no cut shows it");
        }
    });
}

#[test]
fn a_power_cut_shows_each_sync_of_a_bundle_that_is_left_out() {
    in_a_clean_process("a_power_cut_shows_each_sync_of_a_bundle_that_is_left_out", || {
        let Some(mut case) = Case::record(Scenario::Gap) else { return };
        for lie in Lie::OF_A_GAP {
            let tally = case.cut_with(lie, 400);
            assert!(!tally.losses.is_empty(), "{lie:?}: no cut shows it");
        }
    });
}
