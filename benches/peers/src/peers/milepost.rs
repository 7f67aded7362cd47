use std::path::Path;
use std::thread;
use std::time::Duration;

use ::milepost::{Client, Event, Mode, Product};

use crate::event::{DIFFERENT, NAME, properties};
use crate::peer::{Peer, Result};

const WAIT: Duration = Duration::from_secs(30);

struct Milepost {
    client: Client,
    events: Vec<Event>,
    taken: u64,
}

/// The quota is out of the way: it would drop the oldest of a million events.
fn product() -> Product {
    Product::new("milepost-peers", env!("CARGO_PKG_VERSION")).quota_bytes(1 << 32).quota_events(1 << 32)
}

/// Built beforehand: what is timed is a copy of one.
pub fn events() -> Vec<Event> {
    let event = |number| {
        properties(number).iter().fold(Event::new(NAME), |event, (key, value)| event.with(key, *value))
    };
    (0..DIFFERENT).map(event).collect()
}

pub fn open(directory: &Path) -> Result<Box<dyn Peer>> {
    let client = Client::builder(product()).home(directory).mode(Mode::Local).build()?;
    if !client.is_collecting() {
        return Err(client.reason().into());
    }
    Ok(Box::new(Milepost { client, events: events(), taken: 0 }))
}

pub fn count(directory: &Path) -> Result<u64> {
    let admin = Client::builder(product()).home(directory).mode(Mode::Local).admin()?;
    Ok(admin.status().waiting.events)
}

impl Peer for Milepost {
    fn enqueue(&mut self, number: u64) -> bool {
        let is_taken = self.client.try_enqueue(self.events[(number % DIFFERENT) as usize].clone()).is_ok();
        self.taken += u64::from(is_taken);
        is_taken
    }

    fn flush(&mut self) {
        while self.client.stats().accepted < self.taken {
            thread::sleep(Duration::from_micros(100));
        }
    }

    fn sync(&mut self) -> bool {
        self.client.sync(WAIT).expect("the disk takes it");
        true
    }
}
