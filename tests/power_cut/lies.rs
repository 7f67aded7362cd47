//! Tests of the test: a recording from which syncs are left out, as if the code did not have them.

use std::collections::BTreeSet;

use crate::disk::{Inode, Name};
use crate::recording::{Operation, Recording};

/// sled's segment, as in `src/limits.rs`.
const SEGMENT_BYTES: usize = 512 * 1024;

/// What is left out, from some point on: what was synced before is there to be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// The syncs of sled's file.
    StoreUnsynced,
    /// The syncs of `journals/`, after something was made there.
    NamesUnsynced,
    /// The syncs of both directories after a journal was moved into `taken/`, before a transaction speaks of it.
    TakenUnsynced,
    /// What comes before a taken journal is unlinked: the sync of sled's file, and the ledger.
    UnlinkedBeforePersist,
    /// Syncs of sled's file, until ten segments were written since the last one, and the ledgers that would speak
    /// of what is not durable.
    TenSegmentsUnsynced,
    /// The sync of a bundle, before it has its name.
    BundleUnsynced,
    /// The syncs of `exports/`, after it was written there what is on a bundle.
    ExportsUnsynced,
}

impl Lie {
    /// Those that a bundle shows.
    pub(crate) const OF_A_GAP: [Self; 2] = [Self::BundleUnsynced, Self::ExportsUnsynced];

    /// Those that everything else shows.
    pub(crate) const OF_A_LIFE: [Self; 5] = [
        Self::StoreUnsynced,
        Self::NamesUnsynced,
        Self::TakenUnsynced,
        Self::UnlinkedBeforePersist,
        Self::TenSegmentsUnsynced,
    ];

    /// The operations that did not happen.
    pub(crate) fn left_out(self, recording: &Recording) -> BTreeSet<usize> {
        let operations = &recording.operations;
        let is_store = |inode: Inode| recording.is_at(inode, "db");
        let is_taken = |name: &Name| recording.is_at(name.directory, "taken");
        let is_ledger =
            |at: &usize| matches!(&operations[*at], Operation::Rename { to, .. } if to.name == "ledger");
        let (mut left_out, mut unsynced, mut last_persist) = (BTreeSet::new(), 0, 0);
        let mut is_taking = false;
        let before = if Self::OF_A_GAP.contains(&self) { 0 } else { operations.len() / 3 };
        for (at, operation) in operations.iter().enumerate().skip(before) {
            let lies = match operation {
                Operation::Write { inode, bytes, .. } if is_store(*inode) => {
                    unsynced += bytes.len();
                    is_taking = false;
                    false
                }
                Operation::Sync { inode, .. } if is_store(*inode) => {
                    last_persist = at;
                    let lies = match self {
                        Self::StoreUnsynced => true,
                        Self::TenSegmentsUnsynced => unsynced < 10 * SEGMENT_BYTES,
                        _ => false,
                    };
                    unsynced = if lies { unsynced } else { 0 };
                    lies
                }
                Operation::Sync { inode, .. } => match self {
                    Self::NamesUnsynced => recording.is_at(*inode, "journals"),
                    Self::BundleUnsynced => recording.is_at(*inode, ".bundle-new"),
                    Self::ExportsUnsynced => recording.is_at(*inode, "exports"),
                    Self::TakenUnsynced => {
                        is_taking && ["journals", "taken"].iter().any(|name| recording.is_at(*inode, name))
                    }
                    _ => false,
                },
                Operation::Remove { name } if self == Self::UnlinkedBeforePersist && is_taken(name) => {
                    left_out.insert(last_persist);
                    left_out.extend((last_persist..at).filter(is_ledger));
                    false
                }
                Operation::Rename { to, .. } => {
                    is_taking |= is_taken(to);
                    self == Self::TenSegmentsUnsynced && is_ledger(&at) && left_out.contains(&last_persist)
                }
                _ => false,
            };
            if lies {
                left_out.insert(at);
            }
        }
        left_out
    }

    /// Before which operations a cut may show it: those between a sync that was left out and the next one of the
    /// same file.
    pub(crate) fn moments(self, recording: &Recording) -> Vec<usize> {
        let left_out = self.left_out(recording);
        let mut unsynced = BTreeSet::new();
        let mut moments = Vec::new();
        for (at, operation) in recording.operations.iter().enumerate() {
            if !unsynced.is_empty() {
                moments.push(at);
            }
            if let Operation::Sync { inode, .. } = operation {
                match left_out.contains(&at) {
                    true => unsynced.insert(*inode),
                    false => unsynced.remove(inode),
                };
            }
        }
        moments
    }
}
