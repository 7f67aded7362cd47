//! The privacy guard: what slipped into a value, and must never leave.
//!
//! In comes a string value with its key, on the writer's thread; out goes the rule that it breaks, if any. All
//! rules stand in one table ([`ROWS`]), each with what it stops and what it lets pass. A value is walked over
//! once: at each byte two small tables say which rules begin to look there, and each of them looks at a limited
//! number of bytes. So time is linear in the value's length, and nothing is allocated. What is a short word,
//! as most values are, is let pass before.

mod machine;
mod network;
mod paths;
mod place;
mod rows;
mod tokens;
mod trace;

use self::place::{PLAIN, Place, is_word};
use self::rows::{AT_WORD_SHIFT, BY_BYTE, ENVIRONMENT, IS_WORD, ROWS_MASK, TOKEN};
use self::tokens::TOKEN_BYTES_MIN;
use super::Rule;

pub(crate) use self::machine::Machine;
pub(crate) use self::rows::ROWS;

/// Looks at values. One is made with each client.
pub(crate) struct Guard {
    machine: Machine,
    /// The rows that look at each byte, as [`BY_BYTE`] has them, and what is known of the machine beside it.
    by_byte: [u32; 256],
}

impl Guard {
    pub(crate) fn new(machine: Machine) -> Self {
        let mut by_byte = BY_BYTE;
        for byte in machine.first_bytes() {
            let shift = if is_word(byte) { AT_WORD_SHIFT } else { 0 };
            by_byte[usize::from(byte)] |= ENVIRONMENT << shift;
        }
        Self { machine, by_byte }
    }

    /// The rule that a value breaks.
    #[inline]
    pub(crate) fn check(&self, key: &[u8], text: &[u8]) -> Option<Rule> {
        if let Some(rule) = self.machine.knows(text) {
            return Some(rule);
        }
        // All of them, since whoever stops early asks at each byte whether to.
        let is_plain = |text: &[u8]| text.iter().fold(true, |plain, byte| plain & PLAIN[usize::from(*byte)]);
        if text.len() < TOKEN_BYTES_MIN && is_plain(text) {
            return None;
        }
        self.scan(key, text)
    }

    fn scan(&self, key: &[u8], text: &[u8]) -> Option<Rule> {
        let tokens_end = (text.len() + 1).saturating_sub(TOKEN_BYTES_MIN);
        let mut looks = u32::MAX;
        for (at, &byte) in text.iter().enumerate() {
            let entry = self.by_byte[usize::from(byte)];
            let found = entry & looks & !IS_WORD;
            // Behind a letter no word begins.
            looks = if entry & IS_WORD == 0 { u32::MAX } else { ROWS_MASK };
            if found == 0 {
                continue;
            }
            let mut rows = (found | found >> AT_WORD_SHIFT) & ROWS_MASK;
            if at >= tokens_end {
                rows &= !TOKEN;
            }
            while rows != 0 {
                let row = &ROWS[rows.trailing_zeros() as usize];
                rows &= rows - 1;
                if (row.finds)(&Place { key, text, at, machine: &self.machine }) {
                    return Some(row.rule);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
