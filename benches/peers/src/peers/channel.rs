//! A bare channel: what is the least that handing over an event costs?

use std::hint::black_box;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ::milepost::Event;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::milepost::events;
use crate::event::DIFFERENT;
use crate::peer::{Peer, Result};

/// As many as milepost's own.
const CAPACITY: usize = 16_384;

/// How often the polling consumer looks.
const POLL_EVERY: Duration = Duration::from_millis(2);

struct Channel {
    sender: Sender<Event>,
    events: Vec<Event>,
}

pub fn polled(_: &Path) -> Result<Box<dyn Peer>> {
    start(|receiver| {
        loop {
            match receiver.try_recv() {
                Ok(event) => drop(black_box(event)),
                Err(TryRecvError::Empty) => thread::sleep(POLL_EVERY),
                Err(TryRecvError::Disconnected) => return,
            }
        }
    })
}

pub fn parked(_: &Path) -> Result<Box<dyn Peer>> {
    start(|receiver| receiver.iter().for_each(|event| drop(black_box(event))))
}

fn start(consume: impl Fn(Receiver<Event>) + Send + 'static) -> Result<Box<dyn Peer>> {
    let (sender, receiver) = bounded(CAPACITY);
    thread::spawn(move || consume(receiver));
    Ok(Box::new(Channel { sender, events: events() }))
}

impl Peer for Channel {
    fn enqueue(&mut self, number: u64) -> bool {
        self.sender.try_send(self.events[(number % DIFFERENT) as usize].clone()).is_ok()
    }

    fn flush(&mut self) {
        while !self.sender.is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

struct Nothing;

pub fn nothing(_: &Path) -> Result<Box<dyn Peer>> {
    Ok(Box::new(Nothing))
}

impl Peer for Nothing {
    fn enqueue(&mut self, number: u64) -> bool {
        black_box(number);
        true
    }

    fn flush(&mut self) {}
}
