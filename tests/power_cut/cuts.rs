//! Where the power fails, and what all cuts came to.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};

use milepost::Product;

use crate::check::{Story, Verdict};
use crate::common::dice::Dice;
use crate::disk::{Disk, Fate, Order};
use crate::recording::{Operation, Recording};
use crate::tree::{Node, Tree, build};

/// Cuts that are looked at together: most of the time each of them waits, for a tick or a disk.
const AT_ONCE: usize = 8;

/// The power fails before an operation, and may take the store with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cut {
    at: usize,
    order: Order,
    fate: Fate,
    store_is_lost: bool,
}

/// What all cuts came to.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) cuts: usize,
    /// Each with its story.
    pub(crate) losses: Vec<String>,
    /// Cuts after which the store was not right.
    pub(crate) refilled: usize,
    repeats: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cuts, losses, refilled, repeats } = self;
        let losses = losses.len();
        write!(f, "{cuts} cuts, {losses} losses, {refilled} stores filled again, {repeats} events repeated")
    }
}

impl Tally {
    fn add(&mut self, recording: &Recording, cut: Cut, verdict: &Verdict) {
        self.cuts += 1;
        self.refilled += usize::from(verdict.refilled);
        self.repeats += verdict.repeats;
        if verdict.is_loss() {
            self.losses.push(format!("{cut:?}, before {}: {verdict:?}", recording.describe(cut.at)));
        }
    }
}

/// Chooses cuts before these operations, in order. In half of them the store is lost, where it may be.
pub(crate) fn choose(
    moments: &[&[usize]],
    cuts: usize,
    may_lose_the_store: bool,
    dice: &mut Dice,
) -> Vec<Cut> {
    let moments: Vec<_> = moments.iter().filter(|moments| !moments.is_empty()).collect();
    let mut chosen: Vec<Cut> = (0..cuts)
        .map(|number| {
            let moments = moments[number % moments.len()];
            Cut {
                at: moments[dice.roll(moments.len() as u64) as usize],
                order: [Order::Journalled, Order::EachForItself][dice.roll(2) as usize],
                fate: match dice.roll(8) {
                    0 => Fate::Nothing,
                    1 => Fate::Everything,
                    2..=4 => Fate::SomeWrites,
                    _ => Fate::SomePages,
                },
                store_is_lost: may_lose_the_store && dice.roll(2) == 0,
            }
        })
        .collect();
    chosen.sort_unstable();
    chosen
}

/// Cuts where the most is unsynced, before any sync, just after names changed or something was promised, and
/// anywhere: of each a quarter.
pub(crate) fn choose_honestly(
    recording: &Recording,
    cuts: usize,
    may_lose_the_store: bool,
    dice: &mut Dice,
) -> Vec<Cut> {
    let mut disk = Disk::new(recording, Order::Journalled);
    let (mut syncs, mut changes) = (Vec::new(), Vec::new());
    for (at, operation) in recording.operations.iter().enumerate() {
        match operation {
            Operation::Sync { .. } => syncs.push((disk.unsynced(), at)),
            Operation::Rename { .. } | Operation::Remove { .. } | Operation::Promise(_) => {
                changes.push(at + 1)
            }
            _ => {}
        }
        disk.apply(at);
    }
    syncs.sort_unstable();
    let syncs: Vec<usize> = syncs.into_iter().map(|(_, at)| at).collect();
    let anywhere: Vec<usize> = (0..=recording.operations.len()).collect();
    choose(&[&syncs[syncs.len() * 3 / 4..], &syncs, &changes, &anywhere], cuts, may_lose_the_store, dice)
}

/// Lets the power fail at each of the cuts, without the operations that are left out, and goes on in what is left.
/// Ends early after so many losses.
pub(crate) fn perform(
    recording: &Recording,
    story: &Story,
    product: &Product,
    left_out: &BTreeSet<usize>,
    cuts: &[Cut],
    losses_enough: usize,
    dice: &mut Dice,
) -> Tally {
    let tally = Mutex::new(Tally::default());
    let (sender, receiver) = sync_channel::<(Cut, Tree)>(1);
    let receiver = Mutex::new(receiver);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((cut, tree)) = next(&receiver) {
                    let home = tempfile::tempdir().unwrap();
                    build(&tree, home.path());
                    drop(tree);
                    let verdict = story.go_on(cut.at, home.path(), product);
                    tally.lock().unwrap().add(recording, cut, &verdict);
                }
            });
        }
        let mut disks = [Order::Journalled, Order::EachForItself].map(|order| Disk::new(recording, order));
        let mut happened = 0;
        for cut in cuts {
            for at in (happened..cut.at).filter(|at| !left_out.contains(at)) {
                disks.iter_mut().for_each(|disk| disk.apply(at));
            }
            happened = cut.at;
            if tally.lock().unwrap().losses.len() >= losses_enough {
                break;
            }
            let disk = disks.iter().find(|disk| disk.order() == cut.order).expect("there is one of each");
            let mut tree = disk.cut(cut.fate, dice);
            if cut.store_is_lost {
                lose_store(&mut tree);
            }
            sender.send((*cut, tree)).unwrap();
        }
        drop(sender);
    });
    tally.into_inner().unwrap()
}

/// What damage to sled's file comes to: a store that went back, or none.
fn lose_store(tree: &mut Tree) {
    for (path, node) in tree {
        if let (true, Node::File(bytes)) = (path.ends_with("/db"), node) {
            bytes.truncate(bytes.len() / 2);
        }
    }
}

fn next(receiver: &Mutex<Receiver<(Cut, Tree)>>) -> Option<(Cut, Tree)> {
    receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}
