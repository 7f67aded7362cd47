//! The crate's own threads: each has a name, and knows that it is ours.

use std::cell::Cell;
use std::io;
use std::thread::{Builder, JoinHandle};

thread_local! {
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
}

/// Starts the thread `milepost-<name>`.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(format!("milepost-{name}")).spawn(move || {
        IS_OURS.set(true);
        body();
    })
}

/// Whether this is one of our threads. What a host makes of our own log lines on them must not come back as
/// an event: each would cause the next.
#[inline]
pub(crate) fn is_ours() -> bool {
    IS_OURS.get()
}
