//! Admission: what may be written at all.
//!
//! In come the bytes of an event, on the writer's thread; out go the same bytes, fewer (an undeclared key is
//! left out, a repeated key keeps its last value), or a [`Refusal`]. Nothing here touches a disk.

mod refusal;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Part, Parts};
use crate::limits::PROPERTIES_MAX;

pub use refusal::Refusal;

/// Up to so many properties, an event costs less to look at.
const PROPERTIES_USUAL: usize = 8;

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

/// An event that may be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Admitted<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    /// Properties that were left out because nobody declared them.
    pub(crate) redacted: u64,
}

impl Declared {
    /// Whether an event of this name may be written.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.keys(name.as_bytes()).is_some()
    }

    /// Decides on one event.
    ///
    /// # Errors
    ///
    /// [`Refusal::Undeclared`] where the product does not declare its name, [`Refusal::Limit`] where the bytes
    /// are no event's.
    pub(crate) fn admit<'a>(&self, bytes: &'a [u8]) -> Result<Admitted<'a>, Refusal> {
        let parts = Parts::of(bytes).ok_or(Refusal::Limit)?;
        let keys = self.keys(parts.name).ok_or(Refusal::Undeclared)?;
        // This runs for every event, and few have many properties.
        if parts.len() <= PROPERTIES_USUAL {
            Ok(choose::<PROPERTIES_USUAL>(bytes, parts, keys))
        } else {
            Ok(choose::<PROPERTIES_MAX>(bytes, parts, keys))
        }
    }

    /// The keys that an event of this name may carry, `Some(None)` for all of them.
    #[allow(clippy::option_option)]
    fn keys(&self, name: &[u8]) -> Option<Option<&BTreeSet<String>>> {
        match self {
            Self::Any => Some(None),
            Self::Only { events, integrations } => {
                let name = as_str(name);
                let integrations = integrations.as_ref().filter(|_| name.contains(':'));
                events.get(name).or(integrations).map(Some)
            }
        }
    }
}

/// Leaves out what `keys` does not have, and of a repeated key all but the last. There are at most `N`
/// properties: their room is on the stack, and filling it is what costs.
fn choose<'a, const N: usize>(
    bytes: &'a [u8],
    parts: Parts<'a>,
    keys: Option<&BTreeSet<String>>,
) -> Admitted<'a> {
    let count_at = 1 + parts.name.len();
    let mut room = [Part::default(); N];
    let mut len = 0;
    for part in parts {
        let Some(place) = room.get_mut(len) else { break };
        *place = part;
        len += 1;
    }
    let all = &room[..len];
    let is_declared = |part: &Part<'_>| keys.is_none_or(|keys| keys.contains(as_str(part.key)));
    let is_last = |at: usize| all[at + 1..].iter().all(|later| later.key != all[at].key);
    let redacted = all.iter().filter(|part| !is_declared(part)).count() as u64;
    if redacted == 0 && (0..len).all(is_last) {
        return Admitted { bytes: Cow::Borrowed(bytes), redacted };
    }
    let mut shorter = bytes[..count_at].to_vec();
    shorter.push(0);
    for (_, part) in all.iter().enumerate().filter(|(at, part)| is_declared(part) && is_last(*at)) {
        shorter.extend_from_slice(part.bytes);
        shorter[count_at] += 1;
    }
    Admitted { bytes: Cow::Owned(shorter), redacted }
}

/// Names and keys are UTF-8 by the type of what they were made from.
fn as_str(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;

    fn worker() -> Declared {
        Declared::Only {
            events: [("job_finished".into(), ["rows".into(), "ok".into()].into())].into(),
            integrations: Some(["integration".into()].into()),
        }
    }

    #[test]
    fn a_repeated_key_keeps_its_last_value() {
        let event = Event::new("e").with("a", 1).with("b", true).with("a", "two");
        let admitted = Declared::Any.admit(event.bytes()).unwrap();
        assert_eq!(admitted.bytes, Event::new("e").with("b", true).with("a", "two").bytes());
        assert_eq!(admitted.redacted, 0);
    }

    #[test]
    fn what_is_declared_passes_unchanged() {
        let event = Event::new("job_finished").with("rows", 10).with("ok", true);
        let admitted = worker().admit(event.bytes()).unwrap();
        assert!(matches!(admitted.bytes, Cow::Borrowed(_)));
    }

    #[test]
    fn an_undeclared_key_is_left_out_and_counted() {
        let event = Event::new("job_finished").with("user", "me").with("rows", 10).with("host", 1.5);
        let admitted = worker().admit(event.bytes()).unwrap();
        assert_eq!(admitted.bytes, Event::new("job_finished").with("rows", 10).bytes());
        assert_eq!(admitted.redacted, 2);
    }

    #[test]
    fn an_undeclared_event_is_refused() {
        assert_eq!(worker().admit(Event::new("job_started").bytes()), Err(Refusal::Undeclared));
        assert!(worker().admit(Event::new("aws:deployed").with("integration", "aws").bytes()).is_ok());
    }

    #[test]
    fn the_cut_bytes_of_an_event_are_refused_or_shorter_but_never_a_panic() {
        let event = Event::new("e").with("a", 1).with("b", 1.5).with("c", "three").with("d", i64::MIN);
        for len in 0..event.bytes().len() {
            let _ = Declared::Any.admit(&event.bytes()[..len]);
        }
    }
}
