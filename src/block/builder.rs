//! Packs events into blocks.

use super::addresses::runs;
use super::codec::{Sealed, write_block};
use super::{Block, Class, JournalId, Kind, OriginId};
use crate::event::{put_varint, zigzag};
use crate::limits::{BLOCK_BODY_BYTES_MAX, BLOCK_EVENTS_MAX, BLOCK_RAW_BYTES_MAX, EVENT_TIME_BYTES_MAX};

/// Gathers events of one journal, origin and class, and seals them into blocks.
///
/// A block's limit is on its compressed body, which is known only afterwards. So the builder aims: it keeps
/// in mind how well the last blocks shrank, and a block that came out too large is sealed as two halves.
pub(crate) struct BlockBuilder {
    events: Vec<u8>,
    /// Each event's time and where its bytes end.
    marks: Vec<(u64, usize)>,
    /// Bytes of events that should fill a body.
    aim: usize,
    raw: Vec<u8>,
    scratch: Vec<u8>,
}

impl BlockBuilder {
    pub(crate) fn new() -> Self {
        Self {
            events: Vec::new(),
            marks: Vec::new(),
            aim: BLOCK_BODY_BYTES_MAX,
            raw: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Adds an event of `bytes`, as [`crate::Event`] made them.
    pub(crate) fn push(&mut self, time: u64, bytes: &[u8]) {
        self.events.extend_from_slice(bytes);
        self.marks.push((time, self.events.len()));
    }

    pub(crate) fn len(&self) -> usize {
        self.marks.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Whether the block is to be sealed before an event of `more` bytes is added.
    pub(crate) fn is_full_for(&self, more: usize) -> bool {
        !self.is_empty() && (self.marks.len() == BLOCK_EVENTS_MAX || self.events.len() + more > self.aim)
    }

    /// Seals what was gathered and appends it to `out`: usually one block, the first event of which has the
    /// index `first`. Returns the number of blocks.
    pub(crate) fn seal(
        &mut self,
        journal: JournalId,
        first: u32,
        class: Class,
        origin: OriginId,
        out: &mut Vec<u8>,
    ) -> u32 {
        let start = out.len();
        let sealed = Sealed { kind: Kind::Events, journal, first, count: 0, class, origin, time: 0 };
        let blocks = if self.is_empty() { 0 } else { self.seal_range(sealed, 0, self.marks.len(), out) };
        if blocks > 0 {
            let body = (out.len() - start).max(1);
            let ideal = self.events.len() * BLOCK_BODY_BYTES_MAX / body;
            // A tenth below what would just fit, and half-way there, so that one odd block does not sway it.
            self.aim = ((self.aim + ideal * 9 / 10) / 2).clamp(BLOCK_BODY_BYTES_MAX, BLOCK_RAW_BYTES_MAX / 2);
        }
        self.events.clear();
        self.marks.clear();
        blocks
    }

    fn seal_range(&mut self, mut sealed: Sealed, from: usize, to: usize, out: &mut Vec<u8>) -> u32 {
        let mut start = if from == 0 { 0 } else { self.marks[from - 1].1 };
        // The oldest, which need not be the first: whoever enqueues may name another time than now.
        sealed.time = self.marks[from..to].iter().map(|&(time, _)| time).min().unwrap_or(0);
        let mut before = sealed.time;
        sealed.count = (to - from) as u16;
        self.raw.clear();
        for &(time, end) in &self.marks[from..to] {
            let mut varint = [0; EVENT_TIME_BYTES_MAX];
            let len = put_varint(zigzag(time.wrapping_sub(before) as i64), &mut varint);
            self.raw.extend_from_slice(&varint[..len]);
            self.raw.extend_from_slice(&self.events[start..end]);
            (before, start) = (time, end);
        }
        let first = sealed.first;
        let fits = write_block(&sealed, &self.raw, &mut self.scratch, out);
        debug_assert!(fits || to - from > 1, "one event alone always fits: larger ones are refused");
        if fits || to - from == 1 {
            return 1;
        }
        let middle = from + (to - from) / 2;
        let half = Sealed { ..sealed };
        let rest = Sealed { first: first + (middle - from) as u32, ..half };
        self.seal_range(half, from, middle, out) + self.seal_range(rest, middle, to, out)
    }
}

/// A block with one event of another: number `bit`, at its own address. `None` where there is no such event.
pub(crate) fn single(block: &Block<'_>, bit: u32) -> Option<Vec<u8>> {
    part(block, 1 << bit)
}

/// Some events of a block, each at its own address: a block for each run of them. `None` where one of them
/// cannot be read.
pub(crate) fn part(block: &Block<'_>, events: u128) -> Option<Vec<u8>> {
    if events == block.all() {
        return Some(block.bytes.to_vec());
    }
    let raw = block.raw().ok()?;
    let records = block.records(&raw).collect::<Result<Vec<_>, _>>().ok()?;
    let mut out = Vec::new();
    for (low, high) in runs(events) {
        let mut builder = BlockBuilder::new();
        for record in records.get(low as usize..high as usize)? {
            builder.push(record.time, record.bytes);
        }
        builder.seal(block.journal, block.first + low, block.class, block.origin, &mut out);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::Event;
    use crate::block::read_block;

    fn journal() -> JournalId {
        JournalId(Uuid::from_u128(7))
    }

    /// Seals as the writer does and reads everything back: address, time, bytes.
    fn round_trip(events: &[(u64, Event)]) -> Vec<(u32, u64, Vec<u8>)> {
        let mut builder = BlockBuilder::new();
        let mut out = Vec::new();
        let mut next = 0;
        for (time, event) in events {
            if builder.is_full_for(event.bytes().len()) {
                let count = builder.len() as u32;
                builder.seal(journal(), next, Class::Bulk, OriginId(Uuid::nil()), &mut out);
                next += count;
            }
            builder.push(*time, event.bytes());
        }
        builder.seal(journal(), next, Class::Bulk, OriginId(Uuid::nil()), &mut out);

        let mut read = Vec::new();
        let mut rest = &out[..];
        while !rest.is_empty() {
            let block = read_block(rest).unwrap();
            assert!(block.bytes.len() <= crate::block::codec::BLOCK_HEADER_BYTES + BLOCK_BODY_BYTES_MAX);
            let raw = block.raw().unwrap();
            for record in block.records(&raw) {
                let record = record.unwrap();
                read.push((record.address.index, record.time, record.bytes.to_vec()));
            }
            rest = &rest[block.bytes.len()..];
        }
        read
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_goes_into_blocks_comes_out_in_order(
            events in prop::collection::vec((any::<u64>(), "[ -~]{0,1000}", 0..4usize), 1..200)
        ) {
            let events: Vec<_> = events
                .into_iter()
                .map(|(time, text, copies)| {
                    (time, (0..copies).fold(Event::new("e"), |event, i| event.with(format!("k{i}"), &text)))
                })
                .collect();
            let read = round_trip(&events);
            prop_assert_eq!(read.len(), events.len());
            for (index, ((time, event), read)) in events.iter().zip(&read).enumerate() {
                prop_assert_eq!(&(index as u32, *time, event.bytes().to_vec()), read);
            }
        }
    }

    #[test]
    fn the_bytes_of_a_block_are_these_for_ever() {
        let mut builder = BlockBuilder::new();
        builder.push(1_795_424_400_123_456, Event::new("job").with("ok", true).with("rows", -3).bytes());
        builder.push(1_795_424_400_123_956, Event::new("e").with("s", 1.5).with("t", "eu").bytes());
        let mut block = Vec::new();
        builder.seal(journal(), 70_000, Class::Bulk, OriginId(Uuid::from_u128(9)), &mut block);
        let hex: String = block.iter().map(|byte| format!("{byte:02x}")).collect();
        let header = [
            "b10c0102 29000000 3b2ba163", // magic, version, kind, length, sum
            "00000000000000000000000000000007 70110100 0200 02 00", // journal, index, count, class, flags
            "29000000 00000000000000000000000000000009 402697d1ed600600", // raw length, origin, time
        ];
        let body = [
            "00 036a6f62 02 026f6b 00 01 04726f7773 01 05",
            "fbe803 0165 02 0173 02 000000000000f83f 0174 03 026575",
        ];
        assert_eq!(hex, [header.concat(), body.concat()].concat().replace(' ', ""));
    }

    #[test]
    fn one_event_of_a_block_keeps_its_address_time_and_bytes() {
        let mut builder = BlockBuilder::new();
        (0..5)
            .for_each(|index| builder.push(100 + index, Event::new("e").with("index", index as i64).bytes()));
        let mut block = Vec::new();
        builder.seal(journal(), 40, Class::Bulk, OriginId(Uuid::nil()), &mut block);
        let block = read_block(&block).unwrap();
        let alone = single(&block, 3).unwrap();
        let alone = read_block(&alone).unwrap();
        let (raw, raw_alone) = (block.raw().unwrap(), alone.raw().unwrap());
        assert_eq!(block.records(&raw).nth(3).unwrap(), alone.records(&raw_alone).next().unwrap());
        assert_eq!((alone.count, alone.first), (1, 43));
        assert_eq!(single(&block, 5), None);
    }

    #[test]
    fn some_events_of_a_block_are_a_block_a_run() {
        let mut builder = BlockBuilder::new();
        (0..100).for_each(|index| builder.push(index, Event::new("e").with("index", index as i64).bytes()));
        let mut bytes = Vec::new();
        builder.seal(journal(), 40, Class::Bulk, OriginId(Uuid::nil()), &mut bytes);
        let block = read_block(&bytes).unwrap();
        assert_eq!(part(&block, block.all()).unwrap(), bytes);
        let parts = part(&block, 0b111 << 20 | 1 << 99).unwrap();
        let run = read_block(&parts).unwrap();
        let last = read_block(&parts[run.bytes.len()..]).unwrap();
        assert_eq!((run.first, run.count, last.first, last.count), (60, 3, 139, 1));
        let (raw, raw_run) = (block.raw().unwrap(), run.raw().unwrap());
        assert!(block.records(&raw).skip(20).take(3).eq(run.records(&raw_run)));
    }

    #[test]
    fn the_largest_event_fits_a_block() {
        // Bytes that LZ4 cannot shrink, up to the limit of an event.
        let noise: String = (0..900u32)
            .map(|i| char::from(b'!' + (i.wrapping_mul(2_654_435_761) >> 16) as u8 % 90))
            .collect();
        let mut event = Event::new("e");
        for key in ["a", "b", "c", "d"] {
            event = event.with(key, &noise);
        }
        for room in (1..=600).rev() {
            let largest = event.clone().with("e", &noise[..room]);
            if largest.broken_limit().is_none() {
                let events = [(u64::MAX, largest.clone()), (0, largest)];
                assert_eq!(round_trip(&events).len(), 2);
                return;
            }
        }
        panic!("no event came near the limit");
    }
}
