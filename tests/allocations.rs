//! The promise: on the thread that calls, an event of six literal or numeric properties is built and enqueued,
//! or refused, without a single allocation.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use common::{LONG, in_a_clean_process};
use milepost::{Client, Event, Mode, Product};

/// The system's allocator, with a count of what each thread asks it for.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

impl Counting {
    fn count() {
        // A thread that ends has no counter any more; nobody asks for it either.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    }
}

// SAFETY: each call goes to the system's allocator as it came; a `Cell` without a destructor is all that is
// touched beside it, and that allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// How often this thread allocates in `work`.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn event(number: i64) -> Event {
    Event::new("job_finished")
        .with("rows", number)
        .with("region", "eu-central-1")
        .with("seconds", 12.75)
        .with("queue", "default")
        .with("attempt", number % 100)
        .with("state", "completed")
}

fn builder() -> milepost::ClientBuilder {
    Client::builder(Product::new("acme-worker", "1.4.0"))
}

#[test]
fn allocations_are_counted_where_there_are_some() {
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1);
    assert_ne!(allocations(|| drop(black_box(event(1).with("note", "n".repeat(200))))), 0);
}

#[test]
fn building_and_enqueueing_an_event_of_six_properties_allocates_nothing() {
    in_a_clean_process("building_and_enqueueing_an_event_of_six_properties_allocates_nothing", || {
        let home = tempfile::tempdir().unwrap();
        let client = builder().home(home.path()).build().unwrap();
        // The first call of a process too.
        assert_eq!(allocations(|| client.enqueue(event(0))), 0);
        client.sync(LONG).unwrap();
        assert_eq!(allocations(|| (1..10_000).for_each(|number| client.enqueue(event(number)))), 0);
        client.sync(LONG).unwrap();
        assert_eq!(client.stats().accepted, 10_000);
    });
}

#[test]
fn a_refused_event_allocates_nothing() {
    in_a_clean_process("a_refused_event_allocates_nothing", || {
        let home = tempfile::tempdir().unwrap();
        let off = builder().home(home.path()).mode(Mode::Off).build().unwrap();
        assert_eq!(allocations(|| off.enqueue(event(0))), 0);
        assert!(off.try_enqueue(event(0)).is_err());

        let client = builder().home(home.path()).capacity(1).build().unwrap();
        assert_eq!(allocations(|| client.enqueue(Event::new("no spaces"))), 0, "a limit is broken");
        assert_eq!(allocations(|| (0..1_000).for_each(|number| client.enqueue(event(number)))), 0, "full");
    });
}
