//! The promise: a program may run for months. A worker lives through days in a minute, by a clock that runs 1,440
//! times as fast: the receiver comes and goes, the quota is reached, the program is restarted, the machine sleeps
//! and its wall clock jumps. Memory, file handles, threads and disk stay what they were, and the books balance at
//! every hour.

#[path = "../tests/common/dice.rs"]
mod dice;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dice::Dice;

use crate::clock::{self, fast};
use crate::installation::fs::disk_bytes;
use crate::{Client, ClientBuilder, DropReason, Event, Format, Product, Status};

/// How much faster the clock runs: a month in half an hour, an hour in 2.5 s.
const SPEED: u32 = 1_440;

const HOUR: Duration = Duration::from_secs(3_600);

const EVENTS_AN_HOUR: u64 = 600;

/// Of noise in each event, so that twenty hours without a receiver reach the quota.
const NOISE_BYTES: usize = 300;

const QUOTA_BYTES: u64 = 5 << 20;

/// What the process may have more of in the end than after the first quarter.
const MEMORY_SLACK_BYTES: u64 = 12 << 20;

/// How often the process is looked at to tell what it holds for long.
const FOOTPRINT_LOOKS: u32 = 5;

const FOOTPRINT_LOOK_EVERY: Duration = Duration::from_millis(10);

/// How the receiver behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Mood {
    Well,
    /// Takes the request and closes, without a word.
    Silent,
    /// 503.
    Busy,
    /// 429, and to be asked again in five minutes.
    Full,
    /// Takes the events, and the answer is lost.
    Lossy,
}

const MOODS: [Mood; 5] = [Mood::Well, Mood::Silent, Mood::Busy, Mood::Full, Mood::Lossy];

/// A receiver that remembers one bit an event, so that the memory that is measured is ours.
struct Receiver {
    url: String,
    mood: Arc<AtomicU8>,
    seen: Arc<Mutex<Vec<bool>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/logs", listener.local_addr().unwrap());
        let (mood, seen) = (Arc::new(AtomicU8::new(0)), Arc::default());
        let receiver = Self { url, mood, seen };
        let (mood, seen) = (receiver.mood.clone(), receiver.seen.clone());
        std::thread::spawn(move || {
            // One courier has one connection at a time.
            for stream in listener.incoming().flatten() {
                let _ = serve(&stream, &mood, &seen);
            }
        });
        receiver
    }

    fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::Relaxed);
    }

    fn taken(&self) -> u64 {
        self.seen.lock().unwrap().iter().filter(|seen| **seen).count() as u64
    }
}

