//! What a child process does with one peer: it measures, or is killed, or meets another one.

use std::fs::File;
use std::hint::{black_box, spin_loop};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::peer::{Kind, Peer, Result};

pub const EVERY: Duration = Duration::from_micros(20);

/// Back to back means bursts of so many, each after the last one was flushed: what the smallest queue that is meant
/// to take some holds (OpenTelemetry's) is not filled by it.
const BURST: u64 = 1_024;

/// A run at full speed ends with this many events, or when its time is over.
const SUSTAINED_EVENTS: u64 = 1_000_000;

/// How often a run whose events are to be durable syncs.
const SYNC_EVERY: Duration = Duration::from_millis(100);

/// So many events each of two processes enqueues while the other one has the directory open.
pub const SHARED: u64 = 100;

/// Nanoseconds of a call.
#[derive(Serialize, Deserialize)]
pub struct Call {
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub mean: f64,
    pub calls: u64,
    pub refused: u64,
}

#[derive(Serialize, Deserialize)]
pub struct Rate {
    pub events: u64,
    pub seconds: f64,
}

/// Does what `action` says, and prints its outcome as JSON.
pub fn run(action: &str, kind: &Kind, directory: &Path, millis: u64) -> Result<()> {
    let time = Duration::from_millis(millis);
    let open = || (kind.open)(directory);
    match action {
        "paced" => print(&paced(&mut *open()?, time)),
        "bursts" => print(&bursts(&mut *open()?, time)),
        "flushed" => print(&Some(sustained(&mut *open()?, time, false))),
        "synced" => {
            let mut peer = open()?;
            let is_synced = peer.sync();
            print(&is_synced.then(|| sustained(&mut *peer, time, true)))
        }
        "killed" => until_killed(&mut *open()?, directory),
        "count" => print(&(kind.count.expect("asked only where there is something to count"))(directory)?),
        "first" => {
            let mut peer = open()?;
            share(&mut *peer);
            print(&())?;
            std::io::stdin().read_line(&mut String::new())?;
            share(&mut *peer);
            Ok(())
        }
        "second" => {
            share(&mut *open()?);
            print(&())
        }
        _ => Err(format!("there is no action {action}").into()),
    }
}

fn print(outcome: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(outcome)?);
    Ok(std::io::stdout().flush()?)
}

/// An event every 20 us, or as soon as the peer is done with the last one.
fn paced(peer: &mut dyn Peer, time: Duration) -> Call {
    let mut calls = Calls::new();
    let began = Instant::now();
    while began.elapsed() < time {
        let called = Instant::now();
        calls.call(peer);
        while called.elapsed() < EVERY {
            spin_loop();
        }
    }
    calls.outcome()
}

fn bursts(peer: &mut dyn Peer, time: Duration) -> Call {
    let mut calls = Calls::new();
    let began = Instant::now();
    while began.elapsed() < time {
        for _ in 0..BURST {
            if !calls.call(peer) || began.elapsed() >= time {
                break;
            }
        }
        peer.flush();
    }
    calls.outcome()
}

/// Each call is timed by itself; one that was refused is only counted.
struct Calls {
    nanos: Histogram<u64>,
    refused: u64,
}

impl Calls {
    fn new() -> Self {
        Self { nanos: Histogram::new(3).expect("three digits are possible"), refused: 0 }
    }

    fn call(&mut self, peer: &mut dyn Peer) -> bool {
        let number = self.nanos.len();
        let began = Instant::now();
        let is_taken = black_box(peer.enqueue(black_box(number)));
        let nanos = began.elapsed().as_nanos() as u64;
        match is_taken {
            true => self.nanos.record(nanos).expect("the histogram grows"),
            false => self.refused += 1,
        }
        is_taken
    }

    fn outcome(&self) -> Call {
        let at = |share| self.nanos.value_at_quantile(share);
        Call {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            mean: self.nanos.mean(),
            calls: self.nanos.len(),
            refused: self.refused,
        }
    }
}

/// As many as it takes, until all of them are with the operating system, or durable.
fn sustained(peer: &mut dyn Peer, time: Duration, is_synced: bool) -> Rate {
    let began = Instant::now();
    let (mut events, mut synced) = (0, began);
    while events < SUSTAINED_EVENTS && began.elapsed() < time {
        for _ in 0..64 {
            match peer.enqueue(events) {
                true => events += 1,
                false => thread::sleep(Duration::from_micros(50)),
            }
        }
        if is_synced && synced.elapsed() >= SYNC_EVERY {
            peer.sync();
            synced = Instant::now();
        }
    }
    match is_synced {
        true => _ = peer.sync(),
        false => peer.flush(),
    }
    Rate { events, seconds: began.elapsed().as_secs_f64() }
}

/// Writes down beside the directory how many were taken, after each of them; what a process has written stays when
/// it is killed.
fn until_killed(peer: &mut dyn Peer, directory: &Path) -> Result<()> {
    let taken = File::create(directory.with_extension("taken"))?;
    let mut number = 0u64;
    loop {
        let called = Instant::now();
        if peer.enqueue(number) {
            number += 1;
            taken.write_all_at(&number.to_le_bytes(), 0)?;
        }
        while called.elapsed() < EVERY {
            spin_loop();
        }
    }
}

fn share(peer: &mut dyn Peer) {
    for number in 0..SHARED {
        while !peer.enqueue(number) {
            thread::sleep(Duration::from_millis(1));
        }
    }
    peer.flush();
}
