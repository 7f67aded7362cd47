//! What stands first in a bundle, for people and `head`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{MAGIC, VERSION};
use crate::block::Epoch;
use crate::limits::BUNDLE_HEAD_BYTES;

/// What a bundle says of itself. `head` shows it, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Bundle {
    /// The version of its layout.
    pub milepost_bundle: u32,
    /// Its id.
    pub bundle: String,
    /// Which installation exported it: a hash of its device id.
    pub installation: String,
    /// Whose program exported it.
    pub product: String,
    /// In which version.
    pub product_version: String,
    /// When it was made by the clock of the host that made it, RFC 3339.
    pub exported_at: String,
    /// The same in microseconds since the Unix epoch.
    pub exported_micros: u64,
    /// Which of several files it is, from 1 on.
    pub part: u32,
    /// Events in it.
    pub events: u64,
    /// Blocks that they stand in.
    pub blocks: u64,
    /// Bytes of these blocks.
    pub bytes: u64,
    /// Installations and versions that the events are of.
    pub origins: u64,
    /// When its oldest block begins, RFC 3339.
    pub oldest: Option<String>,
    /// When its newest block begins, RFC 3339.
    pub newest: Option<String>,
}

impl Bundle {
    pub(crate) fn id(&self) -> Uuid {
        // It was looked at when it was read.
        Uuid::try_parse(&self.bundle).unwrap_or_default()
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(Uuid::try_parse(&self.installation).unwrap_or_default())
    }

    /// The first bytes of its file. `None` where they do not fit.
    pub(super) fn head(&self) -> Option<Vec<u8>> {
        let text = serde_json::to_string_pretty(self).ok()?;
        let mut head = [&MAGIC[..], text.as_bytes(), b"\n"].concat();
        if head.len() >= BUNDLE_HEAD_BYTES {
            return None;
        }
        head.resize(BUNDLE_HEAD_BYTES - 1, b' ');
        head.push(b'\n');
        Some(head)
    }

    /// Reads the first bytes of a file.
    pub(super) fn read(head: &[u8]) -> Result<Self, String> {
        let text = head.strip_prefix(&MAGIC).ok_or_else(|| not_a_bundle(head))?;
        let bundle: Self = serde_json::from_slice(text).map_err(|_| "its summary cannot be read")?;
        if bundle.milepost_bundle > VERSION {
            let version = bundle.milepost_bundle;
            return Err(format!("it was written by a newer version of milepost (format {version})"));
        }
        for id in [&bundle.bundle, &bundle.installation] {
            Uuid::try_parse(id).map_err(|_| "its summary has an id that is none")?;
        }
        Ok(bundle)
    }
}

fn not_a_bundle(head: &[u8]) -> String {
    let is_near = head.windows(3).take(8).any(|window| window == b"MPB");
    if is_near { "it was changed on its way, as text" } else { "it is no bundle" }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_reads_back_and_head_shows_it() {
        let bundle = Bundle {
            milepost_bundle: VERSION,
            bundle: Uuid::from_u128(1).to_string(),
            installation: Uuid::from_u128(2).to_string(),
            product: "acme".into(),
            product_version: "1".into(),
            exported_at: "2026-11-24T09:00:00Z".into(),
            exported_micros: 5,
            part: 1,
            events: 10,
            blocks: 1,
            bytes: 100,
            origins: 1,
            oldest: None,
            newest: None,
        };
        let head = bundle.head().unwrap();
        assert_eq!(head.len(), BUNDLE_HEAD_BYTES);
        assert_eq!(Bundle::read(&head).unwrap(), bundle);
        let text = String::from_utf8_lossy(&head).into_owned();
        assert!(text.lines().any(|line| line.trim() == r#""events": 10,"#), "{text}");
        let unix: Vec<u8> = text.replace("\r\n", "\n").into_bytes();
        assert!(Bundle::read(&unix).unwrap_err().contains("as text"));
        assert!(Bundle::read(b"PK").unwrap_err().contains("no bundle"));
        let long = Bundle { product: "x".repeat(BUNDLE_HEAD_BYTES), ..bundle };
        assert!(long.head().is_none());
    }
}
