//! An air gap.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Home;
use super::receiver::Receiver;

/// A host that never sees a network, one that does, and a stick.
pub(crate) struct Gap {
    pub(crate) origin: Home,
    pub(crate) importer: Home,
    pub(crate) stick: tempfile::TempDir,
}

impl Gap {
    pub(crate) fn new() -> Self {
        Self {
            origin: Home::with("mode = \"local\"\n"),
            importer: Home::new(),
            stick: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn on_stick(&self, name: &str) -> String {
        self.stick.path().join(name).to_str().unwrap().to_owned()
    }

    /// The bundle with everything that waits at the origin.
    pub(crate) fn export(&self) -> String {
        let file = self.on_stick("out.bundle");
        let exported = self.origin.json(&["export", &file]);
        assert_eq!(exported["bundles"].as_array().map(Vec::len), Some(1), "{exported}");
        file
    }

    pub(crate) fn receipt(&self, bundle: &str) -> (String, Value) {
        let receipt = self.on_stick("receipt");
        let said = self.importer.json(&["receipt", bundle, "-o", &receipt]);
        (receipt, said)
    }
}

pub(crate) fn ids(receiver: &Receiver) -> BTreeSet<String> {
    receiver.taken().into_iter().map(|event| event.id).collect()
}

pub(crate) fn waiting(home: &Home) -> u64 {
    home.status()["waiting"]["events"].as_u64().unwrap()
}
