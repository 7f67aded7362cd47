//! The books: where every event that was ever accepted is.
//!
//! ```text
//! accepted = delivered + waiting + dead + sum(dropped by reason)
//! ```
//!
//! per destination, at any time, over restarts and processes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::admission::{Refusal, Rule};
use crate::block::Counts;
pub(crate) use crate::block::DropReason;

/// What became of the events of one destination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) dead: u64,
    pub(crate) dropped: BTreeMap<DropReason, u64>,
}

/// All accounts, and what never became an event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Books {
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) refused: BTreeMap<Refusal, u64>,
    /// Properties that were left out because nobody declared them; at first those were all that there were.
    #[serde(rename = "redacted")]
    pub(crate) undeclared: u64,
    /// Places on disk where bytes were damaged.
    pub(crate) damaged: u64,
    /// Properties that the privacy guard left out, by its rule's word. Later than the fields above.
    #[serde(default)]
    pub(crate) guarded: BTreeMap<String, u64>,
    /// Syncs that the disk did not do. Later than the fields above.
    #[serde(default)]
    pub(crate) failed_syncs: u64,
}

impl Account {
    /// What is accepted and has met no end yet.
    pub(crate) fn waiting(&self) -> u64 {
        let ended = self.delivered + self.dead + self.dropped.values().sum::<u64>();
        self.accepted.saturating_sub(ended)
    }

    pub(crate) fn drop(&mut self, reason: DropReason, events: u64) {
        if events > 0 {
            *self.dropped.entry(reason).or_default() += events;
        }
    }

    /// Events that were booked as damaged are there after all. Whoever takes them in accepts them anew. Returns of
    /// how many that is so.
    pub(crate) fn take_back(&mut self, events: u64) -> u64 {
        let damaged = self.dropped.get(&DropReason::Damaged).copied().unwrap_or(0);
        let back = events.min(damaged);
        if back > 0 {
            self.accepted = self.accepted.saturating_sub(back);
            self.dropped.insert(DropReason::Damaged, damaged - back);
            self.dropped.retain(|_, events| *events > 0);
        }
        back
    }

    fn merge(&mut self, other: &Account, with: impl Fn(u64, u64) -> u64) {
        self.accepted = with(self.accepted, other.accepted);
        self.delivered = with(self.delivered, other.delivered);
        self.dead = with(self.dead, other.dead);
        merge(&mut self.dropped, &other.dropped, with);
    }
}

impl Books {
    pub(crate) fn account(&mut self, destination: &str) -> &mut Account {
        if !self.accounts.contains_key(destination) {
            self.accounts.insert(destination.to_owned(), Account::default());
        }
        self.accounts.entry(destination.to_owned()).or_default()
    }

    /// Adds what a `counts` block carries.
    pub(crate) fn count(&mut self, counts: &Counts) {
        for (code, events) in &counts.refused {
            if let Some(reason) = Refusal::ALL.into_iter().find(|reason| *reason as u8 == *code) {
                *self.refused.entry(reason).or_default() += events;
            }
        }
        self.undeclared += counts.undeclared;
        self.failed_syncs += counts.failed_syncs;
        self.damaged += counts.damaged;
        for (rule, properties) in &counts.guarded {
            *self.guarded.entry(rule.clone()).or_default() += properties;
        }
        for (destination, code, events) in &counts.removed {
            if let Some(reason) = DropReason::ALL.into_iter().find(|reason| *reason as u8 == *code) {
                let account = self.account(destination);
                account.accepted += events;
                account.drop(reason, *events);
            }
        }
    }

    /// Takes back what `other` contributed.
    pub(crate) fn subtract(&mut self, other: &Books) {
        self.merge(other, u64::saturating_sub);
    }

    fn merge(&mut self, other: &Books, with: impl Fn(u64, u64) -> u64 + Copy) {
        for (destination, account) in &other.accounts {
            self.account(destination).merge(account, with);
        }
        merge(&mut self.refused, &other.refused, with);
        merge(&mut self.guarded, &other.guarded, with);
        self.failed_syncs = with(self.failed_syncs, other.failed_syncs);
        self.undeclared = with(self.undeclared, other.undeclared);
        self.damaged = with(self.damaged, other.damaged);
    }

    /// Properties that were left out, by rule.
    pub(crate) fn redacted(&self) -> BTreeMap<String, u64> {
        let mut redacted = self.guarded.clone();
        if self.undeclared > 0 {
            redacted.insert(Rule::Undeclared.as_str().into(), self.undeclared);
        }
        redacted
    }

    /// All destinations as one.
    pub(crate) fn total(&self) -> Account {
        let mut total = Account::default();
        self.accounts.values().for_each(|account| total.merge(account, |ours, theirs| ours + theirs));
        total
    }
}

fn merge<K: Ord + Clone>(
    ours: &mut BTreeMap<K, u64>,
    theirs: &BTreeMap<K, u64>,
    with: impl Fn(u64, u64) -> u64,
) {
    for (key, sum) in theirs {
        let entry = ours.entry(key.clone()).or_default();
        *entry = with(*entry, *sum);
    }
    ours.retain(|_, sum| *sum > 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_can_be_taken_back() {
        let mut journal = Books::default();
        journal.account("default").accepted = 10;
        journal.account("default").delivered = 4;
        journal.account("default").drop(DropReason::Rejected, 1);
        let removed = vec![("default".into(), DropReason::Quota as u8, 7), ("default".into(), 200, 9)];
        let (refused, guarded) =
            (vec![(0, 3), (200, 9)], vec![("path".into(), 4), ("of_tomorrow".into(), 5)]);
        journal.count(&Counts { refused, undeclared: 2, damaged: 1, removed, guarded, failed_syncs: 0 });
        let redacted = [("of_tomorrow", 5), ("path", 4), ("undeclared", 2)];
        assert_eq!(journal.redacted(), redacted.map(|(rule, count)| (rule.to_owned(), count)).into());
        assert_eq!(journal.total().dropped[&DropReason::Quota], 7);
        let mut books = journal.clone();
        assert_eq!(books.total().waiting(), 5);
        books.account("default").accepted += 3;
        books.subtract(&journal);
        assert_eq!(books.total(), Account { accepted: 3, ..Account::default() });
        assert_eq!((books.refused.len(), books.redacted().len(), books.damaged), (0, 0, 0));
    }
}
