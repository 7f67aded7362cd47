//! A place in a value, and what bytes are.

use super::Machine;

/// A byte of a value at which rules look, and what stands around it.
pub(super) struct Place<'a> {
    /// The property's key.
    pub(super) key: &'a [u8],
    pub(super) text: &'a [u8],
    pub(super) at: usize,
    pub(super) machine: &'a Machine,
}

impl<'a> Place<'a> {
    /// What begins here.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    /// The byte so many before this one; one before is the neighbour.
    pub(super) fn before(&self, count: usize) -> Option<u8> {
        Some(self.text[self.at.checked_sub(count)?])
    }

    /// The byte so many behind this one.
    pub(super) fn behind(&self, count: usize) -> Option<u8> {
        self.text.get(self.at + count).copied()
    }
}

/// Letters and digits of any script.
pub(super) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// What a name in a short value consists of: letters, digits, `_` and `-`. No rule but that of tokens, which are
/// long, finds anything in such bytes alone.
pub(super) const PLAIN: [bool; 256] = {
    let (mut plain, mut byte) = ([false; 256], 0);
    while byte < 256 {
        plain[byte] = is_word(byte as u8) || matches!(byte as u8, b'_' | b'-');
        byte += 1;
    }
    plain
};

/// base64, in the alphabet for URLs.
pub(super) const fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// base64, in its first alphabet.
pub(super) const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// How many bytes `text` begins with that are `such`, `max` at most: rules look at a limited number of bytes.
pub(super) fn run(text: &[u8], max: usize, such: impl Fn(u8) -> bool) -> usize {
    text.iter().take(max).take_while(|byte| such(**byte)).count()
}

/// Whether `text` begins with `start`, in whatever case.
pub(super) fn starts_with_any_case(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start))
}

/// Whether `text` has `part` in it, somewhere in its first `max` bytes.
pub(super) fn has(text: &[u8], max: usize, part: &[u8]) -> bool {
    text[..text.len().min(max)].windows(part.len()).any(|window| window == part)
}
