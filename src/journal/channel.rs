//! The channel between the host's threads and the writer.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::admission::{Refusal, Rule};
use crate::block::Class;
use crate::clock;
use crate::event::Event;
use crate::limits::{CHANNEL_BOXED_BYTES_MAX, WRITER_SILENT_AFTER};

/// When an event was enqueued, in microseconds since the Unix epoch, with its class in the two highest bits. It
/// travels in the event.
#[derive(Clone, Copy)]
pub(crate) struct Stamp(u64);

impl Stamp {
    const CLASS_SHIFT: u32 = 62;
    const MICROS: u64 = (1 << Self::CLASS_SHIFT) - 1;

    #[inline]
    pub(crate) fn new(micros: u64, class: Class) -> Self {
        Self(u64::from(class.to_byte()) << Self::CLASS_SHIFT | micros & Self::MICROS)
    }

    /// Notes it in an event that is about to be sent.
    #[inline]
    pub(crate) fn put(self, event: &mut Event) {
        event.stamp = self.0;
    }

    /// The one that an event came with.
    pub(super) fn of(event: &Event) -> Self {
        Self(event.stamp)
    }

    pub(super) fn micros(self) -> u64 {
        self.0 & Self::MICROS
    }

    pub(super) fn class(self) -> Class {
        Class::from_byte((self.0 >> Self::CLASS_SHIFT) as u8).unwrap_or_default()
    }
}

/// What the caller's side and the writer share. Nothing here is locked.
pub(crate) struct Channel {
    sender: Sender<Event>,
    pub(super) receiver: Receiver<Event>,
    /// More waiting events than this wake the writer.
    half: usize,
    signs: Signs,
    /// Bytes of boxed events in the channel.
    boxed: AtomicUsize,
    /// The writer's thread, once it runs.
    pub(super) writer: OnceLock<Thread>,
    closing: AtomicBool,
    has_ended: AtomicBool,
    turn: AtomicBool,
    tickets: AtomicU64,
    pub(crate) counters: Counters,
}

/// What a sender reads and the writer changes at each tick: one cache line of its own, so that one sender a tick has to
/// fetch one.
#[repr(align(64))]
struct Signs {
    /// Whether events are taken.
    open: AtomicBool,
    /// Whether the writer will look by itself before the channel can fill. While it does, senders do not ask
    /// how full the channel is: that would fetch the cache line that the writer changes with each event.
    awake: AtomicBool,
    /// When the writer was last seen, in microseconds of the wall clock.
    ticked_at: AtomicU64,
}

/// What this process counted since the client was built.
#[derive(Default)]
pub(crate) struct Counters {
    /// Events in whole blocks.
    pub(crate) accepted: AtomicU64,
    /// Milestones among them that do not go again.
    pub(crate) already_reached: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
    redacted: [AtomicU64; Rule::ALL.len()],
    pub(crate) damaged: AtomicU64,
}

