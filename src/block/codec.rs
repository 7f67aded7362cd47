//! The bytes of a block. The only place that names bincode and LZ4.

use std::borrow::Cow;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::{Address, Class, DropReason, JournalId, Kind, OriginId, ones};
use crate::limits::{BLOCK_BODY_BYTES_MAX, BLOCK_EVENTS_MAX, BLOCK_RAW_BYTES_MAX, JOURNAL_EVENTS_MAX};

/// Bytes before a block's body.
pub(crate) const BLOCK_HEADER_BYTES: usize = 64;

const MAGIC: [u8; 2] = [0xb1, 0x0c];
const VERSION: u8 = 1;
const FLAG_LZ4: u8 = 1;

/// Most fields that a record has grown by, each of which is one byte when it is zero or empty.
const FIELDS_GROWN_MAX: usize = 8;

/// bincode's standard: little endian, variable integers. The limit bounds what a length can promise.
const BINCODE: Configuration<LittleEndian, Varint, Limit<{ 2 * BLOCK_RAW_BYTES_MAX }>> =
    bincode::config::standard().with_limit();

/// A block that is whole: its sum was right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) kind: Kind,
    pub(crate) journal: JournalId,
    /// Index of its first event.
    pub(crate) first: u32,
    pub(crate) count: u16,
    pub(crate) class: Class,
    pub(crate) origin: OriginId,
    /// Microseconds since the Unix epoch of its oldest event.
    pub(crate) time: u64,
    /// Header and body.
    pub(crate) bytes: &'a [u8],
    flags: u8,
    raw_len: u32,
}

/// Why there is no block where one was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum BlockError {
    /// The bytes end before the block does: a torn tail, or one that is still being written.
    #[error("the bytes end within a block")]
    Incomplete,
    /// What stands here is no block, or was changed.
    #[error("{0}")]
    Damaged(&'static str),
}

/// What a `counts` block carries: what has happened since the last one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Events that were never written, by the number of the reason.
    pub(crate) refused: Vec<(u8, u64)>,
    /// Properties that were left out because nobody declared them.
    pub(crate) undeclared: u64,
    /// Places where bytes were damaged, a cut tail among them.
    pub(crate) damaged: u64,
    /// Events of other journals that this writer removed, by destination and number of the reason: accepted
    /// there, and dropped.
    pub(crate) removed: Vec<(String, u8, u64)>,
    /// Properties that the privacy guard left out, by its rule's word: a version that does not know a rule
    /// passes it on. Later than the fields above.
    pub(crate) guarded: Vec<(String, u64)>,
    /// Syncs that the disk did not do. Later than the fields above.
    pub(crate) failed_syncs: u64,
}

impl Counts {
    /// Adds what another block carries.
    pub(crate) fn add(&mut self, more: &Counts) {
        for &(reason, count) in &more.refused {
            match self.refused.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, sum)) => *sum += count,
                None => self.refused.push((reason, count)),
            }
        }
        self.undeclared += more.undeclared;
        self.failed_syncs += more.failed_syncs;
        self.damaged += more.damaged;
        for (rule, count) in &more.guarded {
            match self.guarded.iter_mut().find(|(known, _)| known == rule) {
                Some((_, sum)) => *sum += count,
                None => self.guarded.push((rule.clone(), *count)),
            }
        }
        for (destination, reason, events) in &more.removed {
            self.remove_as(destination, *reason, *events);
        }
    }

    /// Books events that were accepted in another journal and dropped there.
    pub(crate) fn remove(&mut self, destination: &str, reason: DropReason, events: u64) {
        if events > 0 {
            self.remove_as(destination, reason as u8, events);
        }
    }

    fn remove_as(&mut self, destination: &str, reason: u8, events: u64) {
        let known = |(to, why, _): &&mut (String, u8, u64)| to == destination && *why == reason;
        match self.removed.iter_mut().find(known) {
            Some((_, _, sum)) => *sum += events,
            None => self.removed.push((destination.into(), reason, events)),
        }
    }

    /// What is counted here and not in `before`, an earlier state of the same counters.
    pub(crate) fn since(&self, before: &Counts) -> Counts {
        let was =
            |reason| before.refused.iter().find(|(known, _)| *known == reason).map_or(0, |(_, sum)| *sum);
        let refused = self.refused.iter().map(|&(reason, sum)| (reason, sum - was(reason)));
        let was =
            |rule: &str| before.guarded.iter().find(|(known, _)| known == rule).map_or(0, |(_, sum)| *sum);
        let guarded = self.guarded.iter().map(|(rule, sum)| (rule.clone(), sum - was(rule)));
        Counts {
            refused: refused.filter(|(_, count)| *count > 0).collect(),
            undeclared: self.undeclared - before.undeclared,
            damaged: self.damaged - before.damaged,
            removed: self.removed.get(before.removed.len()..).unwrap_or_default().to_vec(),
            guarded: guarded.filter(|(_, count)| *count > 0).collect(),
            failed_syncs: self.failed_syncs - before.failed_syncs,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What an `end` block says: the journal was let go by its writer, with this many events in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) events: u32,
}

