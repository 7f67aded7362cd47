//! Whether the installation is still the one that it was.

use std::io;
use std::path::{Path, PathBuf};

use super::device_id;
use crate::consent::Stamp;

/// The device id that somebody works under, and how its file looked then: one `stat` tells whether it still holds.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    path: PathBuf,
    device_id: Option<String>,
    /// `None` where it did not even hold at first.
    stamp: Option<Stamp>,
}

impl Identity {
    pub(super) fn new(directory: &Path, device_id: Option<String>) -> Self {
        let path = directory.join("device_id");
        let mut identity = Self { path, device_id, stamp: None };
        // Read after the stamp: what changes in between shows at the next look.
        let stamp = Stamp::of(&identity.path);
        if identity.is_what_stands_there() {
            identity.stamp = Some(stamp);
        }
        identity
    }

    /// Whether the id is still what it was. One that is damaged is not: whoever puts it right goes on under it.
    pub(crate) fn holds(&mut self) -> bool {
        let stamp = Stamp::of(&self.path);
        let holds = self.stamp.as_ref() == Some(&stamp) || self.is_what_stands_there();
        if holds {
            self.stamp = Some(stamp);
        }
        holds
    }

    pub(crate) fn device_id(&self) -> Option<&str> {
        self.device_id.as_deref()
    }

    fn is_what_stands_there(&self) -> bool {
        match device_id::read(&self.path) {
            Ok(id) => id == self.device_id,
            // What cannot be read now may well be as it was; what makes no sense is not.
            Err(error) => error.kind() != io::ErrorKind::InvalidData || self.device_id.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_went_and_came_back_holds_and_another_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device_id");
        let mut none = Identity::new(directory.path(), None);
        assert!(none.holds());
        std::fs::write(&path, "a").unwrap();
        assert!(!none.holds());
        let mut identity = Identity::new(directory.path(), Some("a".into()));
        assert!(identity.holds());
        std::fs::write(&path, "a").unwrap();
        assert!(identity.holds());
        for other in ["b", ""] {
            std::fs::write(&path, other).unwrap();
            assert!(!identity.holds(), "{other}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(!identity.holds());
        assert!(!Identity::new(directory.path(), Some("a".into())).holds());
    }
}
