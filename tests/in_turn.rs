//! The promise: a request is prepared while another one is in flight, and sent when that was taken. So batches come one
//! after the other, in order, and none twice, whatever the receiver answers and whenever the sender is killed.

use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use crate::common::dice::Dice;
use crate::common::receiver::{Receiver, Reply};
use crate::common::{Home, dice};

/// Ten requests, if all goes well.
const EVENTS: u64 = 40_000;

/// Answers one of so many in each of six ways as it should not, and the others after a while.
fn moody(sides: u64, wait: Duration) -> Receiver {
    let dice = Mutex::new(Dice::new(11));
    Receiver::start(move |_| match dice.lock().unwrap().roll(sides) {
        0 => Reply::new(413, "", ""),
        1 => Reply::new(429, "Retry-After: 0\r\n", ""),
        2 => Reply::new(500, "", "tired"),
        3 => Reply::new(503, "", ""),
        4 => Reply::new(401, "", ""),
        5 => Reply::Close,
        _ => Reply::Slow(wait),
    })
}

/// The numbers that were taken, as they came.
fn taken(receiver: &Receiver) -> Vec<u64> {
    receiver.taken().iter().map(|event| event.properties["number"].as_u64().unwrap()).collect()
}

#[test]
fn batches_come_in_order_and_each_once_whatever_the_receiver_answers() {
    let (home, receiver) = (Home::new(), moody(18, Duration::from_millis(5)));
    home.enqueue(EVENTS);
    let mut flushes = 1;
    while home.flush(&receiver.url(), &[]).0 != 0 {
        flushes += 1;
        assert!(flushes < 100, "nothing gets through");
    }
    println!("{flushes} flushes, {} requests", receiver.requests().len());
    assert!(taken(&receiver).into_iter().eq(0..EVENTS));
    assert_eq!(home.status()["delivered"], EVENTS);
}

#[test]
fn a_sender_that_is_killed_repeats_what_it_had_not_booked_and_nothing_else() {
    let (home, receiver) = (Home::new(), moody(100, Duration::from_millis(100)));
    home.enqueue(EVENTS);
    let arguments = ["flush", "--endpoint", &receiver.url()];
    let mut kills = 0;
    for _ in 0..10 {
        let mut command = home.command(&arguments);
        let mut flush = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(dice(1_000)));
        // One that was refused, or has delivered all, has ended by itself.
        kills += usize::from(flush.try_wait().unwrap().is_none());
        let _ = flush.kill();
        flush.wait().unwrap();
    }
    while home.flush(&receiver.url(), &[]).0 != 0 {}
    let taken = taken(&receiver);
    let goes_back = taken.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    println!("{kills} kills, {} events taken, {goes_back} times from a former place on", taken.len());
    assert!(goes_back <= kills, "{goes_back} times back, {kills} kills");
    let mut numbers = taken;
    numbers.sort_unstable();
    numbers.dedup();
    assert!(numbers.into_iter().eq(0..EVENTS));
    assert_eq!(home.status()["delivered"], EVENTS);
}
