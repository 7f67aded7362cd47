//! What has to hold once the power is back: a worker goes on in what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use milepost::{Admin, Client, DeadEvent, DropReason, ErrorKind, Event, Product, Status, Value};

use crate::common::LONG;
use crate::common::receiver::{self, Receiver};
use crate::recording::{Operation, Recording};
use crate::scenario::{Answer, bundle};

/// What an event is known by to everybody: its number, or the milestone's name.
type Key = String;

/// In the number's place, for the event that is enqueued after a cut.
const AFTER: &str = "after";

/// What was promised and delivered at which operation of a recording.
pub(crate) struct Story {
    /// From the operation of the promise to the one from which on the event may have been purged.
    promised: BTreeMap<Key, Range<usize>>,
    delivered: BTreeMap<Key, (usize, receiver::Event)>,
    /// When a bundle was announced, and when its receipt was acknowledged.
    exported: Option<usize>,
    acknowledged: Option<usize>,
}

/// What a cut came to.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Events whose `sync` had returned, and that are nowhere.
    missing: Vec<Key>,
    /// What else should not be.
    wrong: Vec<String>,
    /// Whether the store was not right, and was filled again.
    pub(crate) refilled: bool,
    /// Events that the receiver had before.
    pub(crate) repeats: usize,
}

impl Verdict {
    pub(crate) fn is_loss(&self) -> bool {
        !self.missing.is_empty() || !self.wrong.is_empty()
    }
}

impl Story {
    pub(crate) fn new(recording: &Recording, answers: &[Answer]) -> Self {
        let mut story = Self {
            promised: BTreeMap::new(),
            delivered: BTreeMap::new(),
            exported: None,
            acknowledged: None,
        };
        for (at, operation) in recording.operations.iter().enumerate() {
            match operation {
                Operation::Promise(promise) => story.promise(at, promise),
                Operation::Answer(number) if answers[*number].0 == 200 => {
                    for event in &answers[*number].1 {
                        let first = story.delivered.entry(key(event)).or_insert_with(|| (at, event.clone()));
                        assert_eq!(first.1, *event, "a repeat says something else");
                    }
                }
                _ => {}
            }
        }
        story
    }

    fn promise(&mut self, at: usize, promise: &str) {
        let words: Vec<_> = promise.split(' ').collect();
        let keys = |first: &str, last: &str| {
            let numbers = first.parse::<u64>().unwrap()..=last.parse().unwrap();
            numbers.map(|number| number.to_string())
        };
        match words[..] {
            ["synced", first, last] => {
                self.promised.extend(keys(first, last).map(|key| (key, at..usize::MAX)));
            }
            ["reached", milestone] => drop(self.promised.insert(milestone.into(), at..usize::MAX)),
            ["purged", first, last] => keys(first, last).for_each(|key| {
                self.promised.entry(key).and_modify(|promised| promised.end = at);
            }),
            ["exported"] => self.exported = Some(at),
            ["acknowledged"] => self.acknowledged = Some(at),
            _ => panic!("{promise:?} is no promise"),
        }
    }

    /// Goes on in `home`, where the power failed before operation `at`. What had been promised by then was
    /// delivered by then, or is delivered now, or is a dead letter.
    pub(crate) fn go_on(&self, at: usize, home: &Path, product: &Product) -> Verdict {
        let found = match Found::in_home(home, product) {
            Ok(found) => found,
            Err(error) => {
                return Verdict {
                    wrong: vec![format!("it does not go on: {error:?}")],
                    ..Verdict::default()
                };
            }
        };
        let before = self.delivered.iter().filter(|(_, (answered, _))| *answered < at);
        let before: BTreeMap<&str, &receiver::Event> =
            before.map(|(key, (_, event))| (key.as_str(), event)).collect();
        let now: BTreeMap<Key, &receiver::Event> =
            found.taken.iter().map(|event| (key(event), event)).collect();
        let dead: BTreeMap<Key, &DeadEvent> = found.dead.iter().map(|dead| (dead_key(dead), dead)).collect();
        let delivered: BTreeSet<&str> =
            before.keys().copied().chain(now.keys().map(String::as_str)).collect();
        let promised = self.promised.iter().filter(|(_, promised)| promised.start < at && at <= promised.end);
        let missing =
            promised.filter(|(key, _)| !delivered.contains(key.as_str()) && !dead.contains_key(*key));

        let mut wrong: Vec<String> = found.reason.into_iter().collect();
        if now.len() < found.taken.len() || dead.len() < found.dead.len() {
            wrong.push("one flush delivered an event twice, or there are two dead letters of it".into());
        }
        for (key, event) in &now {
            if let Some((_, first)) = self.delivered.get(key).filter(|(_, first)| !is_same(first, event)) {
                wrong.push(format!("{key} is not what it was: {first:?}, {event:?}"));
            }
        }
        let now_ids = now.iter().filter(|(key, _)| !before.contains_key(key.as_str()));
        let ids: BTreeSet<&str> =
            before.values().chain(now_ids.map(|(_, event)| event)).map(|event| event.id.as_str()).collect();
        if ids.len() < delivered.len() {
            wrong.push(format!("{} events have {} ids", delivered.len(), ids.len()));
        }
        let was_said = |promise: Option<usize>| promise.is_some_and(|said| said < at);
        if was_said(self.exported) && !(found.bundle_is_whole && found.cancelled.is_some()) {
            wrong.push("a bundle was announced, and is not whole, or nobody knows what is on it".into());
        }
        if was_said(self.acknowledged) && found.cancelled != Some(0) {
            wrong.push(format!("after its receipt {:?} events of a bundle wait", found.cancelled));
        }
        if !now.contains_key(AFTER) {
            wrong.push("what came after was not delivered".into());
        }
        if !balances(&found.status, delivered.len() as u64, dead.len() as u64) {
            let (delivered, dead, status) = (delivered.len(), dead.len(), &found.status);
            wrong.push(format!(
                "{delivered} were delivered and {dead} are dead, and the books say {status:?}"
            ));
        }
        Verdict {
            missing: missing.map(|(key, _)| key.clone()).collect(),
            wrong,
            refilled: found.refilled,
            repeats: now.keys().filter(|key| before.contains_key(key.as_str())).count(),
        }
    }
}

