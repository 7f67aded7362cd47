//! What would be sent, in the order in which it would go. Nothing is taken in or changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::census;
use super::engine::Engine;
use crate::block::{Block, BlockError, Class, Kind, Origin, Record, event_id, milestone_id, read_block};
use crate::clock;
use crate::delivery::{Format, Parcel};
use crate::error::{Error, Result};
use crate::event::Value;
use crate::installation::Installation;
use crate::journal::Contents;
use crate::limits::BATCH_BLOCK_BYTES_MAX;
use crate::product::{Mode, Routing};
use crate::spool::{Exports, LOCAL, Lease, Shares};

/// An event that waits. As JSON it is a line of `milepost peek`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PeekedEvent {
    /// The id by which a receiver recognises a repeat.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was enqueued, RFC 3339 with microseconds.
    pub time: String,
    /// What it says.
    #[serde(serialize_with = "as_object")]
    pub properties: Vec<(String, Value<'static>)>,
    /// Whether it is on a bundle: then it waits for a receipt, and is not sent from here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exported: bool,
}

impl PeekedEvent {
    pub(super) fn new(record: &Record<'_>, class: Class, origin: &Origin) -> Result<Self, BlockError> {
        let id = match class {
            Class::Milestone => milestone_id(&origin.device_id, &origin.product, record.name),
            Class::Latest | Class::Bulk => event_id(record.address, record.time),
        };
        let owned = |(key, value): (&str, Value<'_>)| (key.to_owned(), value.into_owned());
        Ok(Self {
            id: id.to_string(),
            name: record.name.into(),
            time: clock::rfc3339(record.time),
            properties: record.properties().map(|property| property.map(owned)).collect::<Result<_, _>>()?,
            exported: false,
        })
    }
}

/// Shows every parcel that waits, in the order in which the store would have it: milestones, each once, whose
/// journals are taken in first; then what is in the store, and what is in journals. `show` ends it by saying no.
pub(super) fn parcels(
    installation: &Installation,
    engine: Option<&Engine>,
    whose: Whose<'_>,
    show: &mut dyn FnMut(Parcel) -> Result<bool>,
) -> Result<()> {
    let mut walk = Walk { engine, whose, reached: HashSet::new(), show };
    for urgent in [true, false] {
        let go_on = walk.store(urgent)?
            && walk.directory(&installation.taken(), urgent)?
            && walk.directory(&installation.journals(), urgent)?;
        if !go_on {
            break;
        }
    }
    Ok(())
}

/// Of whose events it is about.
#[derive(Clone, Copy)]
pub(super) struct Whose<'a> {
    pub(super) routing: &'a Routing,
    /// The only destination; `None` for all of them: an event that several get is shown once.
    pub(super) only: Option<&'a str>,
}

impl Whose<'_> {
    /// Those of a block's events that somebody gets whom it is about.
    fn events(&self, block: &Block<'_>, events: u128, mode: Mode) -> u128 {
        let shares = Shares::new(self.routing, mode, block, events);
        match self.only {
            Some(name) => shares.events(name),
            None => events & !shares.unrouted,
        }
    }
}

/// A walk over what waits. Each step says whether to go on.
struct Walk<'a> {
    engine: Option<&'a Engine>,
    whose: Whose<'a>,
    /// Milestones that were shown.
    reached: HashSet<String>,
    show: &'a mut dyn FnMut(Parcel) -> Result<bool>,
}

