//! The promise: no file that somebody else wrote, whatever is in it, makes milepost panic.
//!
//! `tests/fuzz` has a fuzz target for each kind of file. Here the same functions read the corpus that the fuzzer
//! left, and what comes of it when bytes are changed at random.

#[path = "fuzz/readers.rs"]
mod readers;

use std::path::Path;

use crate::common::dice::Dice;

/// What is done to each file of the corpus.
const CHANGES: u64 = 10;

/// Reads the corpus of a target.
fn read(target: &str, reader: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "there is no corpus for {target}");
    let mut dice = Dice::new(7);
    for file in files {
        println!("{}", file.display());
        let bytes = std::fs::read(&file).unwrap();
        reader(&bytes);
        (0..CHANGES).for_each(|_| reader(&changed(&bytes, &mut dice)));
    }
}

/// With some bytes changed, cut out or doubled.
fn changed(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + dice.roll(4) {
        let len = bytes.len() as u64;
        if len == 0 {
            break;
        }
        let at = dice.roll(len) as usize;
        let end = at + 1 + dice.roll((len - at as u64).min(32)) as usize;
        match dice.roll(5) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.roll(5) as usize],
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            _ => {
                let doubled = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, doubled));
            }
        }
    }
    bytes
}

#[test]
fn whatever_stands_in_a_journal() {
    read("block", readers::block);
}

#[test]
fn whatever_stands_in_a_bundle() {
    read("bundle", readers::bundle);
}

#[test]
fn whatever_stands_in_a_receipt() {
    read("receipt", readers::receipt);
}

#[test]
fn whatever_stands_in_a_ledger() {
    read("ledger", readers::ledger);
}

#[test]
fn whatever_stands_in_a_product_file() {
    read("product", readers::product);
}
