//! What a store says that was set aside: sled's word for a copy of it, which alone knows who was still owed what.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::aside;
use super::core::{DeadLetter, Meta};
use super::found::Found;
use super::keys::{self, Key};
use super::ledger::{Ledger, Mark, Taken};
use super::queue::Lease;
use super::store::{Store, StoreError, is_spoiled};
use crate::block::{Address, Block, Epoch, JournalId, Origin, OriginId, decode, decode_grown, read_block};
use crate::installation::Installation;

/// What a store says of which all pairs add up. It was true once.
#[derive(Default)]
pub(super) struct View {
    pub(super) epoch: Option<Epoch>,
    /// Events that were still owed, by the address of their block's first.
    owed: HashMap<Address, u128>,
    /// The index up to which each journal was entered.
    entered: HashMap<JournalId, u32>,
    pub(super) origins: HashMap<OriginId, Arc<Origin>>,
    /// Milestones that were reached.
    pub(super) marks: Vec<(String, Mark)>,
    pub(super) dead: Vec<DeadLetter>,
    blocks: HashMap<u64, Address>,
    entries: Vec<(u64, u128)>,
}

/// What a store that is right holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) blocks: u64,
    pub(crate) events: u64,
    /// Files that are damaged, and that sled makes anew.
    pub(crate) spoiled: u64,
}

impl View {
    /// What sled says of a copy of the store at `path`, made at `scratch`.
    pub(super) fn of(path: &Path, scratch: &Path) -> Result<Self, StoreError> {
        let mut view = Self::default();
        open_copy(path, scratch, 0, |key, value| {
            view.read(key, value);
            Ok(())
        })?;
        for (sequence, owed) in &view.entries {
            if let Some(first) = view.blocks.get(sequence) {
                *view.owed.entry(*first).or_default() |= owed;
            }
        }
        Ok(view)
    }

    fn read(&mut self, key: &[u8], value: &[u8]) {
        match keys::read(key) {
            Some(Key::Meta) => self.epoch = decode::<Meta>(value).ok().map(|meta| meta.epoch),
            Some(Key::Block(sequence)) => {
                let block = value.get(16..).and_then(|bytes| read_block(bytes).ok());
                self.blocks.extend(block.map(|block| (sequence, block.address(0))));
            }
            Some(Key::Entry(key)) => {
                let owed = value.try_into().map(u128::from_be_bytes).ok();
                self.entries.extend(owed.map(|owed| (key.sequence, owed)));
            }
            Some(Key::Taken) => {
                let taken = decode::<Taken>(value).ok();
                self.entered.extend(taken.map(|taken| (taken.id, taken.next)));
            }
            Some(Key::Origin) => {
                let origin = decode_grown::<Origin>(value).ok();
                self.origins.extend(origin.map(|origin| (origin.id(), Arc::new(origin))));
            }
            Some(Key::Mark(name)) => {
                self.marks.extend(decode(value).ok().map(|mark| (name.to_owned(), mark)));
            }
            Some(Key::Dead(_)) => self.dead.extend(decode::<DeadLetter>(value)),
            Some(Key::Lost(_) | Key::Carried(_)) | None => {}
        }
    }

    /// Which events of a block were still owed, or not yet entered. Of the others it says that they met their end.
    pub(super) fn owed(&self, block: &Block<'_>) -> u128 {
        let entered = self.entered.get(&block.journal);
        let is_entered = entered.is_some_and(|next| block.first + u32::from(block.count) <= *next);
        let otherwise = if is_entered { 0 } else { u128::MAX };
        self.owed.get(&block.address(0)).copied().unwrap_or(otherwise)
    }
}

/// Checks the store that the ledger names as its owner would, in a copy. The caller sees to it that nobody has it
/// open.
pub(crate) fn check(installation: &Installation, ledger: &Ledger) -> Result<Held, StoreError> {
    let path = installation.store(ledger.store);
    let mut found = Found::default();
    let scratch = installation.spool().join(".look");
    open_copy(&path, &scratch, ledger.generation, |key, value| found.read(key, value))?;
    if found.is_newer() {
        return Ok(Held::default());
    }
    let inventory = found.together().map_err(|what| StoreError::Wrong { path, what: what.into() })?;
    let events = inventory.queue.free().iter().map(Lease::count).sum();
    let entries = std::fs::read_dir(installation.store(ledger.store)).into_iter().flatten().flatten();
    let spoiled = entries.filter(|entry| is_spoiled(&entry.path(), &entry.file_name().to_string_lossy()));
    Ok(Held { blocks: inventory.queue.blocks() as u64, events, spoiled: spoiled.count() as u64 })
}

fn open_copy(
    path: &Path,
    scratch: &Path,
    generation: u64,
    visit: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
) -> Result<(), StoreError> {
    let io_error = |source| StoreError::Io { operation: "copy", path: path.into(), source };
    let opened = aside::copy(path, scratch).map_err(io_error);
    let closed = opened.and_then(|()| Store::open(scratch, generation, visit)?.close());
    let _ = std::fs::remove_dir_all(scratch);
    closed
}
