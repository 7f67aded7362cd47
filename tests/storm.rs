//! The promise: any number of processes share one directory. Workers are killed, the owner is killed, stopped and
//! continued, commands take the store in between; afterwards everything that was synced has been delivered, each
//! event under one id, the books balance, and nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::receiver::Receiver;
use crate::common::{Home, LONG, dice, process_of, signal};
use milepost::{Client, Event, Product};

const THREADS: u64 = 4;

/// Numbers that one thread of a worker has to itself.
const A_THREAD: u64 = 1_000_000;

/// How long a storm is, and how heavy.
struct Weather {
    workers: u64,
    events_a_worker: u64,
    blows: Duration,
}

/// Enqueues from four threads, tells what is synced, and goes when its standard input ends.
#[test]
#[ignore = "a process that other tests start and kill"]
fn worker() {
    let variable = |name| std::env::var(name).ok();
    let Some(product) = variable("WORKER_PRODUCT") else { return };
    let number = |name| variable(name).unwrap().parse::<u64>().unwrap();
    let client = Client::builder(Product::from_file(product).unwrap())
        .endpoint(variable("WORKER_ENDPOINT").unwrap())
        .build()
        .unwrap();
    let (first, events) = (number("WORKER_FROM"), number("WORKER_EVENTS") / THREADS);
    let pause = Duration::from_millis(number("WORKER_BLOWS_MS") / (events / 50));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (client, from) = (&client, first + thread * A_THREAD);
            scope.spawn(move || {
                for number in from..from + events {
                    let mut event = Event::new("job_finished").with("number", number as i64);
                    while let Err(milepost::EnqueueError::Full(back)) = client.try_enqueue(event) {
                        std::thread::yield_now();
                        event = back;
                    }
                    if number % 50 == 49 {
                        client.sync(LONG).unwrap();
                        println!("synced {number}");
                        std::thread::sleep(pause);
                    }
                }
            });
        }
    });
    println!("done");
    let _ = std::io::stdin().lines().next();
    client.shutdown(LONG).unwrap();
}

fn spawn(home: &Home, endpoint: &str, index: u64, weather: &Weather) -> Child {
    process_of(module_path!(), "worker")
        .env("HOME", home.path())
        .env("WORKER_PRODUCT", home.product_file())
        .env("WORKER_ENDPOINT", endpoint)
        .env("WORKER_FROM", (index * 10 * A_THREAD).to_string())
        .env("WORKER_EVENTS", weather.events_a_worker.to_string())
        .env("WORKER_BLOWS_MS", weather.blows.as_millis().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The last number that each thread of a worker knew to be synced.
fn synced(worker: &mut Child) -> BTreeMap<u64, u64> {
    let lines = BufReader::new(worker.stdout.take().unwrap()).lines().map_while(Result::ok);
    let numbers = lines.take_while(|line| line != "done");
    let numbers = numbers.filter_map(|line| line.strip_prefix("synced ")?.parse::<u64>().ok());
    numbers.map(|number| (number / A_THREAD, number)).collect()
}

/// Kills, stops and continues whoever holds the store, and has commands ask for it, until it is over.
fn blow(home: &Home, pids: &[u64], over: &AtomicBool) {
    let (mut kills, kills_max) = (0, pids.len() as u64 / 4);
    while !over.load(Ordering::Relaxed) {
        let owner = home.milepost(&["status", "--json"]).json()["owner"]["pid"].as_u64();
        match owner.filter(|owner| pids.contains(owner)) {
            Some(owner) if kills < kills_max && dice(3) == 0 => {
                signal(owner, "-KILL");
                kills += 1;
            }
            Some(owner) if signal(owner, "-STOP") => {
                std::thread::sleep(Duration::from_millis(200 + dice(600)));
                signal(owner, "-CONT");
            }
            _ => {}
        }
        let command: &[&str] = match dice(3) {
            0 => &["peek", "-n", "10"],
            1 => &["dead", "list"],
            _ => &["status"],
        };
        let done = home.milepost(command);
        // One that was stopped meanwhile is a reason not to get the store.
        assert!(done.status == 0 || done.stderr.contains("held by"), "{command:?}: {done:?}");
        std::thread::sleep(Duration::from_millis(dice(500)));
    }
}

fn storm(weather: &Weather) {
    let home = Home::new();
    let receiver = Receiver::good();
    let mut workers: Vec<Child> =
        (0..weather.workers).map(|index| spawn(&home, &receiver.url(), index, weather)).collect();
    let pids: Vec<u64> = workers.iter().map(|worker| worker.id().into()).collect();
    let inputs: Vec<_> = workers.iter_mut().map(|worker| worker.stdin.take()).collect();
    let over = AtomicBool::new(false);
    let synced: Vec<BTreeMap<u64, u64>> = std::thread::scope(|scope| {
        scope.spawn(|| blow(&home, &pids, &over));
        for pid in pids.iter().step_by(3) {
            let when = Duration::from_millis(dice(weather.blows.as_millis() as u64));
            scope.spawn(move || {
                std::thread::sleep(when);
                signal(*pid, "-KILL");
            });
        }
        let readers: Vec<_> = workers.iter_mut().map(|worker| scope.spawn(move || synced(worker))).collect();
        let synced = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        over.store(true, Ordering::Relaxed);
        synced
    });
    drop(inputs);
    for worker in &mut workers {
        worker.wait().unwrap();
    }

    let began = Instant::now();
    let (status, report) = home.flush(&receiver.url(), &["--timeout", "120s"]);
    assert_eq!(status, 0, "{report}");
    println!("flushed what was left in {:?}: {report}", began.elapsed());
    let mut ids: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let mut numbers: BTreeMap<String, u64> = BTreeMap::new();
    for event in receiver.taken() {
        let number = event.properties["number"].as_u64().unwrap();
        assert_eq!(*numbers.entry(event.id.clone()).or_insert(number), number, "two events have one id");
        ids.entry(number).or_default().insert(event.id);
    }
    for (thread, last) in synced.iter().flatten() {
        for number in thread * A_THREAD..=*last {
            let ids = ids.get(&number).map_or(0, BTreeSet::len);
            assert_eq!(ids, 1, "{number} was synced and has {ids} ids");
        }
    }
    let status = home.status();
    assert_eq!(
        (&status["accepted"], &status["delivered"]),
        (&ids.len().into(), &ids.len().into()),
        "{status}"
    );
    let left = |folder| std::fs::read_dir(home.telemetry().join(folder)).unwrap().count();
    assert_eq!((left("journals"), left("taken")), (0, 0));
    let killed = synced.iter().filter(|synced| synced.len() < THREADS as usize).count();
    println!("{} events delivered, {killed} workers gone before all their threads had synced", ids.len());
}

#[test]
fn a_storm_of_processes_loses_and_doubles_nothing() {
    storm(&Weather { workers: 9, events_a_worker: 2_000, blows: Duration::from_secs(10) });
}

#[test]
#[ignore = "slow"]
fn slow_a_storm_of_processes_loses_and_doubles_nothing() {
    storm(&Weather { workers: 32, events_a_worker: 20_000, blows: Duration::from_secs(60) });
}
