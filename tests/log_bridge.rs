//! The promise: a host that makes events of log lines gets none of milepost's own back. Each would be written,
//! which is logged, which would be the next.

use std::sync::OnceLock;

use crate::common::receiver::Receiver;
use crate::common::{LONG, in_a_clean_process};
use milepost::{Client, Event, Product, Refusal};

static CLIENT: OnceLock<Client> = OnceLock::new();

/// What such a host installs.
struct Bridge;

impl log::Log for Bridge {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if let Some(client) = CLIENT.get().filter(|_| record.target().starts_with("milepost")) {
            client.enqueue(Event::new("log_line").with("level", record.level().as_str()));
            // A line that names a milestone is as bad.
            let _ = client.milestone("first_job");
        }
    }

    fn flush(&self) {}
}

#[test]
fn what_is_enqueued_on_a_thread_of_ours_is_refused_and_counted() {
    in_a_clean_process("what_is_enqueued_on_a_thread_of_ours_is_refused_and_counted", || {
        log::set_logger(&Bridge).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        let home = tempfile::tempdir().unwrap();
        let receiver = Receiver::good();
        let product = Product::new("acme-worker", "1.4.0").milestone("first_job");
        let client = Client::builder(product).home(home.path()).endpoint(receiver.url()).build().unwrap();
        CLIENT.set(client.clone()).unwrap();
        client.enqueue(Event::new("job_finished").with("number", 0));
        assert!(client.flush(LONG).unwrap().is_complete());
        client.shutdown(LONG).unwrap();
        let stats = client.stats();
        assert!(stats.refused[&Refusal::OwnThread] > 10, "each step of the store is a line: {stats:?}");
        assert_eq!(stats.accepted, 1, "{stats:?}");
        assert_eq!(receiver.taken_once().len(), 1);
    });
}
