//! What do 100,000 hosts do to a receiver that was away for an hour, and how soon is it rid of them?
//!
//! A discrete-event simulation with the backoff that couriers use (`src/delivery/backoff.rs`, the file itself).
//! All hosts notice within the first second that the receiver is away, since each has something to deliver every
//! second: once nobody answers, once a proxy answers 503 for it. After an hour it is back, with room for 2,000
//! requests a second (a tenth of a second's worth may be saved up); the rest is answered with 503. Each host then
//! owes it 4 requests, and sends one after another as long as they are taken, each after a round trip of its own,
//! 5 to 100 ms: 200 s of work.
//!
//! Compared are other waits for the same reasons: always the same one, doubled ones without jitter, and other limits
//! than those of `src/limits.rs`, which were chosen from this. Fairness is Jain's index of the hosts' times from the
//! receiver's return until they owe nothing: (sum of t)^2 / (n * sum of t^2), 1 when all are done at once, 0.75 when
//! they are served one after another, towards 0 when few wait for very long.
//!
//! Not simulated: what a refusal costs the receiver, hosts that come and go, what is enqueued meanwhile.
//!
//! `cargo bench --bench herd` prints the table and writes `benches/herd/herd.svg`. The seed is fixed, so both are
//! the same wherever it runs.

// Its tests come along, and are run where it belongs.
#[allow(dead_code, unused_imports)]
#[path = "../../src/delivery/backoff.rs"]
mod backoff;
#[allow(dead_code)]
#[path = "../../src/limits.rs"]
mod limits;
mod plot;
mod simulation;
mod svg;
mod waits;

use std::time::Duration;

use backoff::{Backoff, Pace};
use limits::{BACKOFF_CONNECT, BACKOFF_REFUSED};
use simulation::{Outcome, simulate};
use waits::{Constant, Doubling, Jitter, WithRetryAfter};

type Row = (&'static str, Outcome);

fn main() -> std::io::Result<()> {
    println!("While the receiver is away nobody answers:\n");
    let rows = compare(Pace::Unreachable);
    print(&rows);
    println!("\nWhile the receiver is away 503 is answered:\n");
    print(&compare(Pace::Refused));
    plot::draw(&rows)
}

fn compare(away: Pace) -> Vec<Row> {
    let seconds = Duration::from_secs;
    let limits = |connect, refused, jitter| simulate(away, Doubling::new(connect, refused, jitter));
    let connect = |most| limits((BACKOFF_CONNECT.0, seconds(most)), BACKOFF_REFUSED, Jitter::Half);
    let refused = |first, most| limits(BACKOFF_CONNECT, (seconds(first), seconds(most)), Jitter::Half);

    let rows = vec![
        ("milepost", simulate(away, Backoff::default())),
        ("constant 10 s", simulate(away, Constant(seconds(10)))),
        ("constant 60 s", simulate(away, Constant(seconds(60)))),
        ("exponential without jitter", limits(BACKOFF_CONNECT, BACKOFF_REFUSED, Jitter::None)),
        ("exponential, all of it jitter", limits(BACKOFF_CONNECT, BACKOFF_REFUSED, Jitter::Full)),
        ("503 with Retry-After: 30", simulate(away, WithRetryAfter::new(seconds(30)))),
        ("no connection: up to 120 s", connect(120)),
        ("no connection: up to 300 s", connect(300)),
        ("no room: up to 60 s", refused(1, 60)),
        ("no room: up to 180 s", refused(1, 180)),
        ("no room: up to 900 s", refused(1, 900)),
        ("no room: from 10 s", refused(10, 300)),
        ("no room: from 30 s", refused(30, 300)),
    ];
    let same = limits(BACKOFF_CONNECT, BACKOFF_REFUSED, Jitter::Half);
    assert_eq!(rows[0].1.done, same.done, "the alternatives wait as milepost does, but for their limits");
    rows
}

fn print(rows: &[Row]) {
    println!(
        "| | requests/s while away | most in a second after it | tries for one taken | 50% of hosts done | 99% | all | Jain |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (name, outcome) in rows {
        let [half, most, all] = [0.5, 0.99, 1.0].map(|share| match outcome.done_by(share) {
            Some(time) => format!("{:.0} s", time.as_secs_f64()),
            None => format!("over {} h", simulation::AFTERWARDS.as_secs() / 3_600),
        });
        let (away, peak, tries) = (outcome.mean_away(), outcome.most_back(), outcome.tries_for_one());
        let jain = outcome.jain();
        println!("| {name} | {away:.0} | {peak} | {tries:.1} | {half} | {most} | {all} | {jain:.2} |");
    }
}
