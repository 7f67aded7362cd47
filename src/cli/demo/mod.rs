//! `milepost demo`: the whole story, in a temporary directory, with a receiver on loopback.
//!
//! A worker enqueues while the receiver is down, is killed, goes on in a second life, and delivers when the
//! receiver is up. Every figure is computed from what was told on a pipe, from what the receiver got, and
//! from the books.

mod receiver;
mod worker;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use milepost::{Client, Status};

use super::output::{DONE, FAILED, print_line, thousands};
use receiver::Receiver;
pub(super) use worker::Worker;
use worker::{BATCH, Word};

#[derive(Args)]
pub(super) struct Demo {
    /// Events to enqueue
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(10_000..=10_000_000))]
    events: u64,
    /// Decides when the worker is killed; random by default
    #[arg(long)]
    seed: Option<u64>,
}

/// What the worker told before it was killed.
struct FirstLife {
    /// Events of which it knew that they are durable: all below this number.
    synced: u64,
    cost_nanos: u64,
    enqueued: u64,
}

impl Demo {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        let directory = Directory::make()?;
        let done = self.tell(&directory.0);
        drop(directory);
        done
    }

    fn tell(&self, home: &Path) -> anyhow::Result<u8> {
        let seed = self.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ nanos_now());
        // A port that was free a moment ago, and that nobody listens on until the receiver comes up.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let endpoint = format!("http://{address}/v1/logs");
        let admin = Client::builder(worker::product()).home(home).endpoint(&endpoint).admin()?;

        say(
            "1",
            &format!(
                "A worker enqueues {} events at full speed; the receiver is down.",
                thousands(self.events)
            ),
        )?;
        let first = self.first_life(home, &endpoint, seed)?;
        say("2", &format!("It was killed (SIGKILL) when {} events were synced.", thousands(first.synced)))?;
        let after_kill = admin.status();
        detail(
            "cost of enqueue",
            &format!(
                "{} ns an event, mean of {}",
                first.cost_nanos / first.enqueued.max(1),
                thousands(first.enqueued)
            ),
        )?;
        detail(
            "on disk",
            &format!(
                "{} events, {:.1} bytes an event",
                thousands(after_kill.waiting.events),
                bytes_an_event(&after_kill)
            ),
        )?;

        // The batch in which it died may be there in part. The second life begins behind it.
        let from = first.synced + BATCH;
        say("3", "It is started again, and goes on. The receiver is still down.")?;
        let mut second = spawn(home, &endpoint, from, self.events)?;
        let mut words = words(&mut second)?;
        wait_for(&mut words, |word| matches!(word, Word::Synced(events) if *events >= self.events))?;
        let waiting = admin.status().waiting.events;
        say("4", &format!("{} events wait. The receiver comes up.", thousands(waiting)))?;
        let receiver = Receiver::start(address)?;
        let began = Instant::now();
        wait_for(&mut words, |word| matches!(word, Word::Flushed))?;
        let seconds = began.elapsed().as_secs_f64();
        ensure!(second.wait()?.success(), "the worker failed in its second life");
        let received = receiver.stop()?;
        say(
            "5",
            &format!("Everything arrived, in {seconds:.1} s and {} requests.", thousands(received.requests)),
        )?;

        let synced = |number: u64| number < first.synced || number >= from;
        let missing =
            (0..self.events).filter(|number| synced(*number) && !received.numbers.contains(number)).count();
        let dying = (first.synced..from).filter(|number| received.numbers.contains(number)).count() as u64;
        let status = admin.status();
        detail("delivered", &thousands(received.ids.len() as u64))?;
        detail(
            "killed within a tick",
            &format!("{} of the {} events of the batch under way", BATCH - dying, BATCH),
        )?;
        detail("synced and missing", &thousands(missing as u64))?;
        detail("twice by id", &thousands(received.repeats))?;
        let balanced = books(&status, &received)?;
        let right = missing == 0 && received.repeats == 0 && balanced;
        say("6", if right { "The books balance." } else { "The books do NOT balance." })?;
        Ok(if right { DONE } else { FAILED })
    }

    /// Lets a worker run until it has synced a random part of its events, and kills it a random moment later.
    fn first_life(&self, home: &Path, endpoint: &str, seed: u64) -> anyhow::Result<FirstLife> {
        let batches = self.events / BATCH;
        let last = batches / 10 + seed % (batches * 7 / 10).max(1);
        let mut worker = spawn(home, endpoint, 0, self.events)?;
        let mut life = FirstLife { synced: 0, cost_nanos: 0, enqueued: 0 };
        let mut words = words(&mut worker)?;
        let mut take = |word: Word| match word {
            Word::Synced(events) => life.synced = events,
            Word::Cost { nanos } => {
                life.cost_nanos += nanos;
                life.enqueued += BATCH;
            }
            Word::Flushed => {}
        };
        for word in words.by_ref() {
            let word = word?;
            take(word);
            if matches!(word, Word::Synced(events) if events >= last * BATCH) {
                break;
            }
        }
        std::thread::sleep(Duration::from_micros(seed / 7 % 5_000));
        worker.kill()?;
        // What it still told before it died counts too.
        for word in words {
            take(word?);
        }
        worker.wait()?;
        Ok(life)
    }
}

