//! An event, which is its own encoding.
//!
//! What travels through the channel decides what `enqueue` costs. Strings that one thread allocates and
//! another frees cost the writer a factor of 3 to 20, so an [`Event`] keeps no strings: each call of
//! [`Event::with`] appends the property's bytes to a buffer inside the event itself, in the very form in
//! which blocks store it. The writer copies these bytes and decodes nothing. Events of more than
//! [`INLINE_BYTES`] move to the heap.
//!
//! ```text
//! name    varint length, UTF-8
//! count   one byte, at most 32
//! count times:
//!   key     varint length, UTF-8
//!   kind    0 bool, 1 integer, 2 float, 3 text
//!   value   one byte; zigzag varint; eight bytes, little endian; varint length and UTF-8
//! ```
//!
//! These are bincode 2's standard bytes for `(&str, Vec<(&str, Value)>)`; the codec's tests compare the two.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{
    EVENT_BYTES_MAX, EVENT_TIME_BYTES_MAX, KEY_BYTES_MAX, NAME_BYTES_MAX, PROPERTIES_MAX, SLOT_BYTES_MAX,
    STRING_BYTES_MAX,
};

/// Bytes of an event that fit into its slot of the channel, beside the stamp and a pointer (8 each), the
/// limit that it breaks and the length.
const INLINE_BYTES: usize = SLOT_BYTES_MAX - 2 * 8 - 2;

/// Something that happened: a name and up to 32 properties.
///
/// ```
/// use milepost::Event;
/// let event = Event::new("job_finished").with("rows", 10).with("ok", true).with("region", "eu");
/// assert_eq!(event.broken_limit(), None);
/// ```
///
/// The name has at most 128 bytes of `[A-Za-z0-9_.:-]`, a key at most 64 bytes, a string at most 1 KiB, the
/// event at most 4 KiB. An event that breaks a limit is not cut to size: it is refused when it is enqueued,
/// and [`Event::broken_limit`] says why. A key that is given twice keeps its last value. Nothing is
/// allocated while the event's bytes fit into some 110.
#[derive(Clone)]
pub struct Event {
    /// What the channel notes about it. It is here so that an event goes on its way as it lies: it is moved once.
    pub(crate) stamp: u64,
    /// All of its bytes, where they do not fit in here. A pointer, since what an event is made of is moved with it.
    #[expect(clippy::box_collection, reason = "a vector is three words, of which most events need none")]
    heap: Option<Box<Vec<u8>>>,
    broken: Option<Limit>,
    len: u8,
    inline: [u8; INLINE_BYTES],
}

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value<'a> {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number.
    Float(f64),
    /// UTF-8 text of at most 1 KiB.
    Text(#[serde(borrow)] Cow<'a, str>),
}

/// The limit that an event breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// The name is empty, longer than 128 bytes, or has other characters than `[A-Za-z0-9_.:-]`.
    Name,
    /// There are more than 32 properties.
    Properties,
    /// A key is empty or longer than 64 bytes.
    Key,
    /// A string is longer than 1 KiB.
    Text,
    /// A number is infinite or not a number: no receiver's format has a place for it.
    NotFinite,
    /// The event as a whole is larger than 4 KiB.
    Event,
}

impl Event {
    /// An event without properties.
    #[inline]
    pub fn new(name: impl AsRef<str>) -> Self {
        Self::named(name.as_ref())
    }

    fn named(name: &str) -> Self {
        let mut event = Self { stamp: 0, heap: None, broken: None, len: 0, inline: [0; INLINE_BYTES] };
        if !is_name(name) {
            event.broken = Some(Limit::Name);
            return event;
        }
        let mut put = Put { room: &mut event.inline, len: 0 };
        if put.text(name).and_then(|()| put.bytes(&[0])).is_some() {
            event.len = put.len as u8;
        } else {
            event.heap = Some([&[name.len() as u8], name.as_bytes(), &[0]].concat().into());
        }
        event
    }

