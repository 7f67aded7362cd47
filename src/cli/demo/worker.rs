//! The demo's worker: a host program as any other, that tells on a pipe what it knows to be durable.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use milepost::{Client, EnqueueError, Event, Format, Product};

use crate::cli::output::{DONE, UNDELIVERED};

/// Events between two syncs.
pub(super) const BATCH: u64 = 1_000;

const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Args)]
pub(in crate::cli) struct Worker {
    #[arg(long)]
    home: PathBuf,
    #[arg(long)]
    endpoint: String,
    /// Number of the first event
    #[arg(long)]
    from: u64,
    /// Number behind the last event
    #[arg(long)]
    to: u64,
}

/// What a worker tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// All events of this life below this number are durable.
    Synced(u64),
    /// What the last batch's calls of `enqueue` took together.
    Cost { nanos: u64 },
    /// Everything that waited is delivered.
    Flushed,
}

pub(super) fn product() -> Product {
    Product::new("milepost-demo", env!("CARGO_PKG_VERSION"))
}

impl Worker {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<u8> {
        let client = Client::builder(product())
            .home(&self.home)
            .endpoint(&self.endpoint)
            .format(Format::OtlpJson)
            .build()?;
        for first in (self.from..self.to).step_by(BATCH as usize) {
            let last = (first + BATCH).min(self.to);
            let nanos = enqueue(&client, first..last)?;
            Word::Cost { nanos }.tell()?;
            client.sync(TIMEOUT)?;
            Word::Synced(last).tell()?;
        }
        // The receiver comes up when it likes: until then, each flush says why not.
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            if client.flush(TIMEOUT)?.is_complete() {
                client.shutdown(TIMEOUT)?;
                Word::Flushed.tell()?;
                return Ok(DONE);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(UNDELIVERED)
    }
}

fn enqueue(client: &Client, numbers: std::ops::Range<u64>) -> anyhow::Result<u64> {
    let began = Instant::now();
    for number in numbers {
        let mut event = Event::new("job_finished")
            .with("number", number as i64)
            .with("rows", (number % 977) as i64)
            .with("ok", !number.is_multiple_of(13))
            .with("region", ["eu", "us", "ap"][(number % 3) as usize])
            .with("seconds", (number % 500) as f64 / 10.0)
            .with("queue", "default");
        while let Err(refused) = client.try_enqueue(event) {
            let EnqueueError::Full(back) = refused else { anyhow::bail!("{refused}") };
            event = back;
            std::thread::yield_now();
        }
    }
    Ok(began.elapsed().as_nanos() as u64)
}

impl Word {
    fn tell(self) -> anyhow::Result<()> {
        let mut output = std::io::stdout().lock();
        match self {
            Word::Synced(events) => writeln!(output, "synced {events}")?,
            Word::Cost { nanos } => writeln!(output, "cost {nanos}")?,
            Word::Flushed => writeln!(output, "flushed")?,
        }
        Ok(output.flush()?)
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ') {
            Some(("synced", events)) => events.parse().ok().map(Self::Synced),
            Some(("cost", nanos)) => nanos.parse().ok().map(|nanos| Self::Cost { nanos }),
            None if line == "flushed" => Some(Self::Flushed),
            _ => None,
        }
    }
}
