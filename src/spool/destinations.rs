//! Destinations, as the spool knows them: their numbers, what they are owed, how they last answered.

use super::core::{Destination, Spool};
use super::ledger::LastWord;
use super::queue::Lease;
use crate::product::Routing;

impl Spool {
    /// From now on events that are taken in go to whom `routing` says.
    pub(crate) fn route_by(&mut self, routing: Routing) {
        self.routing = routing;
    }

    /// The number of a destination; made if there is none of that name.
    pub(crate) fn destination(&mut self, name: &str) -> u16 {
        let known = self.meta.destinations.iter().position(|destination| destination.name == name);
        let number = known.unwrap_or_else(|| {
            self.meta.destinations.push(Destination { name: name.into(), witness: None });
            self.meta.destinations.len() - 1
        });
        number as u16
    }

    /// The name of the destination that is owed events.
    pub(crate) fn name(&self, lease: &Lease) -> &str {
        self.meta.destinations.get(lease.key.destination as usize).map_or("", |found| found.name.as_str())
    }

    /// What a destination is owed of what is in the store: events, and bytes of blocks.
    pub(crate) fn owed(&self, destination: u16) -> (u64, u64) {
        let owed = self.queue.owed(destination);
        (owed.events, owed.bytes)
    }

    /// Whether `destination` took a batch under these settings.
    pub(crate) fn is_witness(&self, destination: u16, settings: &str) -> bool {
        let found = self.meta.destinations.get(destination as usize);
        found.is_some_and(|destination| destination.witness.as_deref() == Some(settings))
    }

    /// Remembers that `destination` took a batch under these settings. Durable with the next transaction.
    pub(crate) fn witness(&mut self, destination: u16, settings: &str) {
        if let Some(destination) = self.meta.destinations.get_mut(destination as usize) {
            destination.witness = Some(settings.to_owned());
        }
    }

    /// How a destination last answered, for the ledger.
    pub(crate) fn set_word(&mut self, destination: &str, word: LastWord) {
        self.words.insert(destination.into(), word);
    }

    pub(crate) fn word(&self, destination: &str) -> LastWord {
        self.words.get(destination).cloned().unwrap_or_default()
    }
}
