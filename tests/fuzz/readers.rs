//! Everything that reads a file which somebody else may have written, each with bytes in place of the file. None of
//! them may panic, hang or take memory without bounds, whatever the bytes are.
//!
//! A sum hides what is behind it from whoever changes bytes at random, so each reader gets its input twice: as it
//! is, and with its sums put right.
#![allow(dead_code, reason = "a fuzz target needs one of them")]

use std::ops::Range;
use std::path::{Path, PathBuf};

use milepost::{Admin, Client, Format, Product};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Bytes before the first block of a journal, and of a bundle; and behind the last one of a bundle.
const JOURNAL_HEAD: usize = 64;
const BUNDLE_HEAD: usize = 4096;
const BUNDLE_SIGNATURE: usize = 72;
const BUNDLE_END: usize = 48;

const BLOCK_HEAD: usize = 64;

/// An installation that lives as long as its thread.
struct Place {
    home: TempDir,
    telemetry: PathBuf,
}

impl Place {
    fn with<T>(look: impl FnOnce(&Self) -> T) -> T {
        thread_local! {
            static PLACE: Place = Place::new();
        }
        PLACE.with(look)
    }

    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let telemetry = home.path().join("telemetry");
        std::fs::create_dir_all(telemetry.join("journals")).unwrap();
        std::fs::write(telemetry.join("device_id"), "d").unwrap();
        Self { home, telemetry }
    }

    fn admin(&self) -> Admin {
        Client::builder(Product::new("acme-worker", "1")).home(self.home.path()).admin().unwrap()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.telemetry.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// Blocks, as they stand in a journal: its header, an origin, events, counts.
pub(crate) fn block(input: &[u8]) {
    let mut right = input.to_vec();
    if right.len() >= JOURNAL_HEAD {
        let sum = crc32fast::hash(&right[..60]);
        right[60..64].copy_from_slice(&sum.to_le_bytes());
        let end = right.len();
        put_blocks_right(&mut right, JOURNAL_HEAD..end);
    }
    Place::with(|place| {
        for bytes in [input, &right] {
            let file = place.file("journals/01a20c555a59-e9f9fe19fa694d16b4341c6ca2182a2c.journal", bytes);
            let mut shown = 0;
            let _ = place.admin().peek(&mut |event| {
                shown += event.properties.len() + 1;
                true
            });
            let _ = place.admin().peek_bodies(Format::Otlp, u64::MAX, &mut |body| shown += body.len());
            place.admin().examine();
            place.admin().status();
            std::fs::remove_file(file).unwrap();
        }
    });
}

/// A bundle. One that is whole shows all of its events in every format.
pub(crate) fn bundle(input: &[u8]) {
    let mut right = input.to_vec();
    if right.len() >= BUNDLE_HEAD + BUNDLE_END {
        let end = right.len() - BUNDLE_END;
        // Nobody can sign what comes out of here: of a signature, only its reading is of interest.
        let signature = end.saturating_sub(BUNDLE_SIGNATURE).max(BUNDLE_HEAD);
        let blocks_end = if right[signature..end].starts_with(b"MPBSIG\r\n") { signature } else { end };
        put_blocks_right(&mut right, BUNDLE_HEAD..blocks_end);
        let len = right.len() as u64;
        right[end..end + 8].copy_from_slice(b"MPBEND\r\n");
        right[end + 8..end + 16].copy_from_slice(&len.to_le_bytes());
        let sum =
            Sha256::new().chain_update(&right[BUNDLE_HEAD..blocks_end]).chain_update(&right[..BUNDLE_HEAD]);
        right[end + 16..].copy_from_slice(&sum.finalize());
    }
    Place::with(|place| {
        for bytes in [input, &right] {
            let file = place.file("bundle", bytes);
            let is_whole = Admin::inspect(&file, &[]).is_ok();
            for format in [Format::Otlp, Format::Ndjson] {
                assert_eq!(Admin::inspect_bodies(&file, &[], format, &mut |_| ()).is_ok(), is_whole);
            }
        }
    });
}

/// A receipt, on a host that never exported anything: it is read as a whole before anything is looked for.
pub(crate) fn receipt(input: &[u8]) {
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let sum: String = Sha256::digest(line).iter().map(|byte| format!("{byte:02x}")).collect();
    let right = [line, b"\nsha256 ", sum.as_bytes(), b"\n"].concat();
    let nowhere = Client::builder(Product::new("nobody", "1")).home(Path::new("/nowhere")).admin().unwrap();
    Place::with(|place| {
        for bytes in [input, &right] {
            assert!(nowhere.acknowledge(&place.file("receipt", bytes)).is_err());
        }
    });
}

/// A ledger, which every command reads.
pub(crate) fn ledger(input: &[u8]) {
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let right = [line, format!("\ncrc32 {:08x}\n", crc32fast::hash(line)).as_bytes()].concat();
    Place::with(|place| {
        for bytes in [input, &right] {
            place.file("ledger", bytes);
            place.admin().status();
            place.admin().examine();
        }
        std::fs::remove_file(place.telemetry.join("ledger")).unwrap();
    });
}

/// A product file. One that is read is written as a file that says the same.
pub(crate) fn product(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(product) = Product::from_toml(text) else { return };
    let written = product.to_toml().unwrap();
    assert_eq!(Product::from_toml(&written).unwrap(), product, "{written}");
}

/// Puts the sums of blocks right, as far as their lengths lead from one to the next.
fn put_blocks_right(bytes: &mut [u8], Range { start: mut at, end }: Range<usize>) {
    while at + BLOCK_HEAD <= end {
        let len = u32::from_le_bytes([bytes[at + 4], bytes[at + 5], bytes[at + 6], bytes[at + 7]]) as usize;
        let Some(next) = (at + BLOCK_HEAD).checked_add(len).filter(|next| *next <= end) else { return };
        let sum = crc32fast::hash(&[&bytes[at..at + 8], &bytes[at + 12..next]].concat());
        bytes[at + 8..at + 12].copy_from_slice(&sum.to_le_bytes());
        at = next;
    }
}
