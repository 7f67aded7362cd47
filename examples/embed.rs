//! A worker that reports how its jobs went.
//!
//! `cargo run --example embed` collects into a directory of its own below the current one; the next run goes on
//! with it. With `MILEPOST_ENDPOINT=http://127.0.0.1:4318/v1/logs` what waits is delivered, without it stays.

use std::time::Duration;

use milepost::{Client, EnqueueError, Event, Mode, Product, SyncEvery};

const WAIT: Duration = Duration::from_secs(10);

fn main() -> milepost::Result<()> {
    let product = Product::new("acme-worker", "1.4.0")
        .runtime("rust", "1.89")
        .home("target/acme-worker")
        .home_env("ACME_WORKER_HOME")
        .folder("telemetry")
        .opt_out_env("ACME_TELEMETRY")
        .event("job_finished", ["job", "ok", "seconds", "region"])
        .milestone("first_job")
        .notice("Acme collects how jobs end, never what is in them. To opt out: ACME_TELEMETRY=off");
    let builder = Client::builder(product)
        .mode(Mode::On)
        .header("x-acme-worker", "embed")
        .capacity(4_096)
        .sync_every(SyncEvery::Interval(Duration::from_millis(500)));
    let client = builder.clone().build()?;
    if !client.is_collecting() {
        println!("Nothing is collected: {}.", client.reason());
    }

    for job in 0..100 {
        // Nobody waits for this call. Whoever rather waits than loses an event asks for it back.
        let event = Event::new("job_finished").with("job", job).with("ok", job % 7 != 0).with("region", "eu");
        if let Err(EnqueueError::Full(event)) = client.try_enqueue(event.with("seconds", 0.25)) {
            client.sync(WAIT)?;
            client.enqueue(event);
        }
    }
    match client.milestone("first_job").and_then(|()| client.sync(WAIT)) {
        Ok(()) => println!("Durable: {:?}", client.stats()),
        Err(error) if error.is_refused() => println!("Refused: {error}."),
        Err(error) => return Err(error),
    }
    match client.flush(WAIT) {
        Ok(report) => println!("Flushed: {report:?}"),
        Err(error) if error.is_locked() || error.is_timeout() => println!("Later, then: {error}."),
        Err(error) => println!("Not flushed: {error}."),
    }
    client.shutdown(WAIT)?;

    let books = builder.admin()?.status();
    println!(
        "accepted {} = delivered {} + waiting {} + dead {} + dropped {:?}",
        books.accepted, books.delivered, books.waiting.events, books.dead, books.dropped
    );
    println!("in {}: {} bytes on disk", books.directory, books.disk_bytes);
    Ok(())
}
