//! Reads the owed events of parcels.

use std::sync::Arc;

use uuid::Uuid;

use super::Damage;
use crate::block::{Address, BlockError, Class, Origin, Record, event_id, milestone_id, read_block};
use crate::delivery::Parcel;
use crate::event::Value;

/// An event that is owed, as its block has it.
pub(in crate::delivery) struct Owed<'a> {
    pub(in crate::delivery) origin: &'a Arc<Origin>,
    pub(in crate::delivery) class: Class,
    pub(in crate::delivery) address: Address,
    /// How many events were ever written to its journal, where that is known.
    pub(in crate::delivery) journal_events: Option<u32>,
    /// The same only for the same event: by it a receiver knows a repeat.
    pub(in crate::delivery) id: Uuid,
    /// Microseconds since the Unix epoch.
    pub(in crate::delivery) time: u64,
    pub(in crate::delivery) name: &'a str,
    pub(in crate::delivery) properties: &'a [(&'a str, Value<'a>)],
}

/// What was found in parcels.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Readout {
    pub(in crate::delivery) events: u64,
    pub(in crate::delivery) damaged: Vec<Damage>,
    pub(in crate::delivery) manifest: Manifest,
}

/// Which events a request has: names, and the ids of neighbours that have the name in common.
pub(crate) type Manifest = Vec<(String, Vec<Uuid>)>;

/// Calls `take` for each owed event of `parcels`, in their order.
pub(in crate::delivery) fn read(parcels: &[Parcel], mut take: impl FnMut(Owed<'_>)) -> Readout {
    let mut readout = Readout::default();
    for (number, parcel) in parcels.iter().enumerate() {
        let read = read_parcel(parcel, &mut |owed| {
            match readout.manifest.last_mut() {
                Some((name, ids)) if name == owed.name => ids.push(owed.id),
                _ => readout.manifest.push((owed.name.to_owned(), vec![owed.id])),
            }
            take(owed);
        });
        readout.events += u64::from(read.count_ones());
        if read != parcel.owed {
            readout.damaged.push(Damage { parcel: number, events: parcel.owed & !read });
        }
    }
    readout
}

/// Calls `take` for each of the parcel's owed events, and returns which it could read.
fn read_parcel(parcel: &Parcel, take: &mut impl FnMut(Owed<'_>)) -> u128 {
    let mut read = 0;
    // What is behind a record that cannot be decoded is lost with it. The events before it are whole.
    let mut read_block = || -> Result<(), BlockError> {
        let block = read_block(&parcel.block)?;
        let (origin, class) = (&parcel.origin, block.class);
        let raw = block.raw()?;
        let mut properties = Vec::new();
        for (bit, record) in block.records(&raw).enumerate() {
            let record = record?;
            if parcel.owed >> bit & 1 == 1 {
                properties.clear();
                for property in record.properties() {
                    properties.push(property?);
                }
                read |= 1 << bit;
                let id = match class {
                    Class::Milestone => milestone_id(&origin.device_id, &origin.product, record.name),
                    Class::Latest | Class::Bulk => event_id(record.address, record.time),
                };
                let Record { address, time, name, .. } = record;
                let (journal_events, properties) = (parcel.journal_events, &properties[..]);
                take(Owed { origin, class, address, journal_events, id, time, name, properties });
            }
        }
        Ok(())
    };
    if let Err(err) = read_block() {
        log::warn!("a block that is owed cannot be read: {err}");
    }
    read
}
