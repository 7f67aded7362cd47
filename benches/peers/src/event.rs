//! The events that all peers are given: of one size, 163 bytes in bincode, and no two of 256 alike, so that none is
//! packed to nothing. Five properties are words; one is an id of 21 random digits.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use bincode::config::standard;
use serde::Serialize;

pub type Properties = [(&'static str, &'static str); 6];

pub const NAME: &str = "job_finished";
pub const KEYS: [&str; 6] = ["region", "work_pool", "state", "runtime", "trigger", "flow_run"];
pub const BYTES: usize = 163;
pub const DIFFERENT: u64 = 256;

const REGIONS: [&str; 4] = ["eu-central-1", "us-central-1", "ap-central-1", "eu-central-2"];
const WORK_POOLS: [&str; 4] = ["default", "nightly", "staging", "reports"];
const STATES: [&str; 4] = ["completed", "cancelled", "completed", "suspended"];
const RUNTIMES: [&str; 4] = ["python-3.12.4", "python-3.12.4", "python-3.13.0", "python-3.11.9"];
const TRIGGERS: [&str; 4] = ["schedule", "schedule", "by event", "a person"];

static EVENTS: LazyLock<Vec<Properties>> = LazyLock::new(|| {
    let mut random = 20_261_124u64;
    let mut next = move || {
        // Knuth's MMIX generator; its upper half is the random one.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 32
    };
    let mut event = || {
        let digits: String = (0..21).map(|_| char::from(b'0' + (next() % 10) as u8)).collect();
        let mut of = |words: [&'static str; 4]| words[next() as usize % 4];
        let values = [of(REGIONS), of(WORK_POOLS), of(STATES), of(RUNTIMES), of(TRIGGERS), digits.leak()];
        std::array::from_fn(|property| (KEYS[property], values[property]))
    };
    (0..DIFFERENT).map(|_| event()).collect()
});

/// As peers store it that take bytes.
#[derive(Serialize)]
struct Record {
    name: &'static str,
    id: [u8; 16],
    time: u64,
    properties: &'static [(&'static str, &'static str)],
}

pub fn properties(number: u64) -> &'static Properties {
    &EVENTS[(number % DIFFERENT) as usize]
}

/// The event of this number, now.
pub fn encoded(number: u64) -> [u8; BYTES] {
    let record = Record { name: NAME, id: id(number), time: now(), properties: properties(number) };
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