    /// Adds a property.
    #[inline]
    #[must_use]
    pub fn with<'a>(mut self, key: impl AsRef<str>, value: impl Into<Value<'a>>) -> Self {
        let (key, value) = (key.as_ref(), &value.into());
        match self.set(key, value) {
            Some(()) => self,
            // Moved, not lent: so the compiler sees that nobody else has its address, and a chain of calls
            // works on one event in place.
            None => self.with_on_heap(key, value),
        }
    }

    /// Adds what is sound and fits into the slot. Inlined, so that a literal key is copied and checked as the
    /// constant that it is.
    #[inline(always)]
    fn set(&mut self, key: &str, value: &Value<'_>) -> Option<()> {
        if self.heap.is_some() || self.broken.is_some() || broken_by(key, value).is_some() {
            return None;
        }
        let count_at = 1 + self.inline[0] as usize;
        let mut put = Put { room: &mut self.inline, len: self.len as usize };
        put.property(key, value)?;
        self.len = put.len as u8;
        self.inline[count_at] += 1;
        Some(())
    }

    #[cold]
    fn with_on_heap(mut self, key: &str, value: &Value<'_>) -> Self {
        if self.broken.is_some() {
            return self;
        }
        let mut bytes = self.heap.take().unwrap_or_else(|| self.inline[..self.len as usize].to_vec().into());
        let count_at = 1 + bytes[0] as usize;
        // What fits into a slot has fewer properties than may be: each takes four bytes at least.
        let full = (bytes[count_at] as usize == PROPERTIES_MAX).then_some(Limit::Properties);
        self.broken = broken_by(key, value).or(full);
        if self.broken.is_some() {
            return self;
        }
        let start = bytes.len();
        bytes.resize(start + property_bytes_max(key, value), 0);
        let mut put = Put { room: &mut bytes, len: start };
        let fits = put.property(key, value).is_some();
        let len = put.len;
        if !fits || len + EVENT_TIME_BYTES_MAX > EVENT_BYTES_MAX {
            self.broken = Some(Limit::Event);
            return self;
        }
        bytes.truncate(len);
        bytes[count_at] += 1;
        self.heap = Some(bytes);
        self
    }

    /// The limit that this event breaks, if it does: it will be refused.
    #[inline]
    pub fn broken_limit(&self) -> Option<Limit> {
        self.broken
    }

    /// The event as it is stored; empty when a limit is broken.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.heap {
            _ if self.broken.is_some() => &[],
            Some(bytes) => bytes,
            None => &self.inline[..self.len as usize],
        }
    }

    /// Bytes that this event keeps on the heap.
    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        self.heap.as_ref().map_or(0, |bytes| bytes.capacity() + size_of::<Vec<u8>>())
    }
}

/// The limit that this property breaks by itself.
#[inline]
fn broken_by(key: &str, value: &Value<'_>) -> Option<Limit> {
    match value {
        _ if key.is_empty() || key.len() > KEY_BYTES_MAX => Some(Limit::Key),
        Value::Text(text) if text.len() > STRING_BYTES_MAX => Some(Limit::Text),
        Value::Float(number) if !number.is_finite() => Some(Limit::NotFinite),
        _ => None,
    }
}

/// At least as many bytes as the property takes: two varints and the kind beside the texts.
fn property_bytes_max(key: &str, value: &Value<'_>) -> usize {
    let text = if let Value::Text(text) = value { text.len() } else { 0 };
    key.len() + text + 2 * EVENT_TIME_BYTES_MAX + 1
}

/// Appends to bytes that are already there, as far as there is room. All of it is inlined where it is used,
/// since a call for a byte or two costs more than they do.
struct Put<'a> {
    room: &'a mut [u8],
    len: usize,
}

impl Put<'_> {
    #[inline(always)]
    fn property(&mut self, key: &str, value: &Value<'_>) -> Option<()> {
        self.text(key)?;
        match value {
            Value::Bool(flag) => self.bytes(&[0, u8::from(*flag)]),
            Value::Int(number) => {
                self.bytes(&[1])?;
                self.varint(zigzag(*number))
            }
            Value::Float(number) => {
                self.bytes(&[2])?;
                self.bytes(&number.to_le_bytes())
            }
            Value::Text(text) => {
                self.bytes(&[3])?;
                self.text(text)
            }
        }
    }

    #[inline(always)]
    fn text(&mut self, text: &str) -> Option<()> {
        self.varint(text.len() as u64)?;
        self.bytes(text.as_bytes())
    }

    #[inline(always)]
    fn varint(&mut self, number: u64) -> Option<()> {
        // Each length by itself: a copy of a known length is a store, one of another a call.
        match number.to_le_bytes() {
            [a, 0, 0, 0, 0, 0, 0, 0] if a <= 250 => self.bytes(&[a]),
            [a, b, 0, 0, 0, 0, 0, 0] => self.bytes(&[251, a, b]),
            [a, b, c, d, 0, 0, 0, 0] => self.bytes(&[252, a, b, c, d]),
            [a, b, c, d, e, f, g, h] => self.bytes(&[253, a, b, c, d, e, f, g, h]),
        }
    }

    #[inline(always)]
    fn bytes(&mut self, more: &[u8]) -> Option<()> {
        let end = self.len + more.len();
        self.room.get_mut(self.len..end)?.copy_from_slice(more);
        self.len = end;
        Some(())
    }
}

