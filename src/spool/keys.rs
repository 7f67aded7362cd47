//! The keys of the store. One tree, so that a transaction is one batch; a first byte a kind.
//!
//! ```text
//! 0                                    the store's own sum
//! 1                                    Meta
//! 2 sequence                           journal id (16), block
//! 3 destination class sequence         what is owed of the block: a bitmap of 128 bits
//! 4 journal id                         Taken
//! 5 origin id                          Origin
//! 6 name                               a milestone that was reached: Mark
//! 7 number                             DeadLetter
//! 8 journal id                         what is lost of it: Missing
//! 9 journal id                         what became of its events, where a bundle brought them: Fate
//! ```
//!
//! Numbers are big endian, so that the order of keys is the order of delivery.

use uuid::Uuid;

use crate::block::{Class, JournalId, OriginId};

pub(super) const META: &[u8] = &[1];
const BLOCK: u8 = 2;
const ENTRY: u8 = 3;
const TAKEN: u8 = 4;
const ORIGIN: u8 = 5;
const MARK: u8 = 6;
const DEAD: u8 = 7;
const LOST: u8 = 8;
const CARRIED: u8 = 9;

/// What a destination is owed of one block. Ordered as delivered: milestones first, then by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryKey {
    pub(crate) destination: u16,
    pub(crate) class: Class,
    pub(crate) sequence: u64,
}

/// A key, read back.
pub(super) enum Key<'a> {
    Meta,
    Block(u64),
    Entry(EntryKey),
    Taken,
    Origin,
    Mark(&'a str),
    Dead(u64),
    Lost(JournalId),
    Carried(JournalId),
}

pub(super) fn block(sequence: u64) -> Vec<u8> {
    numbered(BLOCK, sequence)
}

pub(super) fn entry(key: EntryKey) -> Vec<u8> {
    let mut bytes = vec![ENTRY];
    bytes.extend_from_slice(&key.destination.to_be_bytes());
    bytes.push(key.class.to_byte());
    bytes.extend_from_slice(&key.sequence.to_be_bytes());
    bytes
}

pub(super) fn taken(id: JournalId) -> Vec<u8> {
    named(TAKEN, id.0.as_bytes())
}

pub(super) fn origin(id: OriginId) -> Vec<u8> {
    named(ORIGIN, id.0.as_bytes())
}

pub(super) fn mark(name: &str) -> Vec<u8> {
    named(MARK, name.as_bytes())
}

pub(super) fn dead(number: u64) -> Vec<u8> {
    numbered(DEAD, number)
}

pub(super) fn lost(id: JournalId) -> Vec<u8> {
    named(LOST, id.0.as_bytes())
}

pub(super) fn carried(id: JournalId) -> Vec<u8> {
    named(CARRIED, id.0.as_bytes())
}

/// Reads a key back; `None` where it is none of ours.
pub(super) fn read(key: &[u8]) -> Option<Key<'_>> {
    let (kind, rest) = key.split_first()?;
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).ok();
    match *kind {
        1 => Some(Key::Meta),
        BLOCK => number(rest).map(Key::Block),
        ENTRY => {
            let (destination, rest) = rest.split_first_chunk()?;
            let (class, rest) = rest.split_first()?;
            Some(Key::Entry(EntryKey {
                destination: u16::from_be_bytes(*destination),
                class: Class::from_byte(*class)?,
                sequence: number(rest)?,
            }))
        }
        TAKEN => Some(Key::Taken),
        ORIGIN => Some(Key::Origin),
        MARK => std::str::from_utf8(rest).ok().map(Key::Mark),
        DEAD => number(rest).map(Key::Dead),
        LOST => Uuid::from_slice(rest).ok().map(|id| Key::Lost(JournalId(id))),
        CARRIED => Uuid::from_slice(rest).ok().map(|id| Key::Carried(JournalId(id))),
        _ => None,
    }
}

fn numbered(kind: u8, number: u64) -> Vec<u8> {
    named(kind, &number.to_be_bytes())
}

fn named(kind: u8, name: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(name);
    bytes
}
