//! Whose events they are.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::address::{Epoch, named_bytes};
use super::codec::encode;
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
}

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
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch::of(&self.device_id)
    }
}
