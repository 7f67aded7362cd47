//! A disk with a cache, as a power cut finds it.
//!
//! What was synced is sure. Of the rest of a file's writes nothing may be there, or everything, or any part, to
//! the single page: a disk's cache writes back in any order. Of directories there are two readings:
//!
//! - **journalled**, as ext4 does it: changes of names reach the disk in their order, whatever directory they are
//!   of. A sync of a directory takes with it everything up to the last change of that directory; one of a file
//!   everything up to the file's making or renaming, and everything there is where the file grew, since its new
//!   size is a change like any other.
//! - **each for itself**, which is all that POSIX promises: only the sync of a directory makes its names sure, those
//!   of different directories come in any order, and a rename from one to another may leave both names.

use std::collections::BTreeMap;

use crate::common::dice::Dice;
use crate::recording::{Operation, Recording};
use crate::tree::{Node, Tree};

/// The number of a file or directory.
pub(crate) type Inode = usize;

/// The home directory.
pub(crate) const ROOT: Inode = 0;

const PAGE_BYTES: u64 = 4096;

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) directory: Inode,
    pub(crate) name: String,
}

/// Which name means what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(BTreeMap<Name, Inode>);

impl Names {
    pub(crate) fn get(&self, name: &Name) -> Option<Inode> {
        self.0.get(name).copied()
    }

    pub(crate) fn add(&mut self, name: Name, inode: Inode) {
        self.0.insert(name, inode);
    }

    pub(crate) fn remove(&mut self, name: &Name) -> Option<Inode> {
        self.0.remove(name)
    }

    fn in_directory(&self, directory: Inode) -> impl Iterator<Item = (&str, Inode)> {
        let first = Name { directory, name: String::new() };
        let after = Name { directory: directory + 1, name: String::new() };
        self.0.range(first..after).map(|(name, inode)| (name.name.as_str(), *inode))
    }
}

/// How sure the names in directories are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    Journalled,
    EachForItself,
}

/// What a power cut leaves of the writes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Nothing,
    Everything,
    SomeWrites,
    SomePages,
}

/// A change of names that is not durable yet.
#[derive(Debug, Clone)]
struct Change {
    operation: usize,
    /// The directory whose changes keep their order with this one.
    lane: Inode,
    /// The file, and the directories.
    touched: Vec<Inode>,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Add(Name, Inode),
    Remove(Name),
    Move(Name, Name),
}

/// What is durable of a file, and the writes that are not.
#[derive(Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<usize>,
}

pub(crate) struct Disk<'a> {
    recording: &'a Recording,
    order: Order,
    /// `None` where it is a directory.
    files: BTreeMap<Inode, File>,
    /// As the processes see them.
    seen: Names,
    durable: Names,
    pending: Vec<Change>,
}

impl<'a> Disk<'a> {
    pub(crate) fn new(recording: &'a Recording, order: Order) -> Self {
        let (mut files, mut durable) = (BTreeMap::new(), Names::default());
        for (name, inode, bytes) in &recording.start {
            durable.add(name.clone(), *inode);
            files.insert(*inode, File { durable: bytes.clone(), pending: Vec::new() });
        }
        Self { recording, order, files, seen: durable.clone(), durable, pending: Vec::new() }
    }

    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// Lets the operation of this number happen.
    pub(crate) fn apply(&mut self, number: usize) {
        match &self.recording.operations[number] {
            Operation::Make { name, inode, is_directory } => {
                if !is_directory {
                    self.files.insert(*inode, File::default());
                }
                self.add(number, name, *inode);
            }
            Operation::Link { name, inode } => self.add(number, name, *inode),
            Operation::Rename { from, to } => self.rename(number, from, to),
            Operation::Remove { name } => {
                let inode = self.seen.remove(name).expect("it is known");
                self.change(number, name.directory, vec![inode, name.directory], What::Remove(name.clone()));
            }
            Operation::Write { inode, .. } | Operation::SetLen { inode, .. } => {
                self.files.get_mut(inode).expect("it is a file").pending.push(number);
            }
            Operation::Sync { inode, data_only, began } => self.sync(*inode, *data_only, *began),
            Operation::Promise(_) | Operation::Answer(_) => {}
        }
    }

    fn add(&mut self, number: usize, name: &Name, inode: Inode) {
        self.seen.add(name.clone(), inode);
        self.change(number, name.directory, vec![inode, name.directory], What::Add(name.clone(), inode));
    }

    fn rename(&mut self, number: usize, from: &Name, to: &Name) {
        let inode = self.seen.remove(from).expect("it is known");
        self.seen.add(to.clone(), inode);
        let touched = vec![inode, from.directory, to.directory];
        if self.order == Order::Journalled || from.directory == to.directory {
            self.change(number, to.directory, touched, What::Move(from.clone(), to.clone()));
        } else {
            self.change(number, to.directory, touched.clone(), What::Add(to.clone(), inode));
            self.change(number, from.directory, touched, What::Remove(from.clone()));
        }
    }

