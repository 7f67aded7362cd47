//! What a product declares that it sends.

use std::collections::{BTreeMap, BTreeSet};

/// The key that every event of an integration may carry: which integration it is.
pub(crate) const INTEGRATION: &str = "integration";

/// Which events and keys a product declares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Declared {
    /// Every event, with every key.
    #[default]
    Any,
    /// These events, each with these keys, and those of integrations.
    Only { events: BTreeMap<String, BTreeSet<String>>, integrations: Integrations },
}

/// The events named `<integration>:<event>`, for which packages beside the product speak.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Integrations {
    /// The keys that each integration declares, [`INTEGRATION`] among them.
    pub(crate) keys: BTreeMap<String, BTreeSet<String>>,
    /// The keys of all other integrations' events, where the product takes such.
    pub(crate) others: Option<BTreeSet<String>>,
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
                events.get(name).or_else(|| integrations.keys_of(name)).map(Keys::These)
            }
        }
    }

    /// What is declared, from now on nothing else.
    pub(super) fn only(&mut self) -> (&mut BTreeMap<String, BTreeSet<String>>, &mut Integrations) {
        if let Self::Any = self {
            *self = Self::Only { events: BTreeMap::new(), integrations: Integrations::default() };
        }
        match self {
            Self::Only { events, integrations } => (events, integrations),
            Self::Any => unreachable!("replaced above"),
        }
    }
}

impl Integrations {
    /// Takes every integration's events, with nothing but which integration it is.
    pub(crate) fn any() -> Self {
        Self { keys: BTreeMap::new(), others: Some([INTEGRATION.into()].into()) }
    }

    pub(crate) fn add<K: Into<String>>(&mut self, name: String, keys: impl IntoIterator<Item = K>) {
        let keys = keys.into_iter().map(Into::into).chain([INTEGRATION.into()]);
        self.keys.entry(name).or_default().extend(keys);
    }

    fn keys_of(&self, name: &str) -> Option<&BTreeSet<String>> {
        let (integration, event) = name.split_once(':')?;
        if integration.is_empty() || event.is_empty() {
            return None;
        }
        self.keys.get(integration).or(self.others.as_ref())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(declared: &Declared, name: &str) -> Option<Vec<String>> {
        match declared.keys(name)? {
            Keys::All => Some(vec!["*".into()]),
            Keys::These(keys) => Some(keys.iter().cloned().collect()),
        }
    }

    #[test]
    fn an_integration_has_the_keys_that_it_declares_and_others_say_only_who_they_are() {
        let mut integrations = Integrations::any();
        integrations.add("aws".into(), ["service"]);
        let declared = Declared::Only { events: [("a:b".into(), [].into())].into(), integrations };
        assert_eq!(keys(&declared, "aws:deployed").unwrap(), ["integration", "service"]);
        assert_eq!(keys(&declared, "gcp:deployed").unwrap(), ["integration"]);
        assert_eq!(keys(&declared, "a:b").unwrap(), [""; 0], "an event of the product's own");
        for name in ["aws", "aws:", ":deployed", ":", "a"] {
            assert_eq!(keys(&declared, name), None, "{name}");
        }
    }

    #[test]
    fn a_product_that_names_its_integrations_takes_no_others() {
        let mut declared = Declared::Any;
        assert_eq!(keys(&declared, "gcp:deployed").unwrap(), ["*"]);
        declared.only().1.add("aws".into(), ["service"]);
        assert!(declared.has("aws:deployed"));
        assert!(!declared.has("gcp:deployed"));
        assert!(!declared.has("job_finished"));
    }
}
