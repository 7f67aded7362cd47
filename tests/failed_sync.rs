//! The promise: `sync` never calls durable what the disk did not take. After a failed fdatasync the kernel
//! calls the pages clean, and the next one would lie; so the journal is written anew.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::common::receiver::Receiver;
use crate::common::{Home, LONG, arguments_of, tool};
use milepost::{Client, Event, Product};

/// Enqueues and syncs at each line of its standard input, and tells what `sync` said.
#[test]
#[ignore = "a process that other tests start"]
fn worker() {
    let Ok(product) = std::env::var("WORKER_PRODUCT") else { return };
    let client = Client::builder(Product::from_file(product).unwrap()).build().unwrap();
    for (number, line) in (0..).zip(std::io::stdin().lines()) {
        line.unwrap();
        client.enqueue(Event::new("job_finished").with("number", number));
        match client.sync(LONG) {
            Ok(()) => println!("synced"),
            Err(error) => println!("failed: {error}"),
        }
    }
    client.shutdown(LONG).unwrap();
}

#[test]
fn after_a_failed_sync_nothing_is_called_durable_until_it_was_written_anew() {
    let home = Home::new();
    let Some(mut strace) = tool("strace") else { return };
    let mut worker = strace
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"])
        .args(["-e", "inject=fdatasync:error=EIO:when=2"])
        .arg(std::env::current_exe().unwrap())
        .args(arguments_of(module_path!(), "worker"))
        .env("HOME", home.path())
        .env("WORKER_PRODUCT", home.product_file())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ask = worker.stdin.take().unwrap();
    let lines = BufReader::new(worker.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut said = lines.filter(|line| line == "synced" || line.starts_with("failed"));
    let mut next = || {
        writeln!(ask).unwrap();
        said.next().unwrap()
    };
    assert_eq!(next(), "synced");
    let failed = next();
    assert!(failed.contains("not everything is durable"), "{failed}");
    // The writer lets go of the journal, it is written anew, and `sync` can be believed again.
    let mut events = 2;
    while next() != "synced" {
        events += 1;
        assert!(events < 100, "it is never written anew");
    }
    events += 1;
    drop(ask);
    assert!(worker.wait().unwrap().success());

    let receiver = Receiver::good();
    let (status, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((status, &report["delivered"]), (0, &events.into()), "{report}");
    let numbers: Vec<u64> =
        receiver.requests().iter().flat_map(crate::common::receiver::Request::numbers).collect();
    assert_eq!(numbers, (0..events).collect::<Vec<_>>());
    let status = home.status();
    assert_eq!((&status["damaged"], &status["failed_syncs"]), (&0.into(), &1.into()), "{status}");
}