/// The parts of an event's bytes, found without decoding its values.
#[derive(Clone)]
pub(crate) struct Parts<'a> {
    pub(crate) name: &'a [u8],
    count: u8,
    rest: &'a [u8],
}

/// A property's key, and all its bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Part<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) bytes: &'a [u8],
    /// Bytes of its text; more than any text has where its value is none.
    text_len: u32,
}

impl<'a> Part<'a> {
    const NO_TEXT: u32 = u32::MAX;

    /// Its value.
    pub(crate) fn value(&self) -> Option<Value<'a>> {
        let mut rest = self.bytes;
        take_text(&mut rest)?;
        Some(match take(&mut rest, 1)?[0] {
            0 => Value::Bool(take(&mut rest, 1)?[0] == 1),
            1 => Value::Int(unzigzag(take_varint(&mut rest)?)),
            2 => Value::Float(f64::from_le_bytes(rest.try_into().ok()?)),
            _ => Value::Text(Cow::Borrowed(str::from_utf8(take_text(&mut rest)?).ok()?)),
        })
    }

    /// Its value, where that is a text.
    #[inline(always)]
    pub(crate) fn text(&self) -> Option<&'a [u8]> {
        let start = self.bytes.len().checked_sub(self.text_len as usize)?;
        Some(&self.bytes[start..])
    }
}

impl<'a> Parts<'a> {
    /// Takes the bytes of an [`Event`] apart; `None` where they are none.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let name = take_text(&mut rest)?;
        let count = take(&mut rest, 1)?[0];
        Some(Self { name, count, rest })
    }

    /// Properties that are left, as the event says.
    pub(crate) fn len(&self) -> usize {
        self.count.into()
    }

    /// What stands behind the parts that were found.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    // A part that is returned through memory stalls its reader: this is the hottest call of the writer.
    #[inline(always)]
    fn next(&mut self) -> Option<Part<'a>> {
        self.count = self.count.checked_sub(1)?;
        let whole = self.rest;
        let key = take_text(&mut self.rest)?;
        let text_len = match take(&mut self.rest, 1)?[0] {
            0 if matches!(take(&mut self.rest, 1)?, [0 | 1]) => Part::NO_TEXT,
            1 => {
                take_varint(&mut self.rest)?;
                Part::NO_TEXT
            }
            2 => {
                take(&mut self.rest, 8)?;
                Part::NO_TEXT
            }
            3 => take_text(&mut self.rest)?.len() as u32,
            _ => return None,
        };
        Some(Part { key, bytes: &whole[..whole.len() - self.rest.len()], text_len })
    }
}

#[inline]
fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

#[inline]
fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = take_varint(rest)?;
    take(rest, len as usize)
}

#[inline]
pub(crate) fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let width = match take(rest, 1)?[0] {
        251 => 2,
        252 => 4,
        253 => 8,
        small @ 0..=250 => return Some(small.into()),
        _ => return None,
    };
    let mut bytes = [0; 8];
    bytes[..width].copy_from_slice(take(rest, width)?);
    Some(u64::from_le_bytes(bytes))
}

/// Whether `name` can name an event.
pub(crate) fn is_name(name: &str) -> bool {
    let may = |byte| IN_NAMES[usize::from(byte)];
    // All of them, whatever the first says: to end early would cost a branch a byte, and it never does.
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().fold(true, |all, byte| all & may(byte))
}

/// Which bytes a name may have. A table, since the caller of `enqueue` waits for the answer about each of them.
static IN_NAMES: [bool; 256] = {
    let (mut may, mut byte) = ([false; 256], 0);
    while byte < may.len() {
        may[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'_' | b'.' | b':' | b'-');
        byte += 1;
    }
    may
};

/// Maps small numbers of either sign to small unsigned ones.
pub(crate) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// The number that [`zigzag`] mapped.
pub(crate) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Writes `number` as bincode does: below 251 one byte, else a marker and two, four or eight bytes.
pub(crate) fn put_varint(number: u64, out: &mut [u8; EVENT_TIME_BYTES_MAX]) -> usize {
    let (marker, width) = match number {
        0..=250 => {
            out[0] = number as u8;
            return 1;
        }
        251..=0xffff => (251, 2),
        0x1_0000..=0xffff_ffff => (252, 4),
        _ => (253, 8),
    };
    out[0] = marker;
    out[1..=width].copy_from_slice(&number.to_le_bytes()[..width]);
    1 + width
}