    fn change(&mut self, operation: usize, directory: Inode, touched: Vec<Inode>, what: What) {
        let lane = if self.order == Order::Journalled { ROOT } else { directory };
        self.pending.push(Change { operation, lane, touched, what });
    }

    fn sync(&mut self, inode: Inode, data_only: bool, began: usize) {
        let mut grew = false;
        let is_file = self.files.contains_key(&inode);
        if let Some(file) = self.files.get_mut(&inode) {
            let covered = file.pending.partition_point(|number| *number < began);
            for number in file.pending.drain(..covered).collect::<Vec<_>>() {
                let len = file.durable.len();
                write(&self.recording.operations[number], &mut file.durable, |_| true);
                grew |= len != file.durable.len() || !data_only;
            }
        }
        let is_sure = |change: &Change| {
            let reached = match self.order {
                // What is only renamed has no new data.
                Order::Journalled if is_file && data_only => {
                    grew || matches!(&change.what, What::Add(_, made) if *made == inode)
                }
                Order::Journalled => grew || change.touched.contains(&inode),
                Order::EachForItself => change.lane == inode,
            };
            change.operation < began && reached
        };
        let chosen = self.pending.iter().map(is_sure).collect();
        let (sure, pending) = self.split(chosen);
        sure.iter().for_each(|change| perform(&change.what, &mut self.durable));
        self.pending = pending;
    }

    /// The changes that were chosen, with all that have to be durable before them; and the others.
    fn split(&self, mut chosen: Vec<bool>) -> (Vec<Change>, Vec<Change>) {
        let mut lanes = std::collections::BTreeSet::new();
        for at in (0..chosen.len()).rev() {
            let change = &self.pending[at];
            chosen[at] |= lanes.contains(&change.lane);
            if chosen[at] {
                lanes.insert(change.lane);
                // The halves of a rename: the new name first.
                if at > 0 && self.pending[at - 1].operation == change.operation {
                    chosen[at - 1] = true;
                }
            }
        }
        let (mut sure, mut rest) = (Vec::new(), Vec::new());
        for (change, chosen) in self.pending.iter().zip(chosen) {
            if chosen { sure.push(change.clone()) } else { rest.push(change.clone()) }
        }
        (sure, rest)
    }

    /// Bytes that were written and not synced.
    pub(crate) fn unsynced(&self) -> u64 {
        let pending = self.files.values().flat_map(|file| &file.pending);
        pending
            .map(|number| match &self.recording.operations[*number] {
                Operation::Write { bytes, .. } => bytes.len() as u64,
                _ => 0,
            })
            .sum()
    }

    /// What a power cut leaves now.
    pub(crate) fn cut(&self, fate: Fate, dice: &mut Dice) -> Tree {
        let names = self.names_after(fate, dice);
        let mut tree = Tree::new();
        let mut files: BTreeMap<Inode, String> = BTreeMap::new();
        self.walk(&names, ROOT, "", &mut |inode, path| {
            let node = match (self.files.get(&inode), files.get(&inode)) {
                (None, _) => Node::Directory,
                (Some(_), Some(first)) => Node::Link(first.clone()),
                (Some(file), None) => {
                    files.insert(inode, path.to_owned());
                    Node::File(self.content(file, fate, dice))
                }
            };
            tree.insert(path.to_owned(), node);
        });
        tree
    }

    fn names_after(&self, fate: Fate, dice: &mut Dice) -> Names {
        // Each lane comes to its own point.
        let mut chosen: Vec<bool> = vec![false; self.pending.len()];
        let mut lanes: BTreeMap<Inode, Vec<usize>> = BTreeMap::new();
        for (at, change) in self.pending.iter().enumerate() {
            lanes.entry(change.lane).or_default().push(at);
        }
        for changes in lanes.values() {
            let upto = match (fate, dice.roll(4)) {
                (Fate::Nothing, _) | (Fate::SomeWrites | Fate::SomePages, 0) => 0,
                (Fate::Everything, _) | (Fate::SomeWrites | Fate::SomePages, 1) => changes.len(),
                _ => dice.roll(changes.len() as u64 + 1) as usize,
            };
            changes[..upto].last().into_iter().for_each(|at| chosen[*at] = true);
        }
        let mut names = self.durable.clone();
        self.split(chosen).0.iter().for_each(|change| perform(&change.what, &mut names));
        names
    }

