//! Who gets which events of a block.

use super::{DEFAULT, LOCAL};
use crate::block::Block;
use crate::product::{Mode, Routing};

/// Events of one block by destination: those of one that several get stand with each of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) shares: Vec<(String, u128)>,
    /// Events that nobody gets.
    pub(crate) unrouted: u128,
}

impl Shares {
    /// These events of a block that was written in this mode.
    pub(crate) fn new(routing: &Routing, mode: Mode, block: &Block<'_>, events: u128) -> Self {
        match mode {
            Mode::Local => Self::of(LOCAL, events),
            Mode::On | Mode::Off => Self::routed(routing, block, events),
        }
    }

    /// All of them for one.
    pub(super) fn of(destination: &str, events: u128) -> Self {
        Self { shares: vec![(destination.to_owned(), events)], unrouted: 0 }
    }

    fn routed(routing: &Routing, block: &Block<'_>, events: u128) -> Self {
        let mut shares: Vec<_> = routing.names().iter().map(|name| (name.clone(), 0)).collect();
        // Where no name counts, and where none can be read: whoever is to send it finds that out, and says so.
        let raw = (!routing.is_plain()).then(|| block.raw().ok()).flatten();
        let Some(raw) = raw else {
            shares.iter_mut().for_each(|share| share.1 = events);
            return Self { shares, unrouted: 0 };
        };
        let mut unrouted = events;
        for (bit, record) in block.records(&raw).enumerate() {
            let event = events & 1 << bit;
            let to = record.as_ref().map_or(routing.names(), |record| routing.of_event(record.name));
            for share in shares.iter_mut().filter(|share| to.contains(&share.0)) {
                share.1 |= event;
                unrouted &= !event;
            }
        }
        shares.retain(|share| share.1 != 0);
        Self { shares, unrouted }
    }

    /// Each with what is booked under its name: what nobody gets is the default's.
    pub(super) fn accounts(&self) -> impl Iterator<Item = (&str, u128)> {
        let unrouted = (self.unrouted != 0).then_some((DEFAULT, self.unrouted));
        self.shares.iter().map(|(name, events)| (name.as_str(), *events)).chain(unrouted)
    }

    /// Each of them once.
    pub(super) fn all(&self) -> u128 {
        self.accounts().fold(0, |all, (_, events)| all | events)
    }

    /// Whether nobody gets any.
    pub(super) fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// What this destination gets.
    pub(crate) fn events(&self, destination: &str) -> u128 {
        self.shares.iter().find(|share| share.0 == destination).map_or(0, |share| share.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BlockBuilder, Class, JournalId, Origin, read_block};
    use crate::product::Destination;
    use crate::{Event, Product};

    #[test]
    fn each_event_goes_to_whom_its_name_is_routed() {
        let (mut builder, mut bytes) = (BlockBuilder::new(), Vec::new());
        for name in ["job_failed", "job_done", "other", "job_failed"] {
            builder.push(1, Event::new(name).bytes());
        }
        builder.seal(JournalId::random(), 0, Class::Bulk, Origin::sample().id(), &mut bytes);
        let block = read_block(&bytes).unwrap();
        let there = |name: &str| Destination::new(name).endpoint("http://127.0.0.1/");
        let product = Product::new("a", "1").destination(there("a")).destination(there("b"));
        let shares = |product: &Product, mode, events| Shares::new(&product.routing(), mode, &block, events);
        let both = |events| vec![("a".to_owned(), events), ("b".to_owned(), events)];
        assert_eq!(shares(&product, Mode::On, 0b0111), Shares { shares: both(0b0111), unrouted: 0 });
        assert_eq!(shares(&product, Mode::Local, 0b0111), Shares::of(LOCAL, 0b0111));

        let product = product.route("job_failed", ["b"]).route("job_*", ["a", "b"]);
        let some = vec![("a".to_owned(), 0b0010), ("b".to_owned(), 0b1011)];
        assert_eq!(shares(&product, Mode::On, 0b1111), Shares { shares: some, unrouted: 0b0100 });
        let one = vec![("b".to_owned(), 0b0001)];
        assert_eq!(shares(&product, Mode::On, 0b0001), Shares { shares: one, unrouted: 0 });
    }
}
