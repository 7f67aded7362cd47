//! milepost in a host that is not written in Rust: a few functions of the C calling convention.
//!
//! `cargo build --example foreign_host` makes a library that, for one, Python's `ctypes` loads. Where to collect
//! and where to send to come from the environment: `FOREIGN_HOME` and `MILEPOST_ENDPOINT`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use milepost::{Client, Event, Product, Result, ServerInfo};

const WAIT: Duration = Duration::from_secs(30);

const OK: i32 = 0;
const FAILED: i32 = 1;
const NOT_STARTED: i32 = 2;
const FORKED: i32 = 3;

static CLIENT: Mutex<Option<Client>> = Mutex::new(None);

fn code(result: Result<()>) -> i32 {
    match result {
        Ok(()) => OK,
        Err(error) if error.is_forked() => FORKED,
        Err(error) => {
            eprintln!("milepost: {error}");
            FAILED
        }
    }
}

fn with(act: impl FnOnce(&Client) -> Result<()>) -> i32 {
    let client = CLIENT.lock().unwrap_or_else(PoisonError::into_inner).clone();
    client.map_or(NOT_STARTED, |client| code(act(&client)))
}

/// Builds the client, in place of one that was there.
#[unsafe(no_mangle)]
pub extern "C" fn milepost_start() -> i32 {
    let mut product = Product::new("foreign-host", "1.0.0");
    if let Ok(home) = std::env::var("FOREIGN_HOME") {
        product = product.home(home);
    }
    let built = Client::builder(product).build();
    code(built.map(|client| drop(CLIENT.lock().unwrap_or_else(PoisonError::into_inner).replace(client))))
}

/// Enqueues an event with a number.
#[unsafe(no_mangle)]
pub extern "C" fn milepost_enqueue(number: i64) -> i32 {
    with(|client| {
        client.enqueue(Event::new("job_finished").with("number", number));
        Ok(())
    })
}

/// Events that were refused because this is a fork's child.
#[unsafe(no_mangle)]
pub extern "C" fn milepost_refused_as_forked() -> u64 {
    let client = CLIENT.lock().unwrap_or_else(PoisonError::into_inner).clone();
    client.and_then(|client| client.stats().refused.get(&milepost::Refusal::Forked).copied()).unwrap_or(0)
}

/// Gives one sign of life, as a server.
#[unsafe(no_mangle)]
pub extern "C" fn milepost_heartbeat() -> i32 {
    let server = ServerInfo::new("0.8.4").ephemeral(true).implementation("CPython").every(WAIT);
    with(|client| client.heartbeat(server).map(drop))
}

/// Waits until what was enqueued is durable.
#[unsafe(no_mangle)]
pub extern "C" fn milepost_sync() -> i32 {
    with(|client| client.sync(WAIT))
}

/// Delivers what waits.
#[unsafe(no_mangle)]
pub extern "C" fn milepost_flush() -> i32 {
    with(|client| client.flush(WAIT).map(drop))
}

/// Writes, syncs and ends.
#[unsafe(no_mangle)]
pub extern "C" fn milepost_shutdown() -> i32 {
    with(|client| client.shutdown(WAIT))
}

/// Drops the client.
#[unsafe(no_mangle)]
pub extern "C" fn milepost_drop() -> i32 {
    drop(CLIENT.lock().unwrap_or_else(PoisonError::into_inner).take());
    OK
}