/// Whether the books say so and balance, with nothing left to wait. What was never promised may have been torn, and
/// may have been collected under an id that the cut took.
fn balances(status: &Status, delivered: u64, dead: u64) -> bool {
    let dropped: u64 = status.dropped.values().sum();
    let may_drop = |reason: &DropReason| {
        matches!(reason, DropReason::Damaged | DropReason::Consent | DropReason::Purged)
    };
    status.accepted == delivered + dead + dropped
        && (status.delivered, status.dead, status.waiting.events) == (delivered, dead, 0)
        && status.dropped.keys().all(may_drop)
        && status.trouble.is_none()
}

/// What is in a home after a cut, once everything was delivered.
struct Found {
    taken: Vec<receiver::Event>,
    dead: Vec<DeadEvent>,
    status: Status,
    /// Why not everything was delivered.
    reason: Option<String>,
    refilled: bool,
    bundle_is_whole: bool,
    /// Events that were on a bundle, as far as somebody knows what is on it, and are sent from here now.
    cancelled: Option<u64>,
}

impl Found {
    fn in_home(home: &Path, product: &Product) -> milepost::Result<Self> {
        let receiver = Receiver::good();
        let bundle_is_whole = Admin::inspect(&bundle(home), &[]).is_ok();
        let home = home.join(".acme-worker");
        let named = named_store(&home.join("telemetry"));
        let builder = Client::builder(product.clone()).home(&home).endpoint(receiver.url());
        let mut cancelled = None;
        for entry in std::fs::read_dir(home.join("telemetry/exports")).into_iter().flatten() {
            // What was being written when the power failed is none.
            let id = entry.unwrap().file_name().into_string().unwrap();
            match builder.clone().admin()?.cancel_export(&id) {
                Err(error) if error.kind() == ErrorKind::Invalid || id.starts_with('.') => {}
                events => cancelled = Some(cancelled.unwrap_or(0) + events?),
            }
        }
        let client = builder.clone().build()?;
        client.enqueue(Event::new("job_finished").with("number", AFTER));
        let report = client.flush(LONG)?;
        client.shutdown(LONG)?;
        let admin = builder.admin()?;
        let dead = admin.dead()?;
        let stores = std::fs::read_dir(home.join("telemetry/spool")).unwrap();
        let mut names = stores.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        Ok(Self {
            taken: receiver.taken(),
            dead,
            status: admin.status(),
            reason: report.reason,
            bundle_is_whole,
            cancelled,
            refilled: names.any(|name| named.is_some() && name.split('-').nth(2) == named.as_deref()),
        })
    }
}

/// The number of the store that the ledger names. When that one is set aside, it is filled again; another was only
/// just made, or is done with.
fn named_store(telemetry: &Path) -> Option<String> {
    let ledger = std::fs::read_to_string(telemetry.join("ledger")).ok()?;
    let json: serde_json::Value = serde_json::from_str(ledger.lines().next()?).ok()?;
    Some(json["store"].to_string())
}

fn key(event: &receiver::Event) -> Key {
    let number = event.properties.get("number");
    number.map_or_else(|| event.name.clone(), |number| number.to_string().trim_matches('"').to_owned())
}

fn dead_key(dead: &DeadEvent) -> Key {
    match dead.event.properties.iter().find(|(key, _)| key == "number") {
        Some((_, Value::Int(number))) => number.to_string(),
        _ => panic!("no such event was poison: {dead:?}"),
    }
}

/// How many events its journal held is said where that is known; all else is what it was.
fn is_same(first: &receiver::Event, event: &receiver::Event) -> bool {
    let uncounted = |event: &receiver::Event| {
        let (journal, index, _) = event.address.clone();
        receiver::Event { address: (journal, index, None), ..event.clone() }
    };
    uncounted(first) == uncounted(event)
}
