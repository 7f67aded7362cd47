//! Sets of indexes. Events of a journal come in long runs, so they are kept as ranges.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Block, JournalId};

/// Indexes of one journal, as ranges `first..end` in order that neither touch nor overlap; whoever wrote them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u32, u32)>")]
pub(crate) struct Ranges(Vec<(u32, u32)>);

/// Addresses of events of any journals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Addresses(BTreeMap<JournalId, Ranges>);

impl From<Vec<(u32, u32)>> for Ranges {
    fn from(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut sorted = Self::default();
        ranges.into_iter().for_each(|(first, end)| sorted.insert(first, end));
        sorted
    }
}

impl Ranges {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many indexes are in it.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|(first, end)| u64::from(end - first)).sum()
    }

    /// Puts `events` in, a bitmap of those from `first` on.
    pub(crate) fn add(&mut self, first: u32, events: u128) {
        for (low, high) in runs(events) {
            self.insert(first.saturating_add(low), first.saturating_add(high));
        }
    }

    pub(crate) fn insert_all(&mut self, other: &Self) {
        other.0.iter().for_each(|(first, end)| self.insert(*first, *end));
    }

    /// What is in both.
    fn common(&self, other: &Self) -> Self {
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut common = Vec::new();
        while let (Some(left), Some(right)) = (ours.peek(), theirs.peek()) {
            let (first, end) = (left.0.max(right.0), left.1.min(right.1));
            if first < end {
                common.push((first, end));
            }
            let next = if left.1 < right.1 { &mut ours } else { &mut theirs };
            next.next();
        }
        Self(common)
    }

    /// What is in this one alone.
    fn without(&self, other: &Self) -> Self {
        let mut rest = Vec::new();
        let mut theirs = other.0.iter().peekable();
        for &(mut first, end) in &self.0 {
            while theirs.next_if(|range| range.1 <= first).is_some() {}
            for &(from, to) in theirs.clone().take_while(|range| range.0 < end) {
                if first < from {
                    rest.push((first, from));
                }
                first = first.max(to);
            }
            if first < end {
                rest.push((first, end));
            }
        }
        Self(rest)
    }

    pub(crate) fn insert(&mut self, mut first: u32, mut end: u32) {
        if first >= end {
            return;
        }
        // Those that touch it become one with it.
        let from = self.0.partition_point(|range| range.1 < first);
        let to = self.0.partition_point(|range| range.0 <= end);
        for range in &self.0[from..to] {
            first = first.min(range.0);
            end = end.max(range.1);
        }
        self.0.splice(from..to, [(first, end)]);
    }

    /// Takes `events` out, a bitmap of those from `first` on.
    pub(crate) fn remove(&mut self, first: u32, events: u128) {
        for (low, high) in runs(events) {
            let (first, end) = (first.saturating_add(low), first.saturating_add(high));
            let cut = |&(from, to): &(u32, u32)| [(from, to.min(first)), (from.max(end), to)];
            self.0 = self.0.iter().flat_map(cut).filter(|range| range.0 < range.1).collect();
        }
    }

    /// Which of `count` events from `first` on are in it.
    pub(crate) fn bits(&self, first: u32, count: u16) -> u128 {
        let end = first.saturating_add(count.into());
        let from = self.0.partition_point(|range| range.1 <= first);
        let overlapping = self.0[from..].iter().take_while(|range| range.0 < end);
        overlapping.fold(0, |bits, range| {
            let (low, high) = (range.0.max(first) - first, range.1.min(end) - first);
            bits | ones(high - low) << low.min(127)
        })
    }

    /// Forgets all but the first ranges.
    pub(crate) fn truncate(&mut self, most: usize) {
        self.0.truncate(most);
    }
}

