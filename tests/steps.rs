//! The promise: the process may die after any step of opening, intake, delivery and writing the store anew. Nothing
//! is lost, nothing gets two ids, and the books balance.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Mutex;

use std::ops::RangeInclusive;

use crate::common::receiver::Receiver;
use crate::common::steps::at_each_step;
use crate::common::store::{fatten, set_aside, stores};
use crate::common::{Home, LONG, process_of};
use milepost::{Client, Event, Product};

/// Those of `src/spool/step.rs`, but for those of salvage, of crossing an air gap and of deletion, which
/// `tests/doctor.rs`, `tests/gap_steps.rs` and `tests/erasure.rs` have. The last ones are those of opening the store and
/// of writing it anew.
const STEPS: usize = 19;
const OPENING: RangeInclusive<usize> = 14..=15;
const ANEW: RangeInclusive<usize> = 16..=STEPS;

const EVENTS: u64 = 3_000;

/// The worker that dies: enqueues, syncs and flushes.
#[test]
#[ignore = "a process that other tests start"]
fn worker() {
    let variable = |name| std::env::var(name).ok();
    let Some(product) = variable("WORKER_PRODUCT") else { return };
    let number = |name| variable(name).and_then(|value| value.parse::<u32>().ok());
    // The step, and how many times it may pass before.
    let dies_at = Mutex::new(number("WORKER_DIES_AT").zip(number("WORKER_DIES_AFTER")));
    at_each_step(move |step, _| {
        println!("step {step}");
        match &mut *dies_at.lock().unwrap() {
            Some((at, left)) if *at == step && *left == 0 => std::process::abort(),
            Some((at, left)) if *at == step => *left -= 1,
            _ => {}
        }
    });
    let client = Client::builder(Product::from_file(product).unwrap())
        .endpoint(variable("WORKER_ENDPOINT").unwrap())
        .build()
        .unwrap();
    let from = u64::from(number("WORKER_FROM").unwrap());
    for number in from..from + EVENTS {
        client.enqueue(Event::new("job_finished").with("number", number as i64).with("region", "eu"));
    }
    client.sync(LONG).unwrap();
    println!("synced");
    let report = client.flush(LONG).unwrap();
    assert!(report.is_complete(), "{report:?}");
    client.shutdown(LONG).unwrap();
}

/// What became of a worker.
struct Life {
    aborted: bool,
    synced: bool,
    steps: BTreeMap<usize, usize>,
}