/// What the header says of a block that is about to be sealed.
pub(crate) struct Sealed {
    pub(crate) kind: Kind,
    pub(crate) journal: JournalId,
    pub(crate) first: u32,
    pub(crate) count: u16,
    pub(crate) class: Class,
    pub(crate) origin: OriginId,
    pub(crate) time: u64,
}

/// Encodes a small record by bincode.
pub(crate) fn encode(record: &impl Serialize) -> Vec<u8> {
    // Our own records have no maps of unknown length and no fallible serializers, and a Vec takes every byte.
    bincode::serde::encode_to_vec(record, BINCODE).unwrap_or_default()
}

/// Decodes a small record. Bytes behind it are ignored, so that a later version can add fields.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BlockError> {
    match bincode::serde::decode_from_slice(bytes, BINCODE) {
        Ok((record, _)) => Ok(record),
        Err(_) => Err(BlockError::Damaged("a record cannot be decoded")),
    }
}

/// Decodes a small record that has grown since its first version: what an earlier one did not write, at its end,
/// reads as zero and empty. Whoever calls it knows by a sum that nothing was cut off.
pub(crate) fn decode_grown<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BlockError> {
    decode(bytes).or_else(|_| decode(&[bytes, &[0; FIELDS_GROWN_MAX]].concat()))
}

/// What bincode says that some bytes are, and how many of them: it decides what our own reading of events has to say.
#[cfg(test)]
pub(super) fn decode_borrowed<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<(T, usize)> {
    bincode::serde::borrow_decode_from_slice(bytes, BINCODE).ok()
}

/// Reads the block at the start of `bytes`.
///
/// # Errors
///
/// [`BlockError::Incomplete`] where everything that is there could be the start of a block.
pub(crate) fn read_block(bytes: &[u8]) -> Result<Block<'_>, BlockError> {
    if bytes.len() < BLOCK_HEADER_BYTES {
        let likely = MAGIC.iter().zip(bytes).all(|(magic, byte)| magic == byte);
        return Err(if likely {
            BlockError::Incomplete
        } else {
            BlockError::Damaged("no block starts here")
        });
    }
    if bytes[..2] != MAGIC {
        return Err(BlockError::Damaged("no block starts here"));
    }
    let body_len = u32_at(bytes, 4) as usize;
    if body_len > BLOCK_RAW_BYTES_MAX {
        return Err(BlockError::Damaged("a block is longer than any can be"));
    }
    let Some(bytes) = bytes.get(..BLOCK_HEADER_BYTES + body_len) else { return Err(BlockError::Incomplete) };
    if u32_at(bytes, 8) != checksum(bytes) {
        return Err(BlockError::Damaged("a block's sum is wrong"));
    }
    let kind = if bytes[2] == VERSION { Kind::from_byte(bytes[3]) } else { Kind::Unknown(bytes[3]) };
    let count = u16::from_le_bytes([bytes[32], bytes[33]]);
    let class = Class::from_byte(bytes[34]);
    let first = u32_at(bytes, 28);
    let makes_sense = (1..=BLOCK_EVENTS_MAX).contains(&count.into())
        && class.is_some()
        && first <= JOURNAL_EVENTS_MAX - u32::from(count);
    if kind == Kind::Events && !makes_sense {
        return Err(BlockError::Damaged("a block's header makes no sense"));
    }
    Ok(Block {
        kind,
        journal: JournalId(uuid_at(bytes, 12)),
        first,
        count: if kind == Kind::Events { count } else { 0 },
        class: class.unwrap_or_default(),
        origin: OriginId(uuid_at(bytes, 40)),
        time: u64::from_le_bytes(array_at(bytes, 56)),
        bytes,
        flags: bytes[35],
        raw_len: u32_at(bytes, 36),
    })
}

/// Where the next whole block starts, at or behind the start of `bytes`.
pub(crate) fn find_block(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len().saturating_sub(BLOCK_HEADER_BYTES - 1))
        .find(|&at| bytes[at] == MAGIC[0] && read_block(&bytes[at..]).is_ok())
}

/// Every whole block in some bytes, wherever it stands.
pub(crate) fn blocks(bytes: &[u8]) -> impl Iterator<Item = Block<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        rest = &rest[find_block(rest)?..];
        let block = read_block(rest).ok()?;
        rest = &rest[block.bytes.len()..];
        Some(block)
    })
}

/// Appends a block to `out`. LZ4 is used where it helps; `scratch` is its room.
///
/// Returns `false`, and appends nothing, when the body would be larger than a block's may be.
#[must_use]
pub(crate) fn write_block(sealed: &Sealed, raw: &[u8], scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
    scratch.resize(lz4_flex::block::get_maximum_output_size(raw.len()), 0);
    let packed = lz4_flex::block::compress_into(raw, scratch).ok().filter(|&len| len < raw.len());
    let (body, flags) = match packed {
        Some(len) => (&scratch[..len], FLAG_LZ4),
        None => (raw, 0),
    };
    if body.len() > BLOCK_BODY_BYTES_MAX || raw.len() > BLOCK_RAW_BYTES_MAX {
        return false;
    }
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, sealed.kind.to_byte()]);
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(sealed.journal.0.as_bytes());
    out.extend_from_slice(&sealed.first.to_le_bytes());
    out.extend_from_slice(&sealed.count.to_le_bytes());
    out.extend_from_slice(&[sealed.class.to_byte(), flags]);
    out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    out.extend_from_slice(sealed.origin.0.as_bytes());
    out.extend_from_slice(&sealed.time.to_le_bytes());
    out.extend_from_slice(body);
    let sum = checksum(&out[start..]);
    out[start + 8..start + 12].copy_from_slice(&sum.to_le_bytes());
    true
}

