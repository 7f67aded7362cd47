//! The promise: clients are independent. Two of one product share its spool and lose nothing to each other; two
//! products, or one product in two homes, know nothing of each other.

use std::collections::BTreeSet;
use std::path::Path;

use crate::common::receiver::Receiver;
use crate::common::{LONG, in_a_clean_process};
use milepost::{Client, Event, Product};

const EVENTS: i64 = 5_000;

fn client(product: &str, home: &Path, receiver: &Receiver) -> Client {
    Client::builder(Product::new(product, "1.4.0")).home(home).endpoint(receiver.url()).build().unwrap()
}

fn enqueue(client: &Client, from: i64) {
    for number in from..from + EVENTS {
        client.enqueue(Event::new("job_finished").with("number", number));
    }
}

/// The numbers that came, each once.
fn numbers(receiver: &Receiver) -> BTreeSet<u64> {
    assert_eq!(receiver.taken_once().len(), receiver.taken().len());
    receiver.taken().iter().map(|event| event.properties["number"].as_u64().unwrap()).collect()
}

fn all(from: i64, to: i64) -> BTreeSet<u64> {
    (from as u64..to as u64).collect()
}

#[test]
fn two_clients_of_one_product_in_one_process_share_its_spool() {
    in_a_clean_process("two_clients_of_one_product_in_one_process_share_its_spool", || {
        let (home, receiver) = (tempfile::tempdir().unwrap(), Receiver::good());
        let one = client("acme-worker", home.path(), &receiver);
        let other = client("acme-worker", home.path(), &receiver);
        std::thread::scope(|scope| {
            scope.spawn(|| enqueue(&one, 0));
            scope.spawn(|| enqueue(&other, EVENTS));
        });
        other.sync(LONG).unwrap();
        // Whichever asks has the store, in turn.
        assert!(one.flush(LONG).unwrap().is_complete());
        assert_eq!(numbers(&receiver), all(0, 2 * EVENTS));
        enqueue(&other, 2 * EVENTS);
        assert!(other.flush(LONG).unwrap().is_complete());
        assert_eq!(numbers(&receiver), all(0, 3 * EVENTS));
        drop(one);
        enqueue(&other, 3 * EVENTS);
        assert!(other.flush(LONG).unwrap().is_complete());
        assert_eq!(numbers(&receiver), all(0, 4 * EVENTS));
    });
}

#[test]
fn two_products_in_one_process_know_nothing_of_each_other() {
    in_a_clean_process("two_products_in_one_process_know_nothing_of_each_other", || {
        let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        independent([("acme-worker", homes[0].path()), ("acme-server", homes[1].path())]);
    });
}

#[test]
fn one_product_in_two_homes_is_two_installations() {
    in_a_clean_process("one_product_in_two_homes_is_two_installations", || {
        let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        independent([("acme-worker", homes[0].path()), ("acme-worker", homes[1].path())]);
    });
}

fn independent(sides: [(&str, &Path); 2]) {
    let receivers = [Receiver::good(), Receiver::good()];
    let clients = [0, 1].map(|side| client(sides[side].0, sides[side].1, &receivers[side]));
    std::thread::scope(|scope| {
        clients
            .iter()
            .zip([0, EVENTS])
            .for_each(|(client, from)| drop(scope.spawn(move || enqueue(client, from))));
    });
    clients.iter().for_each(|client| assert!(client.flush(LONG).unwrap().is_complete()));
    assert_eq!(numbers(&receivers[0]), all(0, EVENTS));
    assert_eq!(numbers(&receivers[1]), all(EVENTS, 2 * EVENTS));
    let mut devices = BTreeSet::new();
    for (receiver, (product, _)) in receivers.iter().zip(sides) {
        for event in receiver.taken() {
            assert_eq!(event.resource["service.name"], product);
            devices.insert(event.resource["service.instance.id"].to_string());
        }
    }
    assert_eq!(devices.len(), 2, "each has an id of its own");
}