impl Addresses {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.values().all(Ranges::is_empty)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.values().map(Ranges::count).sum()
    }

    /// The journals, each with what is in it.
    pub(crate) fn journals(&self) -> impl Iterator<Item = (&JournalId, &Ranges)> {
        self.0.iter()
    }

    /// Puts `events` of a block in.
    pub(crate) fn add(&mut self, block: &Block<'_>, events: u128) {
        if events != 0 {
            self.0.entry(block.journal).or_default().add(block.first, events);
        }
    }

    /// Puts all of another set in.
    pub(crate) fn add_all(&mut self, other: &Self) {
        for (journal, ranges) in &other.0 {
            self.0.entry(*journal).or_default().insert_all(ranges);
        }
    }

    /// Which events of a block are in it.
    pub(crate) fn events(&self, block: &Block<'_>) -> u128 {
        self.0.get(&block.journal).map_or(0, |ranges| ranges.bits(block.first, block.count))
    }

    /// Takes out of it what is in `other`, too, and returns that.
    pub(crate) fn take(&mut self, other: &Self) -> Self {
        let mut taken = BTreeMap::new();
        for (journal, ranges) in &mut self.0 {
            let Some(theirs) = other.0.get(journal) else { continue };
            let common = ranges.common(theirs);
            *ranges = ranges.without(theirs);
            if !common.is_empty() {
                taken.insert(*journal, common);
            }
        }
        self.0.retain(|_, ranges| !ranges.is_empty());
        Self(taken)
    }
}

/// The bitmap of `count` events.
pub(crate) fn ones(count: u32) -> u128 {
    u128::MAX.checked_shr(128 - count.min(128)).unwrap_or(0)
}

/// The runs of ones in a bitmap, each as `low..high`.
pub(crate) fn runs(mut bits: u128) -> impl Iterator<Item = (u32, u32)> {
    std::iter::from_fn(move || {
        if bits == 0 {
            return None;
        }
        let low = bits.trailing_zeros();
        let high = low + (bits >> low).trailing_ones();
        bits &= !(ones(high - low) << low);
        Some((low, high))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_hold_what_a_set_of_indexes_would(
            changes in prop::collection::vec((any::<bool>(), 0..300u32, 0..40u32), 0..60),
            (first, count) in (0..300u32, 0..=128u16),
        ) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (insert, first, len) in changes {
                if insert {
                    ranges.insert(first, first + len);
                    set.extend(first..first + len);
                } else {
                    ranges.remove(first, ones(len));
                    set.retain(|index| !(first..first + len).contains(index));
                }
                prop_assert!(ranges.0.iter().all(|range| range.0 < range.1), "{ranges:?}");
                prop_assert!(ranges.0.is_sorted_by(|left, right| left.1 < right.0), "{ranges:?}");
            }
            let bits = ranges.bits(first, count);
            for bit in 0..128 {
                let is_in = bit < count.into() && set.contains(&(first + bit));
                prop_assert_eq!(bits >> bit & 1 == 1, is_in, "{}", bit);
            }
            let other = Ranges::from(vec![(first, first + u32::from(count)), (first + 9, first + 200)]);
            let expand = |ranges: &Ranges| {
                ranges.0.iter().flat_map(|range| range.0..range.1).collect::<BTreeSet<u32>>()
            };
            let theirs = expand(&other);
            prop_assert_eq!(expand(&ranges.common(&other)), set.intersection(&theirs).copied().collect());
            prop_assert_eq!(expand(&ranges.without(&other)), set.difference(&theirs).copied().collect());
            let again = runs(bits).fold(0, |all, (low, high)| all | ones(high - low) << low);
            prop_assert_eq!(again, bits);
        }
    }

    #[test]
    fn a_whole_bitmap_is_one_run_and_the_last_index_has_no_neighbour() {
        assert_eq!(runs(u128::MAX).collect::<Vec<_>>(), [(0, 128)]);
        assert_eq!((ones(0), ones(128)), (0, u128::MAX));
        assert_eq!(Ranges(vec![(5, 1 << 26)]).bits(0, 128), u128::MAX << 5);
        assert_eq!(Ranges(vec![(0, 1 << 26)]).bits(u32::MAX, 128), 0);
    }
}