    fn content(&self, file: &File, fate: Fate, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = file.durable.clone();
        // Of one file little may be there, and of another all.
        let percent = [0, 10, 50, 90, 100][dice.roll(5) as usize];
        for number in &file.pending {
            let operation = &self.recording.operations[*number];
            let mut survives = || dice.roll(100) < percent;
            match fate {
                Fate::Nothing => {}
                Fate::Everything => write(operation, &mut bytes, |_| true),
                Fate::SomeWrites if survives() => write(operation, &mut bytes, |_| true),
                Fate::SomeWrites => {}
                Fate::SomePages => write(operation, &mut bytes, |_| survives()),
            }
        }
        bytes
    }

    fn walk(&self, names: &Names, directory: Inode, path: &str, visit: &mut impl FnMut(Inode, &str)) {
        for (name, inode) in names.in_directory(directory) {
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            visit(inode, &path);
            if !self.files.contains_key(&inode) {
                self.walk(names, inode, &path, visit);
            }
        }
    }
}

/// Does an operation to a file's bytes, but for the pages that do not survive.
fn write(operation: &Operation, file: &mut Vec<u8>, mut survives: impl FnMut(u64) -> bool) {
    match operation {
        Operation::Write { at, bytes, .. } => {
            let mut from = *at;
            let end = at + bytes.len() as u64;
            while from < end {
                let upto = end.min((from / PAGE_BYTES + 1) * PAGE_BYTES);
                if survives(from / PAGE_BYTES) {
                    file.resize(file.len().max(upto as usize), 0);
                    let part = &bytes[(from - at) as usize..(upto - at) as usize];
                    file[from as usize..upto as usize].copy_from_slice(part);
                }
                from = upto;
            }
        }
        Operation::SetLen { len, .. } if survives(0) => file.resize(*len as usize, 0),
        _ => {}
    }
}

fn perform(what: &What, names: &mut Names) {
    match what {
        What::Add(name, inode) => names.add(name.clone(), *inode),
        What::Remove(name) => drop(names.remove(name)),
        What::Move(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.add(to.clone(), inode);
            }
        }
    }
}

/// What a cut leaves of made-up operations when it takes everything that is not sure.
fn sure(operations: impl Fn() -> Vec<Operation>) -> [Vec<(String, Node)>; 2] {
    [Order::Journalled, Order::EachForItself].map(|order| {
        let recording = Recording::made_up(operations());
        let mut disk = Disk::new(&recording, order);
        (0..recording.operations.len()).for_each(|at| disk.apply(at));
        disk.cut(Fate::Nothing, &mut Dice::new(1)).into_iter().collect()
    })
}

fn make(directory: Inode, name: &str, inode: Inode, is_directory: bool) -> Operation {
    Operation::Make { name: Name { directory, name: name.into() }, inode, is_directory }
}

#[test]
fn what_had_ended_before_a_sync_began_is_sure() {
    let write = |at, byte| Operation::Write { inode: 1, at, bytes: vec![byte; 5_000] };
    let sync = |inode, began| Operation::Sync { inode, data_only: true, began };
    let one_write = Node::File(vec![1; 5_000]);
    let [journalled, each] =
        sure(|| vec![make(ROOT, "a", 1, false), write(0, 1), write(5_000, 2), sync(1, 2)]);
    assert!(journalled == [("a".into(), one_write)]);
    assert!(each.is_empty());
    let [_, each] = sure(|| vec![make(ROOT, "a", 1, false), make(ROOT, "b", 2, false), sync(ROOT, 1)]);
    assert!(each == [("a".into(), Node::File(Vec::new()))]);
}

#[test]
fn a_rename_to_another_directory_is_one_change_or_two() {
    let name = |directory| Name { directory, name: "f".into() };
    let rename_and_sync = |inode| {
        let sync = |inode, began| Operation::Sync { inode, data_only: false, began };
        sure(|| {
            let made = [make(ROOT, "a", 1, true), make(ROOT, "b", 2, true), make(1, "f", 3, false)];
            let renamed = [Operation::Rename { from: name(1), to: name(2) }, sync(inode, 6)];
            made.into_iter().chain([sync(ROOT, 3), sync(1, 4)]).chain(renamed).collect()
        })
    };
    let paths = |found: &[(String, Node)]| found.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    let [journalled, each] = rename_and_sync(2);
    assert_eq!(paths(&journalled), ["a", "b", "b/f"]);
    assert_eq!(paths(&each), ["a", "a/f", "b", "b/f"]);
    assert!(each[3].1 == Node::Link("a/f".into()));
    // The old name is not gone before the new one is there.
    let [journalled, each] = rename_and_sync(1);
    assert_eq!(paths(&journalled), ["a", "b", "b/f"]);
    assert_eq!(paths(&each), ["a", "b", "b/f"]);
}
