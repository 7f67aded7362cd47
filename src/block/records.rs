//! The events of a block, read one by one.
//!
//! A walk over the bytes finds where each event ends; a property is decoded when somebody asks for it. Packing,
//! taking in and splitting copy events as they are and never do.

use super::{Address, Block, BlockError};
use crate::event::{Part, Parts, Value, take_varint, unzigzag};
use crate::limits::PROPERTIES_MAX;

/// One event of a block, borrowed from its body.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Record<'a> {
    pub(crate) address: Address,
    /// Microseconds since the Unix epoch.
    pub(crate) time: u64,
    pub(crate) name: &'a str,
    /// The event as it came out of [`crate::Event`].
    pub(crate) bytes: &'a [u8],
}

/// The body of an events block, ready to be read. One bad record ends it with an error.
pub(crate) struct Records<'a> {
    rest: &'a [u8],
    next: Address,
    left: u16,
    time: u64,
}

impl Block<'_> {
    /// The events in `raw`, which is this block's [`Block::raw`].
    pub(crate) fn records<'r>(&self, raw: &'r [u8]) -> Records<'r> {
        Records { rest: raw, next: self.address(0), left: self.count, time: self.time }
    }
}

impl<'a> Record<'a> {
    /// What the event says, property by property.
    pub(crate) fn properties(
        &self,
    ) -> impl Iterator<Item = Result<(&'a str, Value<'a>), BlockError>> + use<'a> {
        let decode = |part: Part<'a>| Some((str::from_utf8(part.key).ok()?, part.value()?));
        Parts::of(self.bytes).into_iter().flatten().map(move |part| decode(part).ok_or(UNREADABLE))
    }
}

impl<'a> Records<'a> {
    #[inline]
    fn read(&mut self) -> Option<Record<'a>> {
        let mut rest = self.rest;
        let delta = unzigzag(take_varint(&mut rest)?);
        let mut parts = Parts::of(rest)?;
        if parts.len() > PROPERTIES_MAX {
            return None;
        }
        let name = str::from_utf8(parts.name).ok()?;
        for _ in 0..parts.len() {
            parts.next()?;
        }
        let (event, rest) = rest.split_at(rest.len() - parts.rest().len());
        self.time = self.time.wrapping_add_signed(delta);
        let record = Record { address: self.next, time: self.time, name, bytes: event };
        self.rest = rest;
        self.next.index = self.next.index.wrapping_add(1);
        Some(record)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BlockError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let record = self.read();
        if record.is_none() {
            self.left = 0;
        }
        Some(record.ok_or(UNREADABLE))
    }
}

const UNREADABLE: BlockError = BlockError::Damaged("a block's events cannot be decoded");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::Event;
    use crate::block::{Class, JournalId, Kind, OriginId, Sealed, read_block, write_block};

    /// An event's name and properties, and how many bytes they are.
    type Owned = (String, Vec<(String, Value<'static>)>, usize);

    /// What an event is by bincode, which decides.
    type Decoded<'a> = (&'a str, Vec<(&'a str, Value<'a>)>);

    /// A block of one event, whatever its bytes are.
    fn block_of(event: &[u8]) -> Vec<u8> {
        let sealed = Sealed {
            kind: Kind::Events,
            journal: JournalId(Uuid::nil()),
            first: 0,
            count: 1,
            class: Class::Bulk,
            origin: OriginId(Uuid::nil()),
            time: 7,
        };
        let mut bytes = Vec::new();
        assert!(write_block(&sealed, &[&[0], event].concat(), &mut Vec::new(), &mut bytes));
        bytes
    }

    /// The name and the properties as they are read here, and how many bytes they are.
    fn read(raw: &[u8], block: &Block<'_>) -> Option<Owned> {
        let record = block.records(raw).next()?.ok()?;
        let properties = record
            .properties()
            .map(|property| property.map(|(key, value)| (key.to_owned(), value.into_owned())));
        Some((record.name.to_owned(), properties.collect::<Result<_, _>>().ok()?, record.bytes.len()))
    }

    fn some_event() -> impl Strategy<Value = Vec<u8>> {
        let property = (
            ".{1,9}",
            prop_oneof![
                any::<bool>().prop_map(Value::from),
                any::<i64>().prop_map(Value::from),
                any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
                ".{0,300}".prop_map(Value::from),
            ],
        );
        prop::collection::vec(property, 0..9).prop_map(|properties| {
            let event =
                properties.into_iter().fold(Event::new("e"), |event, (key, value)| event.with(key, value));
            event.bytes().to_vec()
        })
    }

    proptest! {
        #[test]
        fn an_event_is_read_as_bincode_reads_it(
            mut event in some_event(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            for (at, byte) in changes {
                let at = at.index(event.len());
                event[at] = byte;
            }
            event.truncate(cut.map_or(event.len(), |cut| cut.index(event.len())));
            let bytes = block_of(&event);
            let block = read_block(&bytes).unwrap();
            let raw = block.raw().unwrap();
            let known = crate::block::codec::decode_borrowed::<Decoded<'_>>(&event);
            let known = known.filter(|((_, properties), _)| properties.len() <= PROPERTIES_MAX);
            let known = known.map(|((name, properties), len)| {
                let owned = properties.into_iter().map(|(key, value)| (key.to_owned(), value.into_owned()));
                (name.to_owned(), owned.collect::<Vec<_>>(), len)
            });
            prop_assert_eq!(format!("{:?}", read(&raw, &block)), format!("{known:?}"));
        }
    }
}
