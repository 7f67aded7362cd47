//! Which process and which thread this is: what was made before a fork is not the child's, and what our own
//! threads say is no event.

use std::cell::Cell;
use std::io;
use std::thread::{Builder, JoinHandle};

thread_local! {
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
}

/// A process, as one that can be compared with where code runs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn this() -> Self {
        Self(std::process::id())
    }

    /// Whether this process is another one: a child that a fork made of it. It has a copy of all that the parent
    /// had, and none of the parent's threads: a lock that one of them held is never freed. One system call.
    pub(crate) fn is_forked(self) -> bool {
        self != Self::this()
    }
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
pub(crate) fn is_own_thread() -> bool {
    IS_OURS.get()
}