impl Walk<'_> {
    /// Shows what is in the store: milestones where it is `urgent`, all else where not.
    fn store(&mut self, urgent: bool) -> Result<bool> {
        let Some(engine) = self.engine else { return Ok(true) };
        for (lease, is_local) in self.leases(engine) {
            if (lease.key.class == Class::Milestone) == urgent {
                let (block, origin) = engine.spool.block(&lease)?;
                // Of what was included later, the destination says more than the origin.
                let mode = if is_local { Mode::Local } else { Mode::On };
                let origin =
                    if origin.mode == mode { origin } else { Origin { mode, ..(*origin).clone() }.into() };
                let journal_events = engine.spool.journal_events(&lease);
                if !(self.show)(Parcel { block, owed: lease.events, origin, journal_events })? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// What those are owed of the store whom it is about, each block once, and whether it stays on this host.
    fn leases(&self, engine: &Engine) -> Vec<(Lease, bool)> {
        let mut leases: BTreeMap<_, (Lease, bool)> = BTreeMap::new();
        for lease in engine.spool.waiting() {
            let name = engine.spool.name(&lease);
            if self.whose.only.is_some_and(|only| only != name) {
                continue;
            }
            let is_local = name == LOCAL;
            let key = (is_local, lease.key.class, lease.key.sequence);
            leases.entry(key).or_insert((lease, is_local)).0.events |= lease.events;
        }
        leases.into_values().collect()
    }

    /// Shows what is in journals and not in the store: the milestones of those that end in one where it is
    /// `urgent`, all else where not.
    fn directory(&mut self, directory: &Path, urgent: bool) -> Result<bool> {
        for name in census::names(directory).into_iter().filter(|name| !urgent || name.is_now()) {
            // One that is gone was taken in or delivered a moment ago.
            let Ok(contents) = Contents::open(&directory.join(name.to_string())) else { continue };
            let place = self.engine.map_or(0, |engine| engine.spool.place(&name.to_string()));
            let events = Some(contents.next()).filter(|events| *events > 0);
            let mut origins: HashMap<_, Arc<Origin>> = HashMap::new();
            for (block, end) in contents.blocks_with_ends() {
                if let (Kind::Origin, Ok(origin)) = (block.kind, block.note::<Origin>()) {
                    origins.insert(block.origin, origin.into());
                }
                let waits = block.kind == Kind::Events && end > place;
                let Some(origin) = origins.get(&block.origin).filter(|_| waits).cloned() else { continue };
                let is_milestone = block.class == Class::Milestone;
                let is_turn = !name.is_now() || is_milestone == urgent;
                let counts_here = is_milestone && origin.carried.is_none();
                if !is_turn || counts_here && !self.is_news(&block) {
                    continue;
                }
                let is_carried = block.journal != contents.header.id;
                let spool = self.engine.map(|engine| &engine.spool).filter(|_| is_carried);
                let owed = spool.map_or(block.all(), |spool| spool.lets_in(&block));
                let owed = self.whose.events(&block, owed, origin.mode);
                if owed == 0 {
                    continue;
                }
                let block = block.bytes.to_vec();
                let journal_events = events.filter(|_| !is_carried);
                if !(self.show)(Parcel { block, owed, origin, journal_events })? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether a milestone will go: it was not reached before, and stands in no journal before this one.
    fn is_news(&mut self, block: &Block<'_>) -> bool {
        let known = |name: &str| self.engine.is_some_and(|engine| engine.spool.is_reached(name));
        block.first_name().is_none_or(|name| !known(&name) && self.reached.insert(name))
    }
}

/// Shows the events of a parcel, one by one.
pub(super) fn events(
    parcel: &Parcel,
    exports: &Exports,
    show: &mut dyn FnMut(PeekedEvent) -> bool,
) -> Result<bool> {
    let damaged =
        |error| Error::new(crate::ErrorKind::Corrupt, "a block that waits cannot be read").with_source(error);
    let block = read_block(&parcel.block).map_err(damaged)?;
    let raw = block.raw().map_err(damaged)?;
    let on_bundles = exports.waiting(&block);
    for (bit, record) in block.records(&raw).enumerate() {
        let record = record.map_err(damaged)?;
        let is_there = |events: u128| events >> bit & 1 == 1;
        if !is_there(parcel.owed) {
            continue;
        }
        let event = PeekedEvent::new(&record, block.class, &parcel.origin).map_err(damaged)?;
        if !show(PeekedEvent { exported: is_there(on_bundles), ..event }) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gathers parcels into the bodies that a format would send.
pub(super) struct Bodies<'a> {
    pub(super) format: Format,
    /// Most events that a request has.
    pub(super) events_max: usize,
    /// Events that may still be shown.
    pub(super) left: u64,
    pub(super) parcels: Vec<Parcel>,
    pub(super) show: &'a mut dyn FnMut(&[u8]),
}

impl Bodies<'_> {
    /// Adds a parcel, unless it stays on this host; `false` once enough was shown.
    pub(super) fn add(&mut self, mut parcel: Parcel) -> bool {
        if parcel.origin.mode == Mode::Local {
            return true;
        }
        while u64::from(parcel.owed.count_ones()) > self.left {
            parcel.owed &= !(1 << (127 - parcel.owed.leading_zeros()));
        }
        self.left -= u64::from(parcel.owed.count_ones());
        let events = |parcel: &Parcel| parcel.owed.count_ones() as usize;
        let waiting: usize = self.parcels.iter().map(events).sum();
        let bytes: usize = self.parcels.iter().map(|parcel| parcel.block.len()).sum();
        let full = waiting + events(&parcel) > self.events_max
            || (bytes + parcel.block.len()) as u64 > BATCH_BLOCK_BYTES_MAX;
        if full {
            self.send();
        }
        self.parcels.push(parcel);
        self.left > 0
    }

    /// Shows what was gathered: in several requests, where a block has more events than one of this format.
    pub(super) fn send(&mut self) {
        self.parcels.retain(|parcel| parcel.owed != 0);
        while !self.parcels.is_empty() {
            let mut left = self.events_max as u32;
            let mut batch = self.parcels.clone();
            for (parcel, owed) in batch.iter_mut().zip(&mut self.parcels) {
                while parcel.owed.count_ones() > left {
                    parcel.owed &= !(1 << (127 - parcel.owed.leading_zeros()));
                }
                left -= parcel.owed.count_ones();
                owed.owed &= !parcel.owed;
            }
            batch.retain(|parcel| parcel.owed != 0);
            self.parcels.retain(|parcel| parcel.owed != 0);
            (self.show)(&self.format.encode(&batch).body);
        }
    }
}

fn as_object<S: Serializer>(
    properties: &[(String, Value<'static>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_map(Some(properties.len()))?;
    for (key, value) in properties {
        match value {
            Value::Bool(flag) => object.serialize_entry(key, flag)?,
            Value::Int(number) => object.serialize_entry(key, number)?,
            Value::Float(number) => object.serialize_entry(key, number)?,
            Value::Text(text) => object.serialize_entry(key, text)?,
        }
    }
    object.end()
}