impl Value<'_> {
    /// The same value, lent.
    pub(crate) fn borrowed(&self) -> Value<'_> {
        match self {
            Value::Bool(flag) => Value::Bool(*flag),
            Value::Int(number) => Value::Int(*number),
            Value::Float(number) => Value::Float(*number),
            Value::Text(text) => Value::Text(Cow::Borrowed(text)),
        }
    }

    /// The same value, owning its text.
    pub(crate) fn into_owned(self) -> Value<'static> {
        match self {
            Value::Bool(flag) => Value::Bool(flag),
            Value::Int(number) => Value::Int(number),
            Value::Float(number) => Value::Float(number),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
        }
    }
}

macro_rules! value_from {
    ($($from:ty => |$value:ident| $to:expr;)*) => {$(
        impl<'a> From<$from> for Value<'a> {
            #[inline]
            fn from($value: $from) -> Self { $to }
        }
    )*};
}

value_from! {
    bool => |value| Value::Bool(value);
    i64 => |value| Value::Int(value);
    i32 => |value| Value::Int(value.into());
    u32 => |value| Value::Int(value.into());
    u16 => |value| Value::Int(value.into());
    f64 => |value| Value::Float(value);
    &'a str => |value| Value::Text(Cow::Borrowed(value));
    &'a String => |value| Value::Text(Cow::Borrowed(value));
    String => |value| Value::Text(Cow::Owned(value));
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.broken {
            Some(limit) => f.debug_tuple("Event").field(&limit).finish(),
            None => {
                let bytes = self.bytes();
                let name = bytes.get(1..1 + bytes[0] as usize).map(String::from_utf8_lossy);
                f.debug_struct("Event").field("name", &name.unwrap_or_default()).finish_non_exhaustive()
            }
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Name => {
                "its name is empty, longer than 128 bytes or has other characters than [A-Za-z0-9_.:-]"
            }
            Limit::Properties => "it has more than 32 properties",
            Limit::Key => "a key is empty or longer than 64 bytes",
            Limit::Text => "a string is longer than 1 KiB",
            Limit::NotFinite => "a number is not finite",
            Limit::Event => "it is larger than 4 KiB",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_two_cache_lines() {
        assert_eq!(size_of::<Event>(), SLOT_BYTES_MAX);
    }

    #[test]
    fn each_limit_is_refused_under_its_own_name() {
        let long = "x".repeat(STRING_BYTES_MAX + 1);
        let cases = [
            (Event::new(""), Some(Limit::Name)),
            (Event::new("no spaces"), Some(Limit::Name)),
            (Event::new("n".repeat(NAME_BYTES_MAX)), None),
            (Event::new("n".repeat(NAME_BYTES_MAX + 1)), Some(Limit::Name)),
            (Event::new("n").with("k".repeat(KEY_BYTES_MAX), 1), None),
            (Event::new("n").with("k".repeat(KEY_BYTES_MAX + 1), 1), Some(Limit::Key)),
            (Event::new("n").with("", 1), Some(Limit::Key)),
            (Event::new("n").with("k", &long[1..]), None),
            (Event::new("n").with("k", &long), Some(Limit::Text)),
            (Event::new("n").with("k", f64::NAN), Some(Limit::NotFinite)),
            ((0..32).fold(Event::new("n"), |event, i| event.with(format!("k{i}"), i)), None),
            (
                (0..33).fold(Event::new("n"), |event, i| event.with(format!("k{i}"), i)),
                Some(Limit::Properties),
            ),
            ((0..3).fold(Event::new("n"), |event, i| event.with(format!("k{i}"), &long[1..])), None),
            (
                (0..4).fold(Event::new("n"), |event, i| event.with(format!("k{i}"), &long[1..])),
                Some(Limit::Event),
            ),
        ];
        for (event, limit) in cases {
            assert_eq!(event.broken_limit(), limit, "{event:?}");
            assert_eq!(event.bytes().is_empty(), limit.is_some());
        }
    }

    #[test]
    fn a_small_event_stays_off_the_heap_and_a_large_one_keeps_its_bytes() {
        let small = Event::new("job_finished").with("rows", 10).with("ok", true).with("region", "eu");
        assert_eq!(small.heap_bytes(), 0);
        let large = small.clone().with("text", "x".repeat(200));
        assert!(large.heap_bytes() > 200);
        // Only the count of properties differs in what both have.
        let count_at = 1 + "job_finished".len();
        assert_eq!(large.bytes()[..count_at], small.bytes()[..count_at]);
        assert_eq!(large.bytes()[count_at + 1..small.bytes().len()], small.bytes()[count_at + 1..]);
        assert_eq!((small.bytes()[count_at], large.bytes()[count_at]), (3, 4));
    }
}
