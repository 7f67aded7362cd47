//! Where an event stands, and the ids that follow from it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::limits::JOURNAL_EVENTS_MAX;

/// The namespace of every id that milepost derives by name. Constant for ever: the ids depend on it.
const NAMESPACE: Uuid = Uuid::from_u128(0x6d69_6c65_706f_5374_8e11_0a5b_2f6c_93d4);

/// 128 random bits that name a journal for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct JournalId(pub(crate) Uuid);

/// Which installation's consent a file was written under: derived from the device id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Epoch(pub(crate) Uuid);

/// An event's place, fixed before it reaches the disk and unique for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address {
    pub(crate) journal: JournalId,
    /// Below 2^26.
    pub(crate) index: u32,
}

impl JournalId {
    pub(crate) fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl Epoch {
    pub(crate) fn of(device_id: &str) -> Self {
        Self(named(&["epoch", device_id]))
    }
}

/// The id of an ordinary event: a UUIDv7 of what is stored. 48 bits of the event's own milliseconds, then
/// 48 bits of its journal's id and the 26 bits of its index in the places that the format leaves free.
pub(crate) fn event_id(address: Address, micros: u64) -> Uuid {
    let millis = u128::from(micros / 1_000) & ((1 << 48) - 1);
    let journal = address.journal.0.as_u128() >> 80;
    let free = (journal << 26) | u128::from(address.index & (JOURNAL_EVENTS_MAX - 1));
    let (high, low) = (free >> 62, free & ((1 << 62) - 1));
    Uuid::from_u128((millis << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low)
}

/// The id of a milestone: the same for one installation, product and name, whoever reaches it.
pub(crate) fn milestone_id(device_id: &str, product: &str, name: &str) -> Uuid {
    named(&["milestone", device_id, product, name])
}

/// A UUIDv5 of several words. Each is followed by a byte that UTF-8 never contains.
pub(super) fn named(words: &[&str]) -> Uuid {
    let mut bytes = Vec::new();
    for word in words {
        bytes.extend_from_slice(word.as_bytes());
        bytes.push(0xff);
    }
    named_bytes(&bytes)
}

pub(super) fn named_bytes(bytes: &[u8]) -> Uuid {
    Uuid::new_v5(&NAMESPACE, bytes)
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl FromStr for JournalId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_is_a_uuid_v7_that_holds_time_journal_and_index() {
        let journal = JournalId(Uuid::from_u128(0x0123_4567_89ab_cdef_0011_2233_4455_6677));
        let id = event_id(Address { journal, index: 0x2ff_ffff }, 1_795_424_400_123_456);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(id.to_string(), "01a207a2-32fb-7012-8d15-9e26aeffffff");
    }

    #[test]
    fn neighbours_and_other_journals_have_other_ids_in_order() {
        let [a, b] = [1u128, 2].map(|n| JournalId(Uuid::from_u128(n << 80)));
        let ids = [(a, 0), (a, 1), (a, (1 << 26) - 1), (b, 0)]
            .map(|(journal, index)| event_id(Address { journal, index }, 5_000));
        assert!(ids.is_sorted_by(|left, right| left < right), "{ids:?}");
    }

    #[test]
    fn a_milestone_has_one_id_an_installation() {
        let id = milestone_id("d1", "prefect", "first_flow_run");
        assert_eq!(id, milestone_id("d1", "prefect", "first_flow_run"));
        assert_eq!(id.get_version_num(), 5);
        assert_ne!(id, milestone_id("d1", "prefectf", "irst_flow_run"));
        assert_ne!(id, milestone_id("d2", "prefect", "first_flow_run"));
    }
}
