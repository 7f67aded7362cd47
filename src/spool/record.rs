//! How the store's own record stands on disk.
//!
//! bincode knows fields by their order, so what a later version adds stands at the end of a whole record: the
//! books stand in the middle of this one, and what was added to them behind everything else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::books::{Account, Books};
use super::core::{Destination, Meta};
use super::losses::Losses;
use crate::admission::Refusal;
use crate::block::Epoch;

#[derive(Serialize, Deserialize)]
pub(super) struct MetaRecord {
    version: u32,
    epoch: Epoch,
    books: FirstBooks,
    next_sequence: u64,
    next_dead: u64,
    destinations: Vec<Destination>,
    // Later than version 1's first.
    guarded: BTreeMap<String, u64>,
    failed_syncs: u64,
    losses: Option<Losses>,
}

/// The books as they were first.
#[derive(Serialize, Deserialize)]
struct FirstBooks {
    accounts: BTreeMap<String, Account>,
    refused: BTreeMap<Refusal, u64>,
    undeclared: u64,
    damaged: u64,
}

impl From<Meta> for MetaRecord {
    fn from(meta: Meta) -> Self {
        let Meta { version, epoch, books, next_sequence, next_dead, destinations, losses } = meta;
        let Books { accounts, refused, undeclared, damaged, guarded, failed_syncs } = books;
        let books = FirstBooks { accounts, refused, undeclared, damaged };
        Self { version, epoch, books, next_sequence, next_dead, destinations, guarded, failed_syncs, losses }
    }
}

impl From<MetaRecord> for Meta {
    fn from(record: MetaRecord) -> Self {
        let MetaRecord {
            version,
            epoch,
            books,
            next_sequence,
            next_dead,
            destinations,
            guarded,
            failed_syncs,
            losses,
        } = record;
        let FirstBooks { accounts, refused, undeclared, damaged } = books;
        let books = Books { accounts, refused, undeclared, damaged, guarded, failed_syncs };
        Self { version, epoch, books, next_sequence, next_dead, destinations, losses }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{decode_grown, encode};

    #[test]
    fn what_the_first_version_wrote_is_read_and_what_was_added_is_kept() {
        let mut meta = Meta::new(Epoch::of("d"), Books { undeclared: 3, damaged: 1, ..Books::default() });
        meta.books.account("default").accepted = 7;
        meta.next_dead = 2;
        // As it was when the books stood in it as they were.
        let books = (&meta.books.accounts, &meta.books.refused, 3_u64, 1_u64);
        let first = encode(&(meta.version, meta.epoch, books, 0_u64, 2_u64, &meta.destinations));
        let read: Meta = decode_grown(&first).unwrap();
        assert_eq!((read.books, read.next_dead, read.destinations.len()), (meta.books.clone(), 2, 2));
        assert_eq!(read.losses, None);

        meta.books.guarded.insert("path".into(), 5);
        meta.books.failed_syncs = 6;
        let read: Meta = decode_grown(&encode(&meta)).unwrap();
        assert_eq!((read.books, read.next_dead, read.losses), (meta.books, 2, meta.losses));
    }
}
