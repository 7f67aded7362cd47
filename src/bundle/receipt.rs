//! What a host that delivered a bundle says became of its events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::block::{Addresses, Epoch};

/// The version of the record below.
pub(crate) const RECEIPT_VERSION: u32 = 1;

/// A receipt: each event of the bundle stands in it once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) milepost_receipt: u32,
    pub(crate) bundle: Uuid,
    /// The bundle's own sum, in hexadecimal.
    pub(crate) bundle_sha256: String,
    /// Which installation the bundle is of.
    pub(crate) installation: Epoch,
    pub(crate) product: String,
    /// RFC 3339, by the clock of the host that wrote it.
    pub(crate) made_at: String,
    /// How many events of each kind, for people.
    pub(crate) counts: Counts,
    pub(crate) delivered: Addresses,
    /// By reason: who refused them, and how.
    pub(crate) refused: BTreeMap<String, Addresses>,
    pub(crate) waiting: Addresses,
}

/// How many events met which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) delivered: u64,
    pub(crate) refused: u64,
    pub(crate) waiting: u64,
}

impl Receipt {
    /// All that were refused, for whatever reason.
    pub(crate) fn all_refused(&self) -> Addresses {
        let mut all = Addresses::default();
        self.refused.values().for_each(|addresses| all.add_all(addresses));
        all
    }

    pub(crate) fn count(&mut self) {
        self.counts = Counts {
            delivered: self.delivered.count(),
            refused: self.refused.values().map(Addresses::count).sum(),
            waiting: self.waiting.count(),
        };
    }
}
