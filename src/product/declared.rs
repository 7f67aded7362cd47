//! What a product declares that it sends.

use std::collections::{BTreeMap, BTreeSet};

/// Which events and keys a product declares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Declared {
    /// Every event, with every key.
    #[default]
    Any,
    /// These events, each with these keys.
    Only {
        events: BTreeMap<String, BTreeSet<String>>,
        /// Keys of the events named `<integration>:<event>`, where the product has such.
        integrations: Option<BTreeSet<String>>,
    },
}

/// The keys that an event may carry.
#[derive(Clone, Copy)]
pub(crate) enum Keys<'a> {
    All,
    These(&'a BTreeSet<String>),
}

impl Declared {
    /// Whether an event of this name may be written.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.keys(name).is_some()
    }

    /// The keys that an event of this name may carry; `None` where it is not declared.
    pub(crate) fn keys(&self, name: &str) -> Option<Keys<'_>> {
        match self {
            Self::Any => Some(Keys::All),
            Self::Only { events, integrations } => {
                let integrations = integrations.as_ref().filter(|_| name.contains(':'));
                events.get(name).or(integrations).map(Keys::These)
            }
        }
    }
}

impl Keys<'_> {
    pub(crate) fn has(self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(keys) => keys.contains(key),
        }
    }
}