/// Appends a block that carries a small record and no events. `first` is the next event's index.
pub(crate) fn write_note(
    kind: Kind,
    journal: JournalId,
    first: u32,
    origin: OriginId,
    note: &impl Serialize,
    out: &mut Vec<u8>,
) {
    let sealed = Sealed { kind, journal, first, count: 0, class: Class::Bulk, origin, time: 0 };
    // Notes are some hundred bytes: origins from texts of limited length, counts of a closed list.
    let fits = write_block(&sealed, &encode(note), &mut Vec::new(), out);
    debug_assert!(fits, "a note larger than a block");
}

impl<'a> Block<'a> {
    /// All of its events.
    pub(crate) fn all(&self) -> u128 {
        ones(self.count.into())
    }

    /// The address of its event number `bit`.
    pub(crate) fn address(&self, bit: u16) -> Address {
        Address { journal: self.journal, index: self.first + u32::from(bit) }
    }

    /// The same block as one of another origin; its events keep their addresses.
    pub(crate) fn with_origin(&self, origin: OriginId) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        bytes[40..56].copy_from_slice(origin.0.as_bytes());
        let sum = checksum(&bytes);
        bytes[8..12].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The record of an origin, counts or end block.
    pub(crate) fn note<T: DeserializeOwned>(&self) -> Result<T, BlockError> {
        decode_grown(&self.raw()?)
    }

    /// The name of its first event: a milestone's block has no other.
    pub(crate) fn first_name(&self) -> Option<String> {
        let raw = self.raw().ok()?;
        let record = self.records(&raw).next()?.ok()?;
        Some(record.name.to_owned())
    }

    /// The body before LZ4.
    pub(crate) fn raw(&self) -> Result<Cow<'a, [u8]>, BlockError> {
        let body = &self.bytes[BLOCK_HEADER_BYTES..];
        if self.flags & FLAG_LZ4 == 0 {
            return Ok(Cow::Borrowed(body));
        }
        if self.raw_len as usize > BLOCK_RAW_BYTES_MAX {
            return Err(BlockError::Damaged("a block promises more than any may hold"));
        }
        match lz4_flex::block::decompress(body, self.raw_len as usize) {
            Ok(raw) if raw.len() == self.raw_len as usize => Ok(Cow::Owned(raw)),
            _ => Err(BlockError::Damaged("a block's body cannot be decompressed")),
        }
    }
}

fn checksum(block: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&block[..8]);
    sum.update(&block[12..]);
    sum.finalize()
}

/// The callers have checked that the header is there.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn uuid_at(bytes: &[u8], at: usize) -> Uuid {
    Uuid::from_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Event;
    use crate::event::Value;

    fn value() -> impl Strategy<Value = Value<'static>> {
        prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
            ".{0,60}".prop_map(Value::from),
        ]
    }

    proptest! {
        #[test]
        fn an_event_is_bincodes_standard_encoding_of_itself(
            name in "[A-Za-z0-9_.:-]{1,128}",
            properties in prop::collection::vec((".{1,16}", value()), 0..12),
        ) {
            let mut event = Event::new(&name);
            for (key, value) in &properties {
                event = event.with(key, value.clone());
            }
            prop_assert_eq!(event.bytes(), encode(&(name, properties)));
        }

        #[test]
        fn counts_of_the_first_version_are_read(
            refused in prop::collection::vec(any::<(u8, u64)>(), 0..4), undeclared in any::<u64>(), damaged in any::<u64>(),
            removed in prop::collection::vec((".{0,9}", any::<u8>(), any::<u64>()), 0..4),
        ) {
            let first = encode(&(&refused, undeclared, damaged, &removed));
            let read: Counts = decode_grown(&first).unwrap();
            prop_assert_eq!(read, Counts { refused, undeclared, damaged, removed, guarded: Vec::new(), failed_syncs: 0 });
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_block(&bytes);
            let _ = find_block(&bytes);
            let mut sound = Vec::new();
            let sealed = Sealed {
                kind: Kind::Events, journal: JournalId(Uuid::nil()), first: JOURNAL_EVENTS_MAX - 128, count: 128,
                class: Class::Bulk, origin: OriginId(Uuid::nil()), time: u64::MAX,
            };
            // A right sum over a body that was not made by us.
            prop_assert!(write_block(&sealed, &bytes, &mut Vec::new(), &mut sound));
            let block = read_block(&sound).unwrap();
            let raw = block.raw().unwrap();
            let _ = block.records(&raw).count();
            let _ = block.note::<Counts>();
        }
    }
}
