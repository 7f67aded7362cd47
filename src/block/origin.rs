//! Whose events they are.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::address::{Epoch, named_bytes};
use super::codec::{decode, encode};
use crate::product::Mode;

/// Who wrote the events of a block, as it was when they happened.
///
/// The wire's resource is built from this alone, never from the process that happens to deliver: an event of
/// 3.8.8 stays one of 3.8.8 when 3.9.0 delivers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) device_id: String,
    pub(crate) product: String,
    pub(crate) product_version: String,
    /// The runtime's name (`python`, `node`); empty where the product has none.
    pub(crate) runtime: String,
    pub(crate) runtime_version: String,
    /// What `uname -s` prints: `Linux`, `Darwin`.
    pub(crate) platform: String,
    /// What `uname -m` prints: `x86_64`, `arm64`.
    pub(crate) architecture: String,
    pub(crate) mode: Mode,
    pub(crate) ephemeral: bool,
    pub(crate) container: bool,
    /// The version of milepost.
    pub(crate) library: String,
    /// How they came here, where a bundle brought them. Later than the fields above: of an origin that nobody
    /// brought, the bytes are what they always were, and so is its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) carried: Option<Carried>,
}

/// How events came from another installation. Each time is by the clock of the host that it names, since offline
/// time is wrong time: what they differ by is for a receiver to correct.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Carried {
    pub(crate) bundle: Uuid,
    /// Microseconds since the Unix epoch by the clock that they were exported by.
    pub(crate) exported: u64,
    /// The same by the clock that they were imported by.
    pub(crate) imported: u64,
    /// Whose consent they are here under: the importing installation's.
    pub(crate) epoch: Epoch,
}

/// An origin as it was first.
type First = (String, String, String, String, String, String, String, Mode, bool, bool, String);

/// The UUIDv5 of an origin's bytes: blocks name their origin by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct OriginId(pub(crate) Uuid);

impl Origin {
    pub(crate) fn id(&self) -> OriginId {
        OriginId(named_bytes(&encode(self)))
    }

    /// An origin for tests.
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self {
            device_id: "d".into(),
            product: "prefect".into(),
            product_version: "3.8.8".into(),
            runtime: "python".into(),
            runtime_version: "3.11.7".into(),
            platform: "Linux".into(),
            architecture: "x86_64".into(),
            mode: Mode::On,
            ephemeral: false,
            container: false,
            library: "0.1.0".into(),
            carried: None,
        }
    }

    /// Under which installation's consent its events are here.
    pub(crate) fn epoch(&self) -> Epoch {
        self.carried.as_ref().map_or_else(|| Epoch::of(&self.device_id), |carried| carried.epoch)
    }

    /// What may stand at the start of some bytes of which nobody knows where they end.
    pub(crate) fn at_start_of(bytes: &[u8]) -> impl Iterator<Item = Self> {
        let first = decode::<First>(bytes).ok().map(|first| Self {
            device_id: first.0,
            product: first.1,
            product_version: first.2,
            runtime: first.3,
            runtime_version: first.4,
            platform: first.5,
            architecture: first.6,
            mode: first.7,
            ephemeral: first.8,
            container: first.9,
            library: first.10,
            carried: None,
        });
        let grown = decode::<Self>(bytes).ok().filter(|origin| origin.carried.is_some());
        first.into_iter().chain(grown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::decode_grown;

    #[test]
    fn an_origin_that_nobody_brought_has_the_bytes_and_the_id_that_it_always_had() {
        let origin = Origin::sample();
        let first: First = decode(&encode(&origin)).unwrap();
        assert_eq!(encode(&first), encode(&origin));
        assert_eq!(decode_grown::<Origin>(&encode(&origin)).unwrap(), origin);
    }

    #[test]
    fn what_was_brought_is_another_origin_and_both_are_found_among_other_bytes() {
        let epoch = Epoch::of("importer");
        let carried = Carried { bundle: Uuid::from_u128(7), exported: 5, imported: 9, epoch };
        let origin = Origin { carried: Some(carried), ..Origin::sample() };
        assert_ne!(origin.id(), Origin::sample().id());
        assert_eq!(origin.epoch(), epoch);
        assert_eq!(decode_grown::<Origin>(&encode(&origin)).unwrap(), origin);
        for origin in [origin, Origin::sample()] {
            for rest in [[0; 9], [1; 9], [200; 9]] {
                let bytes = [encode(&origin), rest.to_vec()].concat();
                assert!(Origin::at_start_of(&bytes).any(|found| found == origin));
            }
        }
    }
}