impl Counters {
    pub(crate) fn refuse(&self, reason: Refusal, events: u64) {
        self.refused[reason as usize].fetch_add(events, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, reason: Refusal) -> u64 {
        self.refused[reason as usize].load(Ordering::Relaxed)
    }

    /// Counts a property that was left out.
    pub(super) fn redact(&self, rule: Rule) {
        self.redacted[rule as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn redacted(&self, rule: Rule) -> u64 {
        self.redacted[rule as usize].load(Ordering::Relaxed)
    }
}

impl Channel {
    pub(crate) fn new(capacity: usize) -> Self {
        let (sender, receiver) = bounded(capacity);
        Self {
            sender,
            receiver,
            half: capacity / 2,
            signs: Signs {
                open: AtomicBool::new(true),
                awake: AtomicBool::new(false),
                ticked_at: AtomicU64::new(clock::wall_micros()),
            },
            boxed: AtomicUsize::new(0),
            writer: OnceLock::new(),
            closing: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            turn: AtomicBool::new(false),
            tickets: AtomicU64::new(0),
            counters: Counters::default(),
        }
    }

    /// Whether events are taken: one relaxed load.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.signs.open.load(Ordering::Relaxed)
    }

    /// Whether nothing was seen of the writer for so long that it may be another process's. A disk that hangs or
    /// a clock that was set looks the same.
    #[inline]
    pub(crate) fn is_silent(&self, now_micros: u64) -> bool {
        now_micros.abs_diff(self.signs.ticked_at.load(Ordering::Relaxed))
            > WRITER_SILENT_AFTER.as_micros() as u64
    }

    /// Tells that the writer is there.
    pub(super) fn tick(&self) {
        self.signs.ticked_at.store(clock::wall_micros(), Ordering::Relaxed);
    }

    /// Takes no more events.
    pub(crate) fn refuse_all(&self) {
        self.signs.open.store(false, Ordering::Relaxed);
    }

    /// Takes events again, unless it was closed for good.
    pub(super) fn allow(&self) {
        self.signs.open.store(true, Ordering::SeqCst);
        if self.closing.load(Ordering::SeqCst) {
            self.signs.open.store(false, Ordering::SeqCst);
        }
    }

    /// Puts an event into the channel, or hands it back when that is full. Below half-full nobody is woken:
    /// the writer looks by itself, and a futex would cost the caller a hundred times more than the send.
    #[inline]
    pub(crate) fn send(&self, event: Event) -> Result<(), Event> {
        let heap_bytes = event.heap_bytes();
        if heap_bytes > 0 && !self.reserve(heap_bytes) {
            return Err(event);
        }
        match self.sender.try_send(event) {
            Ok(()) => {
                if !self.signs.awake.load(Ordering::Relaxed) && self.sender.len() > self.half {
                    self.wake_once();
                }
                Ok(())
            }
            Err(TrySendError::Full(event) | TrySendError::Disconnected(event)) => {
                self.boxed.fetch_sub(heap_bytes, Ordering::Relaxed);
                Err(event)
            }
        }
    }

    fn reserve(&self, heap_bytes: usize) -> bool {
        let before = self.boxed.fetch_add(heap_bytes, Ordering::Relaxed);
        let fits = before + heap_bytes <= CHANNEL_BOXED_BYTES_MAX;
        if !fits {
            self.boxed.fetch_sub(heap_bytes, Ordering::Relaxed);
        }
        fits
    }

    #[cold]
    fn wake_once(&self) {
        if !self.signs.awake.swap(true, Ordering::Relaxed) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Events that were sent after the writer's last look, by threads that had found the channel open. They will
    /// not be written.
    pub(crate) fn too_late(&self) -> u64 {
        if self.has_ended.load(Ordering::Acquire) { self.receiver.len() as u64 } else { 0 }
    }

    /// Tells that the writer takes nothing more.
    pub(super) fn end(&self) {
        self.refuse_all();
        self.has_ended.store(true, Ordering::Release);
    }

    /// A ticket for all events that were sent before, and the writer's attention.
    pub(crate) fn ticket(&self) -> u64 {
        let ticket = self.tickets.fetch_add(1, Ordering::AcqRel) + 1;
        self.wake();
        ticket
    }

    /// Asks this process's writer to let go of its journal.
    pub(crate) fn ask_for_turn(&self) {
        self.turn.store(true, Ordering::Release);
    }

    /// Takes no more events, and lets the writer end once the channel is empty.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.signs.open.store(false, Ordering::SeqCst);
        self.wake();
    }

    pub(super) fn last_ticket(&self) -> u64 {
        self.tickets.load(Ordering::Acquire)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(super) fn take_turn_request(&self) -> bool {
        self.turn.swap(false, Ordering::AcqRel)
    }

    /// Tells that the event was taken out of the channel.
    pub(super) fn release(&self, event: &Event) {
        let heap_bytes = event.heap_bytes();
        if heap_bytes > 0 {
            self.boxed.fetch_sub(heap_bytes, Ordering::Relaxed);
        }
    }

    /// Lets the writer sleep for a tick, unless the channel passes half or somebody wakes it.
    pub(super) fn sleep(&self, tick: Duration) {
        self.signs.awake.store(false, Ordering::Relaxed);
        thread::park_timeout(clock::wait(tick));
        self.signs.awake.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_stamp_keeps_time_and_class() {
        for class in [Class::Milestone, Class::Latest, Class::Bulk] {
            let stamp = Stamp::new(1_795_424_400_123_456, class);
            assert_eq!((stamp.micros(), stamp.class()), (1_795_424_400_123_456, class));
        }
    }

    #[test]
    fn boxed_events_are_bounded_and_their_room_comes_back() {
        let channel = Channel::new(1 << 14);
        // Cloned, since a clone has no room to spare.
        let large = Event::new("e").with("text", "x".repeat(1_000)).clone();
        let sent = (0..1 << 14).take_while(|_| channel.send(large.clone()).is_ok()).count();
        assert!(sent * large.heap_bytes() <= CHANNEL_BOXED_BYTES_MAX);
        assert!(channel.send(Event::new("small")).is_ok());
        while let Ok(event) = channel.receiver.try_recv() {
            channel.release(&event);
        }
        assert_eq!(channel.boxed.load(Ordering::Relaxed), 0);
    }
}
