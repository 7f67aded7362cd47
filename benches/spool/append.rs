//! One producer as fast as the writer takes it, beside a buffered file to which the producer itself writes each
//! event in bincode with a CRC. The former's end is durable, the latter's is with the operating system.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use milepost::{Client, Mode};

use super::common::goals::Goal::AtLeast;
use super::common::goals::Goals;
use super::common::{LONG, Said, begin, ever, high_entropy, low_entropy, per_second, put, roomy};

/// Of each, in turns.
const ROUNDS: u32 = 3;
const LASTS: Duration = Duration::from_millis(1_500);

/// Events from one look at the clock to the next.
const AT_ONCE: u64 = 1_024;

pub(crate) fn run(goals: &mut Goals) {
    for (name, say) in [("low", low_entropy as fn(u64) -> Said), ("high", high_entropy)] {
        let home = tempfile::tempdir().expect("a temporary directory");
        let client = begin(Client::builder(roomy()).home(home.path()).mode(Mode::Local));
        let (mut ours, mut theirs) = (0.0, 0.0);
        for _ in 0..ROUNDS {
            ours += journal(&client, say) / f64::from(ROUNDS);
            theirs += buffered_file(home.path(), say).expect("the disk takes it") / f64::from(ROUNDS);
        }
        let name = format!("journal, one producer, {name} entropy, beside a buffered file");
        goals.ratio(name, ours, theirs, "events/s", AtLeast(0.5));
        client.shutdown(LONG).expect("the disk takes it");
    }
}

fn journal(client: &Client, say: fn(u64) -> Said) -> f64 {
    let (mut next, mut events, began) = (ever(say), 0, Instant::now());
    while began.elapsed() < LASTS {
        (0..AT_ONCE).for_each(|_| put(client, next()));
        events += AT_ONCE;
    }
    client.sync(LONG).expect("the disk takes it");
    per_second(events, began.elapsed())
}

fn buffered_file(home: &Path, say: fn(u64) -> Said) -> std::io::Result<f64> {
    let path = home.join("bare");
    let said: Vec<_> = (0..4_096).map(say).collect();
    let mut file = BufWriter::with_capacity(64 << 10, File::create(&path)?);
    let mut bytes = Vec::new();
    let (mut events, began) = (0, Instant::now());
    while began.elapsed() < LASTS {
        for _ in 0..AT_ONCE {
            let event = &said[events as usize % said.len()];
            events += 1;
            bytes.clear();
            let now = std::time::SystemTime::now();
            let now = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
            bincode::serde::encode_into_std_write((now, event), &mut bytes, bincode::config::standard())
                .expect("a Vec takes every byte");
            file.write_all(&(bytes.len() as u32).to_le_bytes())?;
            file.write_all(&crc32fast::hash(&bytes).to_le_bytes())?;
            file.write_all(&bytes)?;
        }
    }
    file.flush()?;
    let rate = per_second(events, began.elapsed());
    std::fs::remove_file(path)?;
    Ok(rate)
}
