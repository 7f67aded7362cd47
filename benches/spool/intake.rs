//! From journals into the store: as much as is taken in while a receiver is slow.

use std::thread;
use std::time::Duration;

use milepost::{Batch, Client, Delivery, Destination, Mode};

use super::common::goals::Goal::Known;
use super::common::goals::Goals;
use super::common::{Does, LONG, Said, begin, ever, fill, high_entropy, low_entropy, per_second, roomy};
use super::steps::{between, steps_of};

/// Long enough to take in all that is taken in ahead of a receiver.
const SLOW: Duration = Duration::from_secs(1);

pub(crate) fn run(goals: &mut Goals) {
    for (name, say, events) in
        [("low", low_entropy as fn(u64) -> Said, 1_000_000), ("high", high_entropy, 300_000)]
    {
        let home = tempfile::tempdir().expect("a temporary directory");
        let client = begin(Client::builder(roomy()).home(home.path()));
        fill(&client, events, &mut ever(say));
        client.shutdown(LONG).expect("the disk takes it");
        let slow = Does(|_: &Batch<'_>| {
            thread::sleep(SLOW);
            Delivery::Retry { why: "it is slow".into() }
        });
        let product = roomy().destination(Destination::new("default").by_program());
        let builder = Client::builder(product).home(home.path()).mode(Mode::On).deliver("default", slow);
        let admin = builder.admin().expect("the settings are sound");
        let mut taken = 0;
        let steps = steps_of(|| {
            let report = admin.flush(LONG, &mut |_| true).expect("a flush");
            taken = report.destinations[0].waiting;
        });
        let rate = per_second(taken, between(&steps, "JournalLocked", "BlocksEntered"));
        goals.value(format!("intake of {taken} events, {name} entropy"), rate, "events/s", Known);
    }
}
