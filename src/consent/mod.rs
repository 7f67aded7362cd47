//! Consent: whether anything is collected, and by whose word.
//!
//! Facts are read in one place (`facts`), the decision is a pure function of them (`decision`), and what was
//! decided is looked after as long as a process runs (`watch`). No directory is made before the answer is known.
//!
//! | source | speaks for |
//! | --- | --- |
//! | the mode, `DO_NOT_TRACK`, the variables of CI hosts, the product's opt-out variable | this process |
//! | files in the working directory; another profile, or file of profiles, named by a variable | this process |
//! | the active profile in the product's own file; `collecting` in `settings.toml` | the installation |
//! | the product's server, asked before the first delivery | this process |
//!
//! There are three answers: *yes*, *no* (somebody said so) and *unknown* (a source cannot be read or makes no
//! sense). Unknown stops collecting and delivering, and deletes nothing. Only the installation's no deletes what
//! was collected, and nothing that speaks for a process can lift it.

mod decision;
mod edit;
mod facts;
mod file;
mod splice;
mod state;
mod watch;
mod words;

pub(crate) use edit::{EditError, Edited, SettingsFile};
pub(crate) use facts::{Environment, Sources, is_ci};
pub(crate) use file::{Stamp, write_new};
pub(crate) use state::State;
pub(crate) use watch::Watch;
pub(crate) use words::{Settings as FileSettings, truth};

use crate::product::Mode;

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    /// Somebody said so.
    No,
    /// A source cannot be read, or makes no sense.
    Unknown,
}

/// What was decided, with the reason that `status` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Consent {
    /// For this process.
    pub(crate) answer: Answer,
    /// Why, or by whose word not.
    pub(crate) reason: String,
    /// For the installation, whoever asks.
    pub(crate) installation: Answer,
    /// How far events go.
    pub(crate) mode: Mode,
}

impl Answer {
    /// Its word in `status`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

impl Consent {
    pub(crate) fn is_yes(&self) -> bool {
        self.answer == Answer::Yes
    }

    /// Says no for this process where nobody else did.
    fn object(&mut self, reason: &str) {
        if self.answer != Answer::No {
            (self.answer, self.reason) = (Answer::No, reason.into());
        }
    }
}
