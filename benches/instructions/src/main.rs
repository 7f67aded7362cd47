//! So many events, each on its whole way: enqueued, written, taken in, encoded. `run` counts the instructions of
//! each thread under callgrind.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use milepost::{Batch, Client, Deliver, Delivery, Destination, Event, Format, Product};

const LONG: Duration = Duration::from_secs(600);

/// A quarter of the channel: nobody is woken, and nothing is refused.
const AT_ONCE: u64 = 4_096;

fn main() -> milepost::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let events = arguments.next().and_then(|events| events.to_str()?.parse::<u64>().ok()).expect("how many events");
    let home = PathBuf::from(arguments.next().expect("a home"));
    let product = Product::new("milepost-instructions", "1.0.0")
        .destination(Destination::new("default").by_program());
    let client = Client::builder(product).home(home).deliver("default", Encoder).build()?;
    assert!(client.is_collecting(), "nothing is collected here: {}", client.reason());
    for number in 0..events {
        client.enqueue(event(number as i64));
        if (number + 1) % AT_ONCE == 0 {
            client.sync(LONG)?;
        }
    }
    let report = client.flush(LONG)?;
    assert_eq!((report.delivered, report.waiting), (events, 0), "{report:?}");
    client.shutdown(LONG)
}

#[inline(never)]
fn event(number: i64) -> Event {
    Event::new("job_finished")
        .with("rows", number * 31 % 10_007)
        .with("region", ["eu-central-1", "us-east-1", "ap-south-1"][number as usize % 3])
        .with("seconds", (number % 64) as f64 / 4.0)
        .with("queue", "default")
        .with("attempt", number % 3)
        .with("state", "completed")
}

struct Encoder;

impl Deliver for Encoder {
    fn deliver(&self, batch: &Batch<'_>) -> Delivery {
        black_box(batch.body(Format::Otlp));
        Delivery::Ack
    }
}
