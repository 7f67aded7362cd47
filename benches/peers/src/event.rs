//! The event that all peers are given: 163 bytes in bincode.

use std::time::{SystemTime, UNIX_EPOCH};

use bincode::config::standard;
use serde::Serialize;

pub const NAME: &str = "job_finished";

pub const PROPERTIES: [(&str, &str); 6] = [
    ("region", "eu-central-1"),
    ("work_pool", "default"),
    ("state", "completed"),
    ("runtime", "python-3.12.4"),
    ("trigger", "schedule"),
    ("integration", "prefect-kubernetes"),
];

pub const BYTES: usize = 163;

/// As peers store it that take bytes.
#[derive(Serialize)]
struct Record {
    name: &'static str,
    id: [u8; 16],
    time: u64,
    properties: &'static [(&'static str, &'static str)],
}

/// The event of this number, now.
pub fn encoded(number: u64) -> [u8; BYTES] {
    let record = Record { name: NAME, id: id(number), time: now(), properties: &PROPERTIES };
    let mut bytes = [0; BYTES];
    let length = bincode::serde::encode_into_slice(record, &mut bytes, standard()).expect("it has this size");
    debug_assert_eq!(length, BYTES);
    bytes
}

/// What a key is made of where a peer wants one: in the order of time, and another one in each process.
pub fn id(number: u64) -> [u8; 16] {
    (u128::from(now()) << 64 | u128::from(number)).to_be_bytes()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}
