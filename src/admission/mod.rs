//! Admission: what may be written at all.
//!
//! In come the bytes of an event, on the writer's thread; out go the same bytes, fewer (an undeclared key, and a key or
//! a value that the privacy guard stops, are left out, a repeated key keeps its last value), or a [`Refusal`].
//! Nothing here touches a disk.

mod guard;
mod refusal;
mod rule;

use std::borrow::Cow;
use std::collections::HashSet;

use crate::event::{Part, Parts};
use crate::limits::{KEYS_SAID_MAX, PROPERTIES_MAX, SHAPES_MAX};
use crate::product::{Declared, Keys, Product};

pub(crate) use guard::ROWS;
use guard::{Guard, Machine};
pub use refusal::Refusal;
pub(crate) use rule::Rule;

/// Most events have no more properties than this.
const PROPERTIES_USUAL: usize = 8;

/// Decides what may be written.
pub(crate) struct Admission {
    declared: Declared,
    /// What nobody can enqueue: a milestone is reached once.
    milestones: Vec<String>,
    guard: Guard,
    /// By [`Shape::place`]: whoever comes first stays, since a program has few.
    shapes: [Option<Shape>; SHAPES_MAX],
    name_said: bool,
    /// Keys of which the log said that they were left out.
    said: HashSet<Box<[u8]>>,
}

impl Admission {
    /// Takes in what the environment says now, on the thread of whoever builds a client: no other may read it
    /// while the host changes it.
    pub(crate) fn new(product: &Product) -> Self {
        let milestones = product.milestones.to_vec();
        Self { milestones, ..Self::with(product.declared.clone(), Machine::this(product)) }
    }

    fn with(declared: Declared, machine: Machine) -> Self {
        Self {
            declared,
            milestones: Vec::new(),
            guard: Guard::new(machine),
            shapes: [const { None }; SHAPES_MAX],
            name_said: false,
            said: HashSet::new(),
        }
    }

    /// Decides on one event, and calls `count` for each property that is left out. A milestone was declared as
    /// one, or no client would have taken it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Undeclared`] where the product does not declare its name, or only as that of a milestone,
    /// [`Refusal::Guarded`] where its name must not leave, [`Refusal::Limit`] where the bytes are no event's.
    pub(crate) fn admit<'a>(
        &mut self,
        bytes: &'a [u8],
        is_milestone: bool,
        count: impl FnMut(Rule),
    ) -> Result<Cow<'a, [u8]>, Refusal> {
        let parts = Parts::of(bytes).ok_or(Refusal::Limit)?;
        let place = Shape::place(&parts);
        let is_known = |shape: &Shape| !is_milestone && shape.lets_pass(&self.guard, parts.clone());
        if self.shapes[place].as_ref().is_some_and(is_known) {
            return Ok(Cow::Borrowed(bytes));
        }
        let name = as_str(parts.name);
        let declared = match is_milestone {
            true => Some(Keys::All),
            false if self.milestones.iter().any(|milestone| milestone == name) => None,
            false => self.declared.keys(name),
        };
        let keys = declared.ok_or(Refusal::Undeclared)?;
        if let Some(rule) = self.guard.check(b"", parts.name).filter(|_| !is_milestone) {
            if !std::mem::replace(&mut self.name_said, true) {
                log::warn!("an event was refused for its name ({rule}); further ones are only counted");
            }
            return Err(Refusal::Guarded);
        }
        let shape = parts.clone();
        let mut left_out = LeftOut { guard: &self.guard, said: &mut self.said, count };
        let left = match parts.len() {
            0..=PROPERTIES_USUAL => choose::<PROPERTIES_USUAL>(keys, bytes, parts, &mut left_out),
            _ => choose::<PROPERTIES_MAX>(keys, bytes, parts, &mut left_out),
        };
        if matches!(left, Cow::Borrowed(_)) && !is_milestone && self.shapes[place].is_none() {
            self.shapes[place] = Some(Shape::new(shape));
        }
        Ok(left)
    }
}

/// A name and its keys, all declared, each once, and nothing that must not leave. What comes again, as most does, has
/// its values looked at alone.
struct Shape {
    name: Box<[u8]>,
    keys: Box<[Box<[u8]>]>,
}

impl Shape {
    fn new(parts: Parts<'_>) -> Self {
        Self { name: parts.name.into(), keys: parts.map(|part| part.key.into()).collect() }
    }