fn spawn(home: &Path, endpoint: &str, from: u64, to: u64) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("the program does not know its own path")?;
    let (from, to) = (from.to_string(), to.to_string());
    // Nothing of the environment: on a CI host the worker would refuse to collect.
    let worker = Command::new(program)
        .env_clear()
        .arg("demo-worker")
        .arg("--home")
        .arg(home)
        .args(["--endpoint", endpoint, "--from", &from, "--to", &to])
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(worker)
}

fn words(worker: &mut Child) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Word>> + use<>> {
    let output: ChildStdout = worker.stdout.take().context("the worker has no pipe")?;
    // A last line that the kill cut is no word.
    let lines = BufReader::new(output).lines().map_while(Result::ok);
    Ok(lines.map(|line| Word::parse(&line).with_context(|| format!("the worker said {line:?}"))))
}

fn wait_for(
    words: &mut impl Iterator<Item = anyhow::Result<Word>>,
    wanted: impl Fn(&Word) -> bool,
) -> anyhow::Result<()> {
    for word in words {
        if wanted(&word?) {
            return Ok(());
        }
    }
    bail!("the worker ended before its time")
}

/// Whether every accepted event has one end, and the receiver has what the books call delivered.
fn books(status: &Status, received: &receiver::Received) -> anyhow::Result<bool> {
    let dropped: u64 = status.dropped.values().sum();
    let sum = status.delivered + status.waiting.events + status.dead + dropped;
    let part = |events: u64, what: &str| format!("{} {what}", thousands(events));
    let parts = [
        part(status.delivered, "delivered"),
        part(status.waiting.events, "waiting"),
        part(status.dead, "dead"),
        part(dropped, "dropped"),
    ];
    detail("books", &format!("{} accepted = {}", thousands(status.accepted), parts.join(" + ")))?;
    Ok(status.accepted == sum && status.waiting.events == 0 && status.delivered == received.ids.len() as u64)
}

fn bytes_an_event(status: &Status) -> f64 {
    status.disk_bytes as f64 / status.waiting.events.max(1) as f64
}

fn say(number: &str, text: &str) -> anyhow::Result<()> {
    print_line(&format!("{number}  {text}"))
}

fn detail(name: &str, text: &str) -> anyhow::Result<()> {
    print_line(&format!("   {name:<22} {text}"))
}

fn nanos_now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos() as u64)
}

/// A directory that goes with the demo.
struct Directory(std::path::PathBuf);

impl Directory {
    fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("milepost-demo-{}-{}", std::process::id(), nanos_now()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
