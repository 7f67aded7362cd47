//! What a host that delivered a bundle says became of its events.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sign::{PublicKey, SecretKey, Signed};
use crate::block::{Addresses, Epoch};
use crate::sum::{hex, seal, sum_of, unhex, unseal};

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

/// What a signature's line begins with.
const SIGNATURE: &str = "ed25519 ";

impl Receipt {
    /// As a file, signed where there is a key.
    pub(crate) fn to_bytes(&self, key: Option<&SecretKey>) -> io::Result<Vec<u8>> {
        let mut bytes = seal(self)?;
        if let Some(key) = key {
            let signature = key.sign(Signed::Receipt, &sum_of(sealed(&bytes)));
            let line = format!("{SIGNATURE}{} {}\n", key.public(), hex(&signature));
            bytes.extend_from_slice(line.as_bytes());
        }
        Ok(bytes)
    }

    /// Reads a file, and says who signed it. `Err` says what is wrong with it.
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, Option<PublicKey>), String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?.trim_end();
        let (sealed_text, signature) = match text.rsplit_once('\n') {
            Some((before, last)) => match last.strip_prefix(SIGNATURE) {
                Some(signature) => (before, Some(signature)),
                None => (text, None),
            },
            None => (text, None),
        };
        let receipt: Self = unseal(sealed_text.as_bytes())?;
        if receipt.milepost_receipt > RECEIPT_VERSION {
            return Err("it was written by a newer version of milepost".into());
        }
        let sum = sum_of(sealed(sealed_text.as_bytes()));
        let signer = signature.map(|line| {
            let (signer, signature) = line.split_once(' ')?;
            let (signer, signature) = (signer.parse::<PublicKey>().ok()?, unhex(signature)?);
            signer.has_signed(Signed::Receipt, &sum, &signature).then_some(signer)
        });
        match signer {
            Some(None) => Err("its signature is wrong".into()),
            signer => Ok((receipt, signer.flatten())),
        }
    }

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

/// The line of a sealed record that its sum is of.
fn sealed(bytes: &[u8]) -> &str {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    text.lines().next().unwrap_or_default()
}
