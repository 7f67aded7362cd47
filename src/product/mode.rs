//! How far events go.

use serde::{Deserialize, Serialize};

/// The destination of events that are delivered over the network.
pub(crate) const DEFAULT: &str = "default";

/// The destination of events that stay on this host.
pub(crate) const LOCAL: &str = "local";

/// What waits in journals of a product with several destinations: to whom it goes is seen when it is taken in.
pub(crate) const JOURNALS: &str = "journals";

/// How far events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Mode {
    /// Collected and delivered. The default.
    #[default]
    On,
    /// Collected, never delivered over the network.
    Local,
    /// Not collected: no directory, no thread, no file.
    Off,
}

impl Mode {
    /// The mode's word, as settings and `status` write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::On => "on",
            Mode::Local => "local",
            Mode::Off => "off",
        }
    }

    /// The destination of its events.
    pub(crate) fn destination(self) -> &'static str {
        if self == Mode::Local { LOCAL } else { DEFAULT }
    }
}

impl std::str::FromStr for Mode {
    type Err = crate::Error;

    fn from_str(word: &str) -> crate::Result<Self> {
        [Mode::On, Mode::Local, Mode::Off]
            .into_iter()
            .find(|mode| mode.as_str() == word)
            .ok_or_else(|| crate::Error::invalid(format!("mode {word:?} is none of on, local, off")))
    }
}
