//! What the store holds of the queue, in memory: who is owed what, and what is leased.
//!
//! The store is a window of what is on its way, so this stays small with it.

use std::collections::{BTreeMap, HashMap};

use super::keys::EntryKey;
use crate::block::{Class, JournalId, OriginId};

/// The entries and the blocks they speak of.
#[derive(Default)]
pub(super) struct Queue {
    entries: BTreeMap<EntryKey, Entry>,
    blocks: HashMap<u64, BlockInfo>,
    /// Bytes of all blocks.
    bytes: u64,
    /// Bytes of blocks and events that each destination is owed, and that a courier may get.
    owed: HashMap<u16, Owed>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    owed: u128,
    leased: bool,
    /// Those of them that are on a bundle: no courier gets them.
    held: u128,
}

impl Entry {
    /// What a courier may get.
    fn free(&self) -> u128 {
        self.owed & !self.held
    }
}

/// What is known of a block without reading it.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockInfo {
    /// The journal in `taken/` that it came from.
    pub(super) journal: JournalId,
    /// Whether it was written to another one, which this one brought back or over an air gap.
    pub(super) is_carried: bool,
    pub(super) origin: OriginId,
    pub(super) bytes: u32,
    /// Microseconds since the Unix epoch of its oldest event.
    pub(super) time: u64,
    /// Destinations that are owed some of it.
    pub(super) owners: u16,
}

/// What a destination is owed in sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) events: u64,
    pub(super) bytes: u64,
}

/// Events of one block that are with a courier: nobody else removes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) key: EntryKey,
    /// Which of the block's events.
    pub(crate) events: u128,
}

/// What is left after some of an entry was removed.
pub(super) struct Removed {
    /// Events that were really there.
    pub(super) events: u64,
    /// What is still owed; zero when the entry is gone.
    pub(super) left: u128,
    pub(super) info: BlockInfo,
    /// Whether nobody is owed any of the block.
    pub(super) block_is_gone: bool,
}

impl Lease {
    pub(crate) fn count(&self) -> u64 {
        self.events.count_ones().into()
    }

    pub(crate) fn is_latest(&self) -> bool {
        self.key.class == Class::Latest
    }
}

impl Queue {
    /// Adds a block with nobody to owe it to yet.
    pub(super) fn add_block(&mut self, sequence: u64, info: BlockInfo) {
        self.blocks.insert(sequence, info);
        self.bytes += u64::from(info.bytes);
    }

    /// Adds an entry; `false` when there is no such block.
    #[must_use]
    pub(super) fn add_entry(&mut self, key: EntryKey, owed: u128) -> bool {
        let Some(info) = self.blocks.get_mut(&key.sequence) else { return false };
        info.owners += 1;
        let sum = self.owed.entry(key.destination).or_default();
        sum.events += u64::from(owed.count_ones());
        sum.bytes += u64::from(info.bytes);
        self.entries.insert(key, Entry { owed, leased: false, held: 0 });
        true
    }

    /// Whether there is a block that nobody is owed any of.
    pub(super) fn has_block_without_entry(&self) -> bool {
        self.blocks.values().any(|info| info.owners == 0)
    }

    /// Leases what a destination is owed next, up to so many events and bytes of blocks, but one block at
    /// the least.
    pub(super) fn lease(&mut self, destination: u16, events_max: usize, bytes_max: u64) -> Vec<Lease> {
        let (mut events, mut bytes) = (0, 0);
        let mut leases = Vec::new();
        let of_destination = self.entries.range_mut(range(destination));
        for (key, entry) in of_destination.filter(|(_, entry)| !entry.leased && entry.free() != 0) {
            let size = self.blocks.get(&key.sequence).map_or(0, |info| u64::from(info.bytes));
            events += entry.free().count_ones() as usize;
            bytes += size;
            if !leases.is_empty() && (events > events_max || bytes > bytes_max) {
                break;
            }
            entry.leased = true;
            leases.push(Lease { key: *key, events: entry.free() });
        }
        leases
    }

    /// Takes back leases as a whole: they may be leased again.
    pub(super) fn release(&mut self, leases: &[Lease]) {
        for lease in leases {
            if let Some(entry) = self.entries.get_mut(&lease.key) {
                entry.leased = false;
            }
        }
    }