    fn place(parts: &Parts<'_>) -> usize {
        let last = parts.name.last().copied().unwrap_or_default();
        (usize::from(last) + parts.name.len() + 7 * parts.len()) % SHAPES_MAX
    }

    /// Whether an event has this shape, and values that may leave.
    #[inline]
    fn lets_pass(&self, guard: &Guard, mut parts: Parts<'_>) -> bool {
        if parts.len() != self.keys.len() || *parts.name != *self.name {
            return false;
        }
        self.keys.iter().all(|key| {
            parts.next().is_some_and(|part| {
                *part.key == **key && part.text().is_none_or(|text| guard.check(part.key, text).is_none())
            })
        })
    }
}

/// Finds what is left out, counts it, and says it once a key.
struct LeftOut<'a, F> {
    guard: &'a Guard,
    said: &'a mut HashSet<Box<[u8]>>,
    count: F,
}

impl<F: FnMut(Rule)> LeftOut<'_, F> {
    /// Whether this property stays.
    #[inline(always)]
    fn stays(&mut self, keys: Keys<'_>, part: &Part<'_>) -> bool {
        let broken = match keys {
            // What a product declares, it means.
            Keys::All => self.guard.check(b"", part.key),
            _ if keys.has(as_str(part.key)) => None,
            _ => Some(Rule::Undeclared),
        };
        let by_value = || part.text().and_then(|text| self.guard.check(part.key, text));
        match broken {
            Some(rule) => self.note(rule, part.key, rule != Rule::Undeclared),
            None => match by_value() {
                Some(rule) => self.note(rule, part.key, false),
                None => return true,
            },
        }
        false
    }

    #[cold]
    fn note(&mut self, rule: Rule, key: &[u8], is_secret: bool) {
        (self.count)(rule);
        if self.said.len() < KEYS_SAID_MAX && self.said.insert(key.into()) {
            match as_str(key) {
                _ if is_secret => {
                    log::warn!("a property was left out for its key ({rule}); further ones are only counted");
                }
                key => log::warn!("a property {key:?} was left out ({rule}); further ones are only counted"),
            }
        }
    }
}

/// Leaves out what may not leave, and of a repeated key all but the last. `N` is the most properties that the
/// event can have: filling their room on the stack is half of what admission costs.
fn choose<'a, const N: usize>(
    keys: Keys<'_>,
    bytes: &'a [u8],
    parts: Parts<'a>,
    left_out: &mut LeftOut<'_, impl FnMut(Rule)>,
) -> Cow<'a, [u8]> {
    let count_at = 1 + parts.name.len();
    let mut room = [Part::default(); N];
    let (mut len, mut stay) = (0, 0_u32);
    for part in parts {
        let Some(place) = room.get_mut(len) else { break };
        *place = part;
        stay |= u32::from(left_out.stays(keys, &part)) << len;
        len += 1;
    }
    let all = &room[..len];
    let is_last = |at: usize| all[at + 1..].iter().all(|later| later.key != all[at].key);
    if stay.count_ones() as usize == len && (0..len).all(is_last) {
        return Cow::Borrowed(bytes);
    }
    let mut shorter = bytes[..=count_at].to_vec();
    shorter[count_at] = 0;
    for (_, part) in all.iter().enumerate().filter(|(at, _)| stay >> at & 1 == 1 && is_last(*at)) {
        shorter.extend_from_slice(part.bytes);
        shorter[count_at] += 1;
    }
    Cow::Owned(shorter)
}

