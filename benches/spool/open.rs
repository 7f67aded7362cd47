//! Opening what waits. `Admin::dead` does it: it takes the store, checks it, looks for dead letters and closes it.

use std::path::Path;
use std::time::{Duration, Instant};

use milepost::{Admin, Client, Delivery, Destination, Product};

use super::common::goals::Goal::{AtMost, Known};
use super::common::goals::{Goal, Goals};
use super::common::{
    Does, LONG, begin, ever, fill, high_entropy, low_entropy, median, millis, roomy, takes_all, takes_nothing,
};
use super::steps::{between, steps_of};

const EVENTS: u64 = 1_000_000;
const JOURNALS: u64 = 300;
const OPENINGS: usize = 20;

pub(crate) fn run(goals: &mut Goals) {
    in_journals(goals);
    in_the_store(goals);
}

/// What a receiver that is down leaves: 4 MiB in the store, and the rest in journals.
fn in_journals(goals: &mut Goals) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut next = ever(low_entropy);
    for number in 0..JOURNALS {
        // Each version has a journal of its own.
        let product = roomy().version(format!("1.0.{number}"));
        let client = begin(Client::builder(product).home(home.path()));
        fill(&client, EVENTS.div_ceil(JOURNALS), &mut next);
        client.shutdown(LONG).expect("the disk takes it");
    }
    let journals = std::fs::read_dir(home.path().join("telemetry/journals")).expect("it is there").count();
    assert_eq!(journals as u64, JOURNALS);
    let product = roomy().destination(Destination::new("default").by_program());
    let builder = Client::builder(product).home(home.path());
    let admin = builder.deliver("default", Does(slow)).admin().expect("the settings are sound");
    flush(&admin);
    let name = format!("open, {EVENTS} waiting in {JOURNALS} journals");
    openings(goals, &name, &admin, AtMost(50.0));
}

fn slow(_: &milepost::Batch<'_>) -> Delivery {
    std::thread::sleep(Duration::from_secs(1));
    Delivery::Retry { why: "it is down".into() }
}

/// What one of two destinations leaves that is down.
fn in_the_store(goals: &mut Goals) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let client = begin(Client::builder(two()).home(home.path()));
    fill(&client, EVENTS, &mut ever(high_entropy));
    client.shutdown(LONG).expect("the disk takes it");
    let admin = admin_of_two(home.path());
    flush(&admin);
    openings(goals, &format!("open, {EVENTS} waiting in the store itself"), &admin, Known);
}

fn two() -> Product {
    roomy()
        .destination(Destination::new("up").by_program())
        .destination(Destination::new("down").by_program())
}

fn admin_of_two(home: &Path) -> Admin {
    let builder = Client::builder(two()).home(home);
    let builder = builder.deliver("up", Does(takes_all)).deliver("down", Does(takes_nothing));
    builder.admin().expect("the settings are sound")
}

fn flush(admin: &Admin) {
    let report = admin.flush(LONG, &mut |_| true).expect("a flush");
    assert!(report.waiting > 0, "{report:?}");
}

fn openings(goals: &mut Goals, name: &str, admin: &Admin, goal: Goal) {
    let waiting = admin.status().waiting.events;
    assert!(waiting >= EVENTS, "{waiting} wait");
    let (mut whole, mut checks) = (Vec::new(), Vec::new());
    for _ in 0..OPENINGS {
        let began = Instant::now();
        let steps = steps_of(|| assert!(admin.dead().expect("the store is right").is_empty()));
        whole.push(began.elapsed());
        checks.push(between(&steps, "StoreOpening", "StoreOpened"));
    }
    goals.value(format!("{name}, median of {OPENINGS}"), millis(median(&mut whole)), "ms", goal);
    goals.value("  of which sled and the check of every pair", millis(median(&mut checks)), "ms", Known);
}
