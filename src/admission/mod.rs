//! Admission: what may be written at all.
//!
//! In come the bytes of an event, on the writer's thread; out go the same bytes, fewer (an undeclared key is
//! left out, a repeated key keeps its last value), or a [`Refusal`]. Nothing here touches a disk.

mod refusal;

use std::borrow::Cow;

use crate::event::{Part, Parts};
use crate::limits::PROPERTIES_MAX;
use crate::product::Declared;

pub use refusal::Refusal;

/// An event that may be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Admitted<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    /// Properties that were left out because nobody declared them.
    pub(crate) redacted: u64,
}

/// Decides on one event.
///
/// # Errors
///
/// [`Refusal::Undeclared`] where the product does not declare its name, [`Refusal::Limit`] where the bytes are
/// no event's.
pub(crate) fn admit<'a>(declared: &Declared, bytes: &'a [u8]) -> Result<Admitted<'a>, Refusal> {
    let parts = Parts::of(bytes).ok_or(Refusal::Limit)?;
    let name = parts.name;
    let keys = declared.keys(as_str(name)).ok_or(Refusal::Undeclared)?;
    // On the stack: this runs for every event.
    let mut room = [Part::default(); PROPERTIES_MAX];
    let mut len = 0;
    for (place, part) in room.iter_mut().zip(parts) {
        *place = part;
        len += 1;
    }
    let all = &room[..len];
    let is_declared = |part: &Part<'_>| keys.has(as_str(part.key));
    let is_last = |at: usize| all[at + 1..].iter().all(|later| later.key != all[at].key);
    let redacted = all.iter().filter(|part| !is_declared(part)).count() as u64;
    if redacted == 0 && (0..len).all(is_last) {
        return Ok(Admitted { bytes: Cow::Borrowed(bytes), redacted });
    }
    let count_at = 1 + name.len();
    let mut shorter = bytes[..=count_at].to_vec();
    shorter[count_at] = 0;
    for (_, part) in all.iter().enumerate().filter(|(at, part)| is_declared(part) && is_last(*at)) {
        shorter.extend_from_slice(part.bytes);
        shorter[count_at] += 1;
    }
    Ok(Admitted { bytes: Cow::Owned(shorter), redacted })
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
        let admitted = admit(&Declared::Any, event.bytes()).unwrap();
        assert_eq!(admitted.bytes, Event::new("e").with("b", true).with("a", "two").bytes());
        assert_eq!(admitted.redacted, 0);
    }

    #[test]
    fn what_is_declared_passes_unchanged() {
        let event = Event::new("job_finished").with("rows", 10).with("ok", true);
        let admitted = admit(&worker(), event.bytes()).unwrap();
        assert!(matches!(admitted.bytes, Cow::Borrowed(_)));
    }

    #[test]
    fn an_undeclared_key_is_left_out_and_counted() {
        let event = Event::new("job_finished").with("user", "me").with("rows", 10).with("host", 1.5);
        let admitted = admit(&worker(), event.bytes()).unwrap();
        assert_eq!(admitted.bytes, Event::new("job_finished").with("rows", 10).bytes());
        assert_eq!(admitted.redacted, 2);
    }

    #[test]
    fn an_undeclared_event_is_refused() {
        assert_eq!(admit(&worker(), Event::new("job_started").bytes()), Err(Refusal::Undeclared));
        assert!(admit(&worker(), Event::new("aws:deployed").with("integration", "aws").bytes()).is_ok());
    }

    #[test]
    fn the_cut_bytes_of_an_event_are_refused_or_shorter_but_never_a_panic() {
        let event = Event::new("e").with("a", 1).with("b", 1.5).with("c", "three").with("d", i64::MIN);
        for len in 0..event.bytes().len() {
            let _ = admit(&Declared::Any, &event.bytes()[..len]);
        }
    }
}