/// Names and keys are UTF-8 by the type of what they were made from.
fn as_str(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Event;
    use crate::product::Integrations;

    fn admission(declared: Declared) -> Admission {
        Admission::with(declared, Machine::default())
    }

    fn worker() -> Admission {
        admission(Declared::Only {
            events: [("job_finished".into(), ["rows".into(), "ok".into()].into())].into(),
            integrations: Integrations::any(),
        })
    }

    /// What is left of an event, and the rules by which the rest was left out.
    fn admit(mut admission: Admission, event: &Event) -> Result<(Vec<u8>, Vec<Rule>), Refusal> {
        let mut rules = Vec::new();
        let bytes = admission.admit(event.bytes(), false, |rule| rules.push(rule))?.into_owned();
        Ok((bytes, rules))
    }

    #[test]
    fn a_repeated_key_keeps_its_last_value() {
        let event = Event::new("e").with("a", 1).with("b", true).with("a", "two");
        let (bytes, rules) = admit(admission(Declared::Any), &event).unwrap();
        assert_eq!(bytes, Event::new("e").with("b", true).with("a", "two").bytes());
        assert_eq!(rules, []);
    }

    #[test]
    fn a_value_that_is_stopped_does_not_give_way_to_an_earlier_one() {
        let event = Event::new("e").with("a", "one").with("b", true).with("a", "/etc/two");
        let (bytes, rules) = admit(admission(Declared::Any), &event).unwrap();
        assert_eq!(bytes, Event::new("e").with("b", true).bytes());
        assert_eq!(rules, [Rule::Path]);
    }

    #[test]
    fn what_is_declared_passes_unchanged() {
        let event = Event::new("job_finished").with("rows", 10).with("ok", true);
        assert!(matches!(worker().admit(event.bytes(), false, |_| {}), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn an_undeclared_key_is_left_out_and_counted() {
        let event = Event::new("job_finished").with("user", "me").with("rows", 10).with("host", 1.5);
        let (bytes, rules) = admit(worker(), &event).unwrap();
        assert_eq!(bytes, Event::new("job_finished").with("rows", 10).bytes());
        assert_eq!(rules, [Rule::Undeclared, Rule::Undeclared]);
    }

    #[test]
    fn a_property_that_gives_something_away_is_left_out_and_the_event_stays() {
        let many = |event, ok: &str| (0..12).fold(event, |event: Event, i| event.with(format!("{ok}{i}"), i));
        let event = many(Event::new("job_finished").with("rows", "me@example.com"), "k");
        let (bytes, rules) = admit(admission(Declared::Any), &event).unwrap();
        assert_eq!(bytes, many(Event::new("job_finished"), "k").bytes());
        assert_eq!(rules, [Rule::Email]);
        let event = Event::new("job_finished").with("rows", "/etc/passwd").with("ok", "10.0.0.1");
        let (bytes, rules) = admit(worker(), &event).unwrap();
        assert_eq!(bytes, Event::new("job_finished").bytes());
        assert_eq!(rules, [Rule::Path, Rule::Ip]);
    }

    #[test]
    fn a_key_that_gives_something_away_is_left_out_where_nobody_declared_it() {
        let event = Event::new("e").with("a", 1).with("me@example.com", 2).with("10.0.0.1", "x").with("b", 3);
        let (bytes, rules) = admit(admission(Declared::Any), &event).unwrap();
        assert_eq!(bytes, Event::new("e").with("a", 1).with("b", 3).bytes());
        assert_eq!(rules, [Rule::Email, Rule::Ip]);
        let declared = |key: &str| Declared::Only {
            events: [("e".into(), [key.into()].into())].into(),
            integrations: Integrations::default(),
        };
        let event = Event::new("e").with("build.2.1.10.1", 2);
        assert_eq!(admit(admission(declared("build.2.1.10.1")), &event).unwrap().1, []);
        assert_eq!(admit(admission(declared("other")), &event).unwrap().1, [Rule::Undeclared]);
    }

    #[test]
    fn an_event_whose_name_gives_something_away_is_refused() {
        let token = concat!("ghp_", "0123456789abcdefghijABCDEFGHIJ456789");
        for name in ["10.0.0.1", "from-192.168.1.20", "fe80::1", token] {
            assert_eq!(admit(admission(Declared::Any), &Event::new(name)), Err(Refusal::Guarded), "{name}");
        }
        for name in
            ["job_finished", "aws:deployed", "milepost.losses", "v1.2.3.4", "prefect.flow-run.Completed"]
        {
            assert!(admit(admission(Declared::Any), &Event::new(name)).is_ok(), "{name}");
        }
    }

    /// What is remembered of one event says nothing about another, nor about its values.
    #[test]
    fn a_shape_that_is_known_lets_pass_what_it_would_have_without() {
        let events = [
            Event::new("e").with("a", 1).with("b", "x"),
            Event::new("e").with("a", 1).with("b", "/etc/passwd"),
            Event::new("e").with("a", 1).with("c", "x"),
            Event::new("e").with("a", 1).with("a", "x"),
            Event::new("e").with("a", 1),
            Event::new("u").with("a", 1).with("b", "x"),
            Event::new("10.0.0.1").with("a", 1).with("b", "x"),
            Event::new("e").with("a", 1).with("me@example.com", "x"),
            Event::new("e"),
        ];
        let only = || Declared::Only {
            events: [("e".into(), ["a".into(), "b".into()].into())].into(),
            integrations: Integrations::default(),
        };
        for declared in [|| Declared::Any, only] {
            let mut warm = admission(declared());
            for event in events.iter().chain(&events).chain(events.iter().rev()) {
                let mut rules = Vec::new();
                let left = warm.admit(event.bytes(), false, |rule| rules.push(rule)).map(Cow::into_owned);
                assert_eq!(left.map(|bytes| (bytes, rules)), admit(admission(declared()), event));
            }
            assert!(warm.shapes.iter().flatten().count() > 0);
        }
    }

    #[test]
    fn an_undeclared_event_is_refused() {
        assert_eq!(admit(worker(), &Event::new("job_started")), Err(Refusal::Undeclared));
        assert!(admit(worker(), &Event::new("aws:deployed").with("integration", "aws")).is_ok());
        assert!(worker().admit(Event::new("first_job").bytes(), true, |_| {}).is_ok());
    }

    #[test]
    fn the_keys_that_are_said_have_an_end() {
        let mut admission = admission(Declared::Any);
        for number in 0..2 * KEYS_SAID_MAX {
            let event = Event::new("e").with(format!("k{number}"), "/etc/passwd");
            admission.admit(event.bytes(), false, |_| {}).unwrap();
        }
        assert_eq!(admission.said.len(), KEYS_SAID_MAX);
    }

    proptest! {
        /// Whatever is in it: an event is left with some of its properties, each as it was, and is one.
        #[test]
        fn a_property_is_left_out_as_a_whole_or_not_at_all(
            properties in prop::collection::vec(("[a-d]", "[a-z]{0,9}|/[a-z]{3}/\\PC{0,20}|.{0,9}@ex\\.com|\\PC{0,40}"), 0..20),
        ) {
            let with = |event: Event, (key, value): &(String, String)| event.with(key, value);
            let event = properties.iter().fold(Event::new("e"), with);
            let (bytes, _) = admit(admission(Declared::Any), &event).unwrap();
            let all: Vec<&[u8]> = Parts::of(event.bytes()).unwrap().map(|part| part.bytes).collect();
            let left: Vec<&[u8]> = Parts::of(&bytes).unwrap().map(|part| part.bytes).collect();
            prop_assert_eq!(left.len(), Parts::of(&bytes).unwrap().len(), "as many as it says");
            prop_assert_eq!(bytes.len(), 3 + left.iter().map(|part| part.len()).sum::<usize>(), "and nothing more");
            let mut rest = all.iter();
            prop_assert!(left.iter().all(|part| rest.any(|other| other == part)), "in their order");
            let guard = Guard::new(Machine::default());
            for part in Parts::of(&bytes).unwrap() {
                prop_assert_eq!(guard.check(b"", part.key), None);
                prop_assert_eq!(part.text().and_then(|text| guard.check(part.key, text)), None);
            }
        }
    }

    /// Prints what an event costs: `cargo test --release --lib what_an_event_costs -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn what_an_event_costs() {
        let event = Event::new("job_finished").with("rows", 10).with("seconds", 1.5).with("ok", true);
        let event = event.with("region", "eu-central-1").with("queue", "default").with("state", "completed");
        let keys = ["rows", "seconds", "ok", "region", "queue", "state"].map(String::from);
        let only = Declared::Only {
            events: [("job_finished".into(), keys.into())].into(),
            integrations: Integrations::default(),
        };
        for (what, declared) in [("any", Declared::Any), ("declared", only)] {
            let mut admission = admission(declared);
            let nanos = fastest(|| {
                let bytes = std::hint::black_box(event.bytes());
                drop(std::hint::black_box(admission.admit(bytes, false, |_| {})));
            });
            println!("{nanos:8.1} ns  {what}");
        }
    }

    /// Nanoseconds of one call, in the fastest of many rounds: what else runs on the machine is no matter.
    pub(super) fn fastest(mut call: impl FnMut()) -> f64 {
        const CALLS: u32 = 500;
        let round = |_| {
            let start = std::time::Instant::now();
            (0..CALLS).for_each(|_| call());
            start.elapsed().as_nanos() as f64 / f64::from(CALLS)
        };
        (0..200).map(round).fold(f64::MAX, f64::min)
    }

    #[test]
    fn the_cut_bytes_of_an_event_are_refused_or_shorter_but_never_a_panic() {
        let event = Event::new("e").with("a", 1).with("b", 1.5).with("c", "three").with("d", i64::MIN);
        for len in 0..event.bytes().len() {
            let _ = admission(Declared::Any).admit(&event.bytes()[..len], false, |_| {});
        }
    }
}