/// Serves a connection until either side has enough of it.
fn serve(stream: &TcpStream, mood: &AtomicU8, seen: &Mutex<Vec<bool>>) -> std::io::Result<()> {
    let (mut reader, mut stream) = (BufReader::new(stream), stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            if let Some(("content-length", value)) = line.to_ascii_lowercase().split_once(": ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mood = MOODS[mood.load(Ordering::Relaxed) as usize];
        if matches!(mood, Mood::Well | Mood::Lossy) {
            let mut seen = seen.lock().unwrap();
            for number in numbers(&body) {
                let len = seen.len().max(number + 1);
                seen.resize(len, false);
                seen[number] = true;
            }
        }
        let (status, header) = match mood {
            Mood::Well => ("200 OK", ""),
            Mood::Silent | Mood::Lossy => return Ok(()),
            Mood::Busy => ("503 Busy", ""),
            Mood::Full => ("429 Full", "Retry-After: 300\r\n"),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{header}");
        write!(stream, "{head}Content-Length: 2\r\n\r\n{{}}")?;
    }
}

/// The events' numbers, out of OTLP in JSON, gzipped.
fn numbers(body: &[u8]) -> Vec<usize> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(body).read_to_string(&mut text).unwrap();
    let after = text.split(r#""key":"number","value":{"intValue":""#).skip(1);
    after.map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
}

/// Letters, which LZ4 cannot shrink and the privacy guard lets pass.
fn noise(dice: &mut Dice) -> String {
    const LETTERS: &[u8; 52] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (0..NOISE_BYTES).map(|_| char::from(LETTERS[dice.roll(52) as usize])).collect()
}

/// What the process has, as the kernel counts it.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    memory_bytes: u64,
    handles: usize,
    threads: usize,
}

impl Footprint {
    /// The least of a few looks: what is open for a moment, a directory that is read or a connection, stays not.
    fn now() -> Self {
        let looks = (0..FOOTPRINT_LOOKS).map(|look| {
            if look > 0 {
                std::thread::sleep(FOOTPRINT_LOOK_EVERY);
            }
            Self::look()
        });
        looks.reduce(|one, other| one.each(other, Ord::min)).unwrap()
    }

    fn look() -> Self {
        let count = |path| std::fs::read_dir(path).unwrap().count();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
        Self { memory_bytes: kib << 10, handles: count("/proc/self/fd"), threads: count("/proc/self/task") }
    }

    fn each(self, other: Self, choose: fn(u64, u64) -> u64) -> Self {
        let of = |one: usize, other: usize| choose(one as u64, other as u64) as usize;
        Self {
            memory_bytes: choose(self.memory_bytes, other.memory_bytes),
            handles: of(self.handles, other.handles),
            threads: of(self.threads, other.threads),
        }
    }
}

/// The worker, its receiver and its luck.
struct Life {
    home: tempfile::TempDir,
    receiver: Receiver,
    dice: Dice,
    client: Client,
    /// Events of the clients that were shut down, by what became of them at once.
    accepted: u64,
    refused: u64,
    sent: u64,
    hours: u64,
}

impl Life {
    fn begin() -> Self {
        let home = tempfile::tempdir().unwrap();
        let receiver = Receiver::start();
        let client = builder(home.path(), &receiver).build().unwrap();
        Self { home, receiver, dice: Dice::new(1), client, accepted: 0, refused: 0, sent: 0, hours: 0 }
    }

    fn builder(&self) -> ClientBuilder {
        builder(self.home.path(), &self.receiver)
    }

    /// An hour of events, at an even pace.
    fn hour(&mut self) {
        self.hours += 1;
        let end = clock::monotonic() + HOUR;
        for left in (1..=EVENTS_AN_HOUR).rev() {
            let event = Event::new("job_finished").with("number", self.sent as i64);
            self.client.enqueue(event.with("noise", noise(&mut self.dice)));
            self.sent += 1;
            let pause = end.saturating_duration_since(clock::monotonic()) / left as u32;
            std::thread::sleep(clock::wait(pause));
        }
    }

    /// What may happen to a machine between two hours.
    fn happen(&mut self) {
        match self.dice.roll(12) {
            0..=2 => self.restart(),
            // An hour's sleep, a clock set by hand, a battery that ran out: days, both ways.
            3 => fast::jump(3_600),
            4 => fast::jump(-7_200),
            5 => fast::jump(5 * 24 * 3_600),
            6 => fast::jump(-5 * 24 * 3_600),
            _ => {}
        }
        let mood = match self.dice.roll(10) {
            0..=5 => Mood::Well,
            other => MOODS[other as usize - 5],
        };
        self.receiver.set(mood);
    }

    fn restart(&mut self) {
        self.stop();
        self.client = self.builder().build().unwrap();
    }

    fn stop(&mut self) {
        self.client.shutdown(24 * HOUR).unwrap();
        let stats = self.client.stats();
        self.accepted += stats.accepted;
        self.refused += stats.refused.values().sum::<u64>();
    }

    /// The books, and what the directory takes.
    fn check(&mut self) -> Status {
        self.client.sync(24 * HOUR).unwrap();
        let stats = self.client.stats();
        let here = self.accepted + stats.accepted;
        assert_eq!(here + self.refused + stats.refused.values().sum::<u64>(), self.sent);
        let status = self.builder().admin().unwrap().status();
        let dropped: u64 = status.dropped.values().sum();
        let ends = status.delivered + status.waiting.events + status.dead + dropped;
        assert_eq!(status.accepted, ends, "{status:?}");
        // What milepost says itself of what was lost: once a day, and when a clock jumps by days.
        assert!((here..=here + self.hours).contains(&status.accepted), "{here}: {status:?}");
        assert_eq!((status.dead, status.damaged), (0, 0), "{status:?}");
        status
    }
}

fn builder(home: &Path, receiver: &Receiver) -> ClientBuilder {
    let product = Product::new("soak", "1.0.0").quota_bytes(QUOTA_BYTES).free_disk_min(0);
    Client::builder(product).home(home).endpoint(receiver.url.clone()).format(Format::OtlpJson)
}

fn live(days: u64) {
    fast::run(SPEED);
    let mut life = Life::begin();
    let hours = days * 24;
    let mut usual: Option<Footprint> = None;
    let mut disk_bytes_max = 0;
    for hour in 0..hours {
        // A day in which nobody takes anything reaches the quota.
        if hour % 48 < 24 || hour % 48 >= 46 {
            life.happen();
        } else {
            life.receiver.set(Mood::Busy);
        }
        life.hour();
        let status = life.check();
        let (now, disk_bytes) = (Footprint::now(), disk_bytes(life.home.path()));
        println!(
            "hour {hour}: {} waiting, {} delivered, dropped {:?}, {} KiB on disk, {now:?}",
            status.waiting.events,
            status.delivered,
            status.dropped,
            disk_bytes >> 10,
        );
        // The quota is looked after every few seconds, and a journal is dropped as a whole.
        disk_bytes_max = disk_bytes_max.max(disk_bytes);
        assert!(disk_bytes < 2 * QUOTA_BYTES, "{disk_bytes} bytes on disk");
        match usual {
            Some(usual) if hour >= hours / 4 => {
                assert!(
                    now.memory_bytes < usual.memory_bytes + MEMORY_SLACK_BYTES,
                    "{now:?}, usually {usual:?}"
                );
                assert!(now.handles <= usual.handles + 2, "{now:?}, usually {usual:?}");
                assert!(now.threads <= usual.threads + 2, "{now:?}, usually {usual:?}");
            }
            _ => usual = Some(usual.map_or(now, |usual| usual.each(now, Ord::max))),
        }
    }
    life.receiver.set(Mood::Well);
    let report = life.client.flush(24 * HOUR).unwrap();
    assert!(report.is_complete(), "{report:?}");
    let status = life.check();
    life.stop();
    assert_eq!(status.waiting.events, 0, "{status:?}");
    let dropped: BTreeMap<DropReason, u64> = status.dropped.clone();
    let superseded = dropped.get(&DropReason::Superseded).copied().unwrap_or(0);
    let others = dropped.keys().filter(|reason| **reason != DropReason::Superseded);
    assert!(others.eq([&DropReason::Quota]), "the quota was reached, and nothing else: {dropped:?}");
    // One whose answer was lost may have been dropped for the quota before it was sent again.
    let (taken, told) = (life.receiver.taken(), status.accepted - life.accepted - superseded);
    assert!(told > 0, "what was lost was told: {status:?}");
    assert!((status.delivered - told..=status.accepted).contains(&taken), "{taken} taken: {status:?}");
    println!(
        "{days} days: {} events, {taken} taken, at most {} KiB on disk",
        life.sent,
        disk_bytes_max >> 10
    );
}

/// The worker's process. A restart is one within it, so that what a restart leaves behind would show.
#[test]
#[ignore = "a process that other tests start"]
fn worker() {
    if let Some(days) = std::env::var("WORKER_DAYS").ok().and_then(|days| days.parse().ok()) {
        live(days);
    }
}

/// The worker whose machine sleeps: its receiver asked for five minutes of patience.
#[test]
#[ignore = "a process that other tests start"]
fn sleeper() {
    if std::env::var_os("WORKER_SLEEPS").is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let receiver = Receiver::start();
    receiver.set(Mood::Full);
    let builder = builder(home.path(), &receiver);
    let client = builder.clone().build().unwrap();
    client.enqueue(Event::new("job_finished").with("number", 0));
    let admin = builder.admin().unwrap();
    wait_until("it is to wait", || admin.status().destinations.iter().any(|found| found.next_try.is_some()));
    receiver.set(Mood::Well);
    fast::jump(3_600);
    wait_until("it tries at once", || receiver.taken() == 1);
    client.shutdown(Duration::from_secs(60)).unwrap();
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_machine_that_wakes_up_tries_at_once_whatever_it_was_to_wait_for() {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["soak::sleeper", "--exact", "--ignored", "--nocapture"])
        .env_clear()
        .env("WORKER_SLEEPS", "1")
        .status();
    assert!(status.unwrap().success());
}

fn watch(days: u64) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["soak::worker", "--exact", "--ignored", "--nocapture"])
        .env_clear()
        .env("WORKER_DAYS", days.to_string())
        // With a heap a thread, which glibc keeps when the thread ends, memory would grow with the number of
        // threads that ever were, up to eight a core.
        .env("MALLOC_ARENA_MAX", "1")
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn two_days_of_a_worker_leave_nothing_behind() {
    watch(2);
}

#[test]
#[ignore = "slow"]
fn slow_a_month_of_a_worker_leaves_nothing_behind() {
    watch(30);
}
