//! What was decided, for whoever asks often.

use super::Answer;
use crate::product::Mode;

/// What was decided, as one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) answer: Answer,
    /// Whether it is unknown only because a file was changed a moment ago.
    pub(crate) is_settling: bool,
    /// Whether the installation refuses.
    pub(crate) is_refused: bool,
    pub(crate) mode: Mode,
}

impl State {
    /// Whether events are taken and written.
    pub(crate) fn is_yes(self) -> bool {
        self.answer == Answer::Yes
    }

    /// Whether the installation refuses, or may do so as far as anybody knows yet.
    pub(crate) fn may_be_refused(self) -> bool {
        self.is_refused || self.is_settling
    }

    pub(super) fn to_byte(self) -> u8 {
        let answer = match self.answer {
            Answer::Yes => 0,
            Answer::No => 1,
            Answer::Unknown => 2,
        };
        let mode = match self.mode {
            Mode::On => 0,
            Mode::Local => 1,
            Mode::Off => 2,
        };
        answer | u8::from(self.is_settling) << 2 | u8::from(self.is_refused) << 3 | mode << 4
    }

    pub(super) fn from_byte(byte: u8) -> Self {
        Self {
            answer: [Answer::Yes, Answer::No, Answer::Unknown, Answer::Unknown][usize::from(byte & 3)],
            is_settling: byte >> 2 & 1 == 1,
            is_refused: byte >> 3 & 1 == 1,
            mode: [Mode::On, Mode::Local, Mode::Off, Mode::Off][usize::from(byte >> 4 & 3)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_one_byte() {
        for answer in [Answer::Yes, Answer::No, Answer::Unknown] {
            for mode in [Mode::On, Mode::Local, Mode::Off] {
                for (is_settling, is_refused) in [(false, false), (false, true), (true, false), (true, true)]
                {
                    let state = State { answer, is_settling, is_refused, mode };
                    assert_eq!(State::from_byte(state.to_byte()), state);
                }
            }
        }
    }
}
