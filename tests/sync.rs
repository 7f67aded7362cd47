//! The promise: `sync` costs one fdatasync for all who wait for it, and without anybody who waits the disk is
//! asked as often as the program says.
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{LONG, arguments_of, tool};
use milepost::{Client, Event, Product, SyncEvery};

const THREADS: usize = 16;
const ROUNDS: usize = 50;

/// Does what it is told to, and dies without a shutdown.
#[test]
#[ignore = "a process that other tests start"]
fn worker() {
    let Ok(does) = std::env::var("WORKER_DOES") else { return };
    let every = match does.as_str() {
        "each tick" => SyncEvery::Interval(Duration::ZERO),
        "each second" => SyncEvery::default(),
        _ => SyncEvery::Never,
    };
    let builder =
        Client::builder(Product::new("acme-worker", "1.4.0")).home(std::env::var("WORKER_HOME").unwrap());
    let client = builder.sync_every(every).build().unwrap();
    if does == "together" {
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for number in 0..ROUNDS {
                        client.enqueue(Event::new("job_finished").with("number", number as i64));
                        client.sync(LONG).unwrap();
                    }
                });
            }
        });
    } else {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(2_500) {
            client.enqueue(Event::new("job_finished"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    std::process::abort();
}

/// How often such a worker asked the disk; `None` where nobody can watch it.
fn syncs(does: &str) -> Option<usize> {
    let home = tempfile::tempdir().unwrap();
    let record = home.path().join("record");
    let mut traced = tool("strace")?;
    let status = traced
        .args(["-f", "-qq", "-e", "trace=fdatasync", "-e", "signal=none", "-o"])
        .arg(&record)
        .arg(std::env::current_exe().unwrap())
        .args(arguments_of(module_path!(), "worker"))
        .env("WORKER_DOES", does)
        .env("WORKER_HOME", home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success(), "it aborts");
    let record = std::fs::read_to_string(record).unwrap();
    Some(record.lines().filter(|line| line.contains("fdatasync(")).count())
}

#[test]
fn one_fdatasync_serves_all_who_wait() {
    let Some(syncs) = syncs("together") else { return };
    assert!((ROUNDS..=THREADS * ROUNDS / 3).contains(&syncs), "{syncs} for {} waits", THREADS * ROUNDS);
}

#[test]
fn the_disk_is_asked_as_often_as_the_program_says() {
    let Some(never) = syncs("never") else { return };
    let [second, tick] = ["each second", "each tick"].map(|does| syncs(does).unwrap());
    assert_eq!(never, 0);
    assert!(second > 0 && tick > 4 * second, "each second: {second}, each tick: {tick}");
}
