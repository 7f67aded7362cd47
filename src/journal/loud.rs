//! The name that holds more than half of what waits: the loop that would evict everybody else.
//!
//! Journals are not read for it: a few blocks of each show its names, and what it weighs is shared out among
//! them. That is exact enough to tell a half, and costs as much for a large journal as for a small one.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::directory::JournalName;
use super::header::JOURNAL_HEADER_BYTES;
use super::reader::events_in;
use super::usage::Excess;
use crate::block::{Block, Kind, find_block, read_block};
use crate::installation::fs;
use crate::limits::{BLOCK_BODY_BYTES_MAX, LOUD_NAMES_MAX, LOUD_SAMPLES};
use crate::product::Quota;

/// Bytes that hold a whole block, wherever they begin.
const SAMPLE_BYTES: u64 = 2 * (BLOCK_BODY_BYTES_MAX as u64 + 64);

/// A name that holds more than half, and where.
pub(crate) struct Loud {
    pub(crate) name: String,
    pub(crate) journals: VecDeque<LoudJournal>,
}

/// A journal that holds events of a loud name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoudJournal {
    pub(crate) name: JournalName,
    /// Whether it lies in `taken/`.
    pub(crate) is_taken: bool,
    /// Whether no other name was seen in it.
    pub(crate) is_alone: bool,
}

/// What a journal weighs, shared out by the names in a few of its blocks.
struct Sample {
    names: HashMap<String, u64>,
    /// Whether there is but one.
    is_alone: bool,
}

impl Loud {
    /// Looks for a name that holds more than half of the quota, or of what is there if that is less. The
    /// journals, held ones among them, are given with their directory, and whether that is `taken/`.
    pub(crate) fn find<'a>(
        journals: impl Iterator<Item = (&'a Path, JournalName, bool)>,
        quota: &Quota,
        excess: Excess,
    ) -> Option<Self> {
        let by_events = excess == Excess::Events;
        let most = if by_events { quota.events } else { quota.bytes };
        let mut samples = Vec::new();
        let (mut weights, mut all): (HashMap<String, u64>, u64) = (HashMap::new(), 0);
        for (directory, name, is_taken) in journals {
            let path = directory.join(name.to_string());
            let Some(sample) = sample(&path, by_events) else { continue };
            for (name, weight) in &sample.names {
                all += weight;
                match weights.get_mut(name) {
                    Some(sum) => *sum += weight,
                    None => drop(weights.insert(name.clone(), *weight)),
                }
            }
            samples.push((LoudJournal { name, is_taken, is_alone: sample.is_alone }, sample.names));
        }
        let (name, weight) = weights.into_iter().max_by_key(|(_, weight)| *weight)?;
        if weight <= most.min(all) / 2 {
            return None;
        }
        samples.retain(|(_, names)| names.contains_key(&name));
        samples.sort_unstable_by_key(|(journal, _)| journal.name);
        let journals: VecDeque<_> = samples.into_iter().map(|(journal, _)| journal).collect();
        Some(Self { name, journals })
    }
}

fn sample(path: &Path, by_events: bool) -> Option<Sample> {
    let file = fs::open_to_read(path).ok()?;
    let found = file.metadata().ok()?;
    let mut seen = HashMap::new();
    let room = found.len().saturating_sub(JOURNAL_HEADER_BYTES as u64);
    for part in 0..LOUD_SAMPLES {
        let at = JOURNAL_HEADER_BYTES as u64 + room * part / LOUD_SAMPLES;
        weigh(&read(&file, at)?, by_events, &mut seen);
    }
    let weight = if by_events { events_in(path) } else { fs::disk_bytes_of(&found) };
    let all: u64 = seen.values().sum();
    let is_alone = seen.len() == 1;
    // Names without weight are only memory.
    seen.retain(|_, part| *part * LOUD_NAMES_MAX >= all);
    for part in seen.values_mut() {
        *part = (u128::from(weight) * u128::from(*part) / u128::from(all)) as u64;
    }
    Some(Sample { names: seen, is_alone })
}

fn read(mut file: &File, at: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at)).ok()?;
    file.take(SAMPLE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Adds the names of the first events block in `bytes`.
fn weigh(bytes: &[u8], by_events: bool, seen: &mut HashMap<String, u64>) {
    let mut rest = bytes;
    while let Some(at) = find_block(rest) {
        let Ok(block) = read_block(&rest[at..]) else { return };
        if block.kind == Kind::Events {
            return add(&block, by_events, seen);
        }
        rest = &rest[at + block.bytes.len()..];
    }
}

fn add(block: &Block<'_>, by_events: bool, seen: &mut HashMap<String, u64>) {
    let Ok(raw) = block.raw() else { return };
    for record in block.records(&raw).map_while(Result::ok) {
        let weight = if by_events { 1 } else { record.bytes.len() as u64 };
        match seen.get_mut(record.name) {
            Some(sum) => *sum += weight,
            None => drop(seen.insert(record.name.to_owned(), weight)),
        }
    }
}