    /// Owes a destination these events of a block, too. Returns those that it was not owed before, and all that it is
    /// owed of it now; `None` when there is no such block.
    pub(super) fn owe(&mut self, key: EntryKey, events: u128) -> Option<(u128, u128)> {
        let Some(entry) = self.entries.get_mut(&key) else {
            return self.add_entry(key, events).then_some((events, events));
        };
        let (added, before) = (events & !entry.owed, entry.free());
        entry.owed |= added;
        let sum = self.owed.entry(key.destination).or_default();
        sum.events += u64::from(added.count_ones());
        if before == 0 && added != 0 {
            sum.bytes += self.blocks.get(&key.sequence).map_or(0, |info| u64::from(info.bytes));
        }
        Some((added, entry.owed))
    }

    /// Says which events of a block are on a bundle: these wait, and no courier gets them.
    pub(super) fn hold(&mut self, key: EntryKey, events: u128) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let bytes = self.blocks.get(&key.sequence).map_or(0, |info| u64::from(info.bytes));
        let before = entry.free();
        entry.held = events & entry.owed;
        let after = entry.free();
        let sum = self.owed.entry(key.destination).or_default();
        sum.events = sum.events - u64::from(before.count_ones()) + u64::from(after.count_ones());
        sum.bytes = sum.bytes - if before == 0 { 0 } else { bytes } + if after == 0 { 0 } else { bytes };
    }

    /// Removes events of an entry. `None` when there is no such entry.
    pub(super) fn remove(&mut self, lease: Lease) -> Option<Removed> {
        let Lease { key, events } = lease;
        let entry = self.entries.get_mut(&key)?;
        let info = self.blocks.get_mut(&key.sequence)?;
        let removed = u64::from((entry.owed & events).count_ones());
        let before = entry.free();
        entry.owed &= !events;
        let (left, after) = (entry.owed, entry.free());
        // The rest of what is leased is still with the courier; what is on a bundle is not.
        entry.leased &= after != 0;
        let sum = self.owed.entry(key.destination).or_default();
        sum.events -= u64::from((before & !after).count_ones());
        if before != 0 && after == 0 {
            sum.bytes -= u64::from(info.bytes);
        }
        if left == 0 {
            self.entries.remove(&key);
            info.owners -= 1;
        }
        let (info, block_is_gone) = (*info, info.owners == 0);
        if block_is_gone {
            self.blocks.remove(&key.sequence);
            self.bytes -= u64::from(info.bytes);
        }
        Some(Removed { events: removed, left, info, block_is_gone })
    }

    /// All entries that are not leased, in the order of delivery.
    pub(super) fn free(&self) -> Vec<Lease> {
        let free = self.entries.iter().filter(|(_, entry)| !entry.leased);
        free.map(|(key, entry)| Lease { key: *key, events: entry.owed }).collect()
    }

    /// What a destination is owed of latest-only events, and whether that stays: it is with a courier or on a bundle.
    pub(super) fn latest(&self, destination: u16) -> Vec<(Lease, bool)> {
        let key = |sequence| EntryKey { destination, class: Class::Latest, sequence };
        let entries = self.entries.range(key(0)..=key(u64::MAX));
        let stays = |entry: &Entry| entry.leased || entry.held != 0;
        entries.map(|(key, entry)| (Lease { key: *key, events: entry.owed }, stays(entry))).collect()
    }

    /// Whether a destination is owed latest-only events, and no others.
    pub(super) fn owes_latest_alone(&self, destination: u16) -> bool {
        let mut sendable = self.entries.range(range(destination)).filter(|(_, entry)| entry.free() != 0);
        sendable.all(|(key, _)| key.class == Class::Latest)
    }

    pub(super) fn owed(&self, destination: u16) -> Owed {
        self.owed.get(&destination).copied().unwrap_or_default()
    }

    pub(super) fn block(&self, sequence: u64) -> Option<&BlockInfo> {
        self.blocks.get(&sequence)
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The time of the oldest event that anybody is owed.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.blocks.values().map(|info| info.time).min()
    }

    /// Bytes of all blocks.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn range(destination: u16) -> std::ops::RangeInclusive<EntryKey> {
    let key = |class, sequence| EntryKey { destination, class, sequence };
    key(Class::Milestone, 0)..=key(Class::Bulk, u64::MAX)
}