fn live(home: &Home, endpoint: &str, from: u64, dies_at: Option<(usize, usize)>) -> Life {
    let mut command = process_of(module_path!(), "worker");
    command
        .env("HOME", home.path())
        .env("WORKER_PRODUCT", home.product_file())
        .env("WORKER_ENDPOINT", endpoint)
        .env("WORKER_FROM", from.to_string())
        .stderr(Stdio::null());
    if let Some((step, times)) = dies_at {
        command.env("WORKER_DIES_AT", step.to_string()).env("WORKER_DIES_AFTER", times.to_string());
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut steps = BTreeMap::new();
    for step in text.lines().filter_map(|line| line.strip_prefix("step ")?.parse().ok()) {
        *steps.entry(step).or_default() += 1;
    }
    let aborted = output.status.signal() == Some(6);
    assert!(aborted || output.status.success(), "{text}");
    Life { aborted, synced: text.lines().any(|line| line == "synced"), steps }
}

/// Everything that was enqueued has arrived, each event under one id, and the books balance.
fn check(home: &Home, receiver: &Receiver, events: u64) {
    let mut ids: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for event in receiver.taken() {
        ids.entry(event.properties["number"].as_u64().unwrap()).or_default().insert(event.id);
    }
    for number in 0..events {
        let ids = ids.get(&number).map_or(0, BTreeSet::len);
        assert_eq!(ids, 1, "event {number} arrived under {ids} ids");
    }
    let status = home.status();
    assert_eq!(status["accepted"], events, "{status}");
    assert_eq!(status["delivered"], events, "{status}");
    let left = |folder| std::fs::read_dir(home.telemetry().join(folder)).unwrap().count();
    assert_eq!((left("journals"), left("taken")), (0, 0));
}

#[test]
fn two_whole_lives_pass_every_step() {
    let home = Home::new();
    let receiver = Receiver::good();
    let mut steps = live(&home, &receiver.url(), 0, None).steps;
    fatten(&home);
    steps.extend(live(&home, &receiver.url(), EVENTS, None).steps);
    assert_eq!(steps.keys().copied().collect::<Vec<_>>(), (1..=STEPS).collect::<Vec<_>>());
    assert_eq!(receiver.taken_once().len() as u64, 2 * EVENTS);
    check(&home, &receiver, 2 * EVENTS);
}

/// Dies at each step, the first time and later times that it is reached, and goes on in the same directory.
fn die_at_every_step(damage: impl Fn(&Home)) {
    for step in 1..*OPENING.start() {
        let home = Home::new();
        let receiver = Receiver::good();
        let mut events = 0;
        for times in 0..3 {
            let life = live(&home, &receiver.url(), events, Some((step, times)));
            assert!(life.synced);
            assert!(life.aborted || times > 0, "step {step} was not reached");
            events += EVENTS;
            damage(&home);
        }
        let (status, report) = home.flush(&receiver.url(), &[]);
        assert_eq!(status, 0, "step {step}: {report}");
        check(&home, &receiver, events);
    }
}

#[test]
fn a_process_may_die_after_every_step() {
    die_at_every_step(|_| {});
}

#[test]
fn a_process_may_die_after_every_step_and_the_store_be_deleted() {
    die_at_every_step(|home| std::fs::remove_dir_all(home.telemetry().join("spool")).unwrap());
}

/// The receiver refuses one event of the first batch: a first half is taken, then a part of the rest, and there the
/// process dies. What it had made durable by then, half of that half at least, is not sent again.
#[test]
fn a_process_may_die_while_a_batch_is_divided_and_the_parts_that_were_taken_are_not_sent_again() {
    const BOOKED: usize = 10;
    const BEFORE: u64 = 4_096;
    const POISON: u64 = 3_000;
    const DURABLE: u64 = 800;
    let home = Home::new();
    home.enqueue(BEFORE);
    let receiver = Receiver::refusing(POISON);
    assert!(live(&home, &receiver.url(), BEFORE, Some((BOOKED, 1))).aborted);
    let before = receiver.taken_once().len() as u64;
    assert!((2 * DURABLE..POISON).contains(&before), "{before} were taken");

    let (status, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((status, &report["dead"]), (0, &1.into()), "{report}");
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    for event in receiver.taken() {
        *times.entry(event.properties["number"].as_u64().unwrap()).or_default() += 1;
    }
    assert!((0..DURABLE).all(|number| times[&number] == 1), "what was durable is not sent again");
    assert!((0..BEFORE + EVENTS).all(|number| times.contains_key(&number) == (number != POISON)));
    let status = home.status();
    let delivered = BEFORE + EVENTS - 1;
    assert_eq!((&status["delivered"], &status["dead"]), (&delivered.into(), &1.into()), "{status}");
}

/// After so many deaths at a step, what only the store knows is there, and no event was lost or repeated.
fn die_at_a_step_of_the_store(step: usize, deaths: u64) -> Home {
    let home = Home::new();
    home.leave_history();
    fatten(&home);
    let receiver = Receiver::good();
    for life in 0..deaths {
        let life = live(&home, &receiver.url(), life * EVENTS, Some((step, 0)));
        assert!(life.aborted && life.synced, "step {step} was not reached");
    }
    let (status, report) = home.flush(&receiver.url(), &[]);
    assert_eq!(status, 0, "step {step}: {report}");
    assert_eq!(receiver.taken_once().len() as u64, deaths * EVENTS);
    let status = home.status();
    let delivered = 10 + deaths * EVENTS;
    assert_eq!((&status["delivered"], &status["accepted"]), (&delivered.into(), &(delivered + 1).into()));
    assert_eq!((&status["damaged"], &status["dead"]), (&0.into(), &1.into()), "step {step}: {status}");
    home.assert_history();
    home
}

#[test]
fn a_process_may_die_after_every_step_of_opening_the_store_again_and_again() {
    for step in OPENING {
        let home = die_at_a_step_of_the_store(step, 5);
        assert_eq!(set_aside(&home), 0);
    }
}

#[test]
fn a_process_may_die_after_every_step_of_writing_the_store_anew() {
    for step in ANEW {
        let home = die_at_a_step_of_the_store(step, 1);
        let [(_, path)] = &stores(&home)[..] else { panic!("one store") };
        let bytes = std::fs::metadata(path.join("db")).unwrap().len();
        assert!(bytes < 8 << 20, "step {step}: {bytes}");
        // At first the new one stood beside the old one, unnamed.
        assert_eq!(set_aside(&home), usize::from(step == *ANEW.start()));
    }
}
