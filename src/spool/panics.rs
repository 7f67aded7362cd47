//! Leaves a mark when sled panics, since not every host outlives it.
//!
//! A process that ended while it opened the store may have been killed, which is nobody's fault, or sled may have
//! panicked in a host that is built with `panic = "abort"` or has a hook that aborts. What tells them apart is the
//! hook, which runs first; so a store whose last opening never ended is opened with one of ours before the host's.

use std::panic;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use crate::installation::fs;

/// Does `work`. Should it panic, a file is made at `mark` before the host's own hook runs.
pub(super) fn marked<T>(mark: &Path, work: impl FnOnce() -> T) -> T {
    let hosts = Arc::new(panic::take_hook());
    let (this, mark, then) = (thread::current().id(), mark.to_owned(), hosts.clone());
    let ours: Hook = Box::new(move |info| {
        if thread::current().id() == this {
            // Without it, the next opening is like this one.
            let _ = fs::write_new(&mark, &[]);
        }
        then(info);
    });
    let address = address(&ours);
    panic::set_hook(ours);
    let done = work();
    let current = panic::take_hook();
    if self::address(&current) == address {
        drop(current);
        panic::set_hook(Arc::try_unwrap(hosts).unwrap_or_else(|hosts| Box::new(move |info| hosts(info))));
    } else {
        // The host has set another one meanwhile.
        panic::set_hook(current);
    }
    done
}

type Hook = Box<dyn Fn(&panic::PanicHookInfo<'_>) + Sync + Send + 'static>;

fn address(hook: &Hook) -> *const () {
    (&raw const **hook).cast()
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts the panics of this test, on whatever thread; the others go where they went before.
    fn counting() -> Arc<AtomicUsize> {
        let (count, before) = (Arc::new(AtomicUsize::new(0)), panic::take_hook());
        let counting = count.clone();
        panic::set_hook(Box::new(move |info| match info.payload().downcast_ref::<&str>() {
            Some(&"on purpose") => drop(counting.fetch_add(1, Ordering::Relaxed)),
            _ => before(info),
        }));
        count
    }

    fn panics() {
        assert!(catch_unwind(|| panic!("on purpose")).is_err());
    }

    #[test]
    fn a_panic_leaves_a_mark_and_the_hosts_hook_has_it_too() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark");
        let count = counting();
        marked(&mark, || thread::scope(|scope| scope.spawn(panics).join().unwrap()));
        assert!(!mark.exists(), "a panic on another thread is none of ours");
        marked(&mark, panics);
        assert!(mark.exists());
        assert_eq!(count.load(Ordering::Relaxed), 2);

        std::fs::remove_file(&mark).unwrap();
        panics();
        assert!(!mark.exists(), "our hook is still there");
        assert_eq!(count.load(Ordering::Relaxed), 3, "the host's hook is gone");
    }

    #[test]
    fn a_hook_that_the_host_sets_meanwhile_stays() {
        let directory = tempfile::tempdir().unwrap();
        let count = marked(&directory.path().join("mark"), counting);
        panics();
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}
