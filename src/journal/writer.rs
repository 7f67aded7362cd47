//! The writer: one thread that takes events out of the channel and appends them as blocks.

use std::borrow::Cow;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::channel::{Channel, Slot};
use super::file::Journal;
use super::room::Room;
use super::sync::SyncThread;
use crate::admission::{Refusal, admit};
use crate::block::{BlockBuilder, Class, Counts, Kind, Origin, OriginId, write_note};
use crate::clock;
use crate::installation::Installation;
use crate::limits::{JOURNAL_ADOPT_BYTES_MAX, JOURNAL_BYTES, TICK_BUSY, TICK_IDLE, TURN_LOOK_EVERY};
use crate::process;
use crate::product::Declared;

/// Most events between two appends, so that who waits for a sync waits for few of others'.
const EVENTS_AN_APPEND_MAX: usize = 4_096;

/// How long a sender may take between its look at the channel and its send when the channel is closed.
const LATE_SENDERS: Duration = Duration::from_micros(100);

/// What the writer works on.
pub(crate) struct WriterSettings {
    pub(crate) installation: Installation,
    pub(crate) declared: Declared,
    /// Bytes of the disk that are left to others.
    pub(crate) free_disk_min: u64,
    /// The device id that the installation was known by so far.
    pub(crate) known_device_id: fn(&Installation) -> Option<String>,
    /// Makes the origin once the device id is known.
    pub(crate) origin: Box<dyn FnOnce(String) -> Origin + Send>,
}

/// The writer's thread. It opens files only once it runs.
pub(crate) struct Writer {
    channel: Arc<Channel>,
    sync: Arc<SyncThread>,
    installation: Installation,
    declared: Declared,
    origin: Origin,
    origin_id: OriginId,
    room: Room,
    journal: Option<Journal>,
    /// Whether the journal's name is not yet known to the sync thread.
    named: bool,
    builder: BlockBuilder,
    class: Class,
    /// Blocks that are sealed and not yet appended.
    out: Batch,
    counted: Counts,
    counts_at: Instant,
    turn: TurnMark,
    /// When a disk that failed is tried again.
    retry_at: Option<Instant>,
    /// What was lost since somebody was last told.
    failure: Option<String>,
    /// Whether the last append failed: it is said once.
    is_losing: bool,
    promise: Option<Promise>,
    /// The last ticket of which all events are appended.
    kept: u64,
}

/// Somebody waits for the events that stood in the channel when the ticket was read.
struct Promise {
    ticket: u64,
    left: usize,
}

/// Sealed blocks that go into one append.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    blocks: u32,
    events: u32,
    urgent: bool,
    /// The counters as they are once it is appended.
    counted: Option<Counts>,
}

/// What the file `turn` looked like when the journal's first block was written.
struct TurnMark {
    then: Option<SystemTime>,
    looked_at: Instant,
}

impl Writer {
    /// Starts the threads `milepost-writer` and `milepost-sync`.
    pub(crate) fn spawn(
        settings: WriterSettings,
        channel: Arc<Channel>,
        sync: Arc<SyncThread>,
    ) -> io::Result<JoinHandle<()>> {
        process::spawn("writer", move || {
            // `sync` asks for the thread only once it is known, so nothing is missed before.
            let _ = channel.writer.set(std::thread::current());
            let outcome = catch_unwind(AssertUnwindSafe(|| Self::start(settings, &channel, &sync)?.run()));
            let why = match outcome {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("the writer panicked".into()),
            };
            channel.end();
            if let Some(why) = why {
                log::error!("nothing is collected from now on: {why}");
                sync.broken(why);
            }
            sync.close();
        })
    }

    fn start(settings: WriterSettings, channel: &Arc<Channel>, sync: &Arc<SyncThread>) -> io::Result<Self> {
        let WriterSettings { installation, declared, free_disk_min, known_device_id, origin } = settings;
        let place = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", installation.directory().display()))
        };
        let mut mended = installation.create().map_err(place)?;
        if let Some(known) = known_device_id(&installation) {
            mended += u64::from(installation.mend_device_id(&known).map_err(place)?);
        }
        channel.counters.damaged.fetch_add(mended, Ordering::Relaxed);
        let origin = origin(installation.device_id_or_new().map_err(place)?);
        let (syncing, synced) = (sync.clone(), installation.clone());
        process::spawn("sync", move || syncing.run(&synced))?;
        let now = clock::monotonic();
        Ok(Self {
            channel: channel.clone(),
            sync: sync.clone(),
            origin_id: origin.id(),
            room: Room::new(&installation.journals(), free_disk_min),
            installation,
            declared,
            origin,
            journal: None,
            named: false,
            builder: BlockBuilder::new(),
            class: Class::Bulk,
            out: Batch::default(),
            counted: Counts::default(),
            counts_at: now,
            turn: TurnMark { then: None, looked_at: now },
            retry_at: None,
            failure: None,
            is_losing: false,
            promise: None,
            kept: 0,
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut tick = TICK_BUSY;
        loop {
            self.channel.tick();
            // Read before the channel is: what was sent before the ticket was drawn is then in the channel.
            let ticket = self.channel.last_ticket();
            let closing = self.channel.is_closing();
            let waiting = self.channel.receiver.len();
            if self.promise.is_none() && ticket > self.kept {
                self.promise = Some(Promise { ticket, left: waiting });
            }
            self.take(waiting.min(EVENTS_AN_APPEND_MAX));
            let asked = self.channel.take_turn_request() || self.sync.wants_turn();
            self.count(asked || closing || self.promise.is_some());
            self.append();
            self.turn_if_due(asked, closing);
            self.keep_promise(waiting.min(EVENTS_AN_APPEND_MAX));
            // After idle it does not sleep again until the channel is empty.
            if !self.channel.receiver.is_empty() {
                continue;
            }
            if closing {
                // Who asked whether the channel is open just before it was closed may be sending still.
                std::thread::sleep(clock::wait(LATE_SENDERS));
                if !self.channel.receiver.is_empty() {
                    continue;
                }
                self.sync.written(u64::MAX);
                return Ok(());
            }
            if self.channel.last_ticket() == self.kept && !self.channel.is_closing() {
                tick = if waiting > 0 { TICK_BUSY } else { (tick * 3 / 2).min(TICK_IDLE) };
                self.channel.sleep(tick);
            }
        }
    }

    /// Tells the sync thread once all events of a ticket are appended, or that some could not be.
    fn keep_promise(&mut self, taken: usize) {
        let Some(promise) = &mut self.promise else { return };
        promise.left = promise.left.saturating_sub(taken);
        if promise.left == 0 {
            let ticket = promise.ticket;
            if let Some(why) = self.failure.take() {
                self.sync.failed(ticket, why);
            }
            self.sync.written(ticket);
            self.kept = ticket;
            self.promise = None;
        }
    }

    /// Takes events out of the channel, and seals them into blocks.
    fn take(&mut self, events: usize) {
        for slot in self.channel.receiver.clone().try_iter().take(events) {
            self.channel.release(&slot.event);
            self.admit(&slot);
        }
        self.seal();
    }

    fn admit(&mut self, slot: &Slot) {
        let alone = slot.class() == Class::Milestone;
        // A milestone was declared as one, or the client would not have taken it.
        let declared = if alone { &Declared::Any } else { &self.declared };
        let admitted = match admit(declared, slot.event.bytes()) {
            Ok(admitted) => admitted,
            Err(refusal) => return self.channel.counters.refuse(refusal, 1),
        };
        if admitted.redacted > 0 {
            self.channel.counters.redacted.fetch_add(admitted.redacted, Ordering::Relaxed);
        }
        let bytes: Cow<'_, [u8]> = admitted.bytes;
        if alone || slot.class() != self.class || self.builder.is_full_for(bytes.len()) {
            self.seal();
        }
        self.class = slot.class();
        self.builder.push(slot.micros(), &bytes);
        if alone {
            self.out.urgent = true;
            self.seal();
        }
    }

    fn seal(&mut self) {
        let events = self.builder.len() as u32;
        if events == 0 {
            return;
        }
        let (id, next) = match self.open_journal() {
            Ok(journal) => (journal.id(), journal.next),
            Err(why) => {
                self.builder = BlockBuilder::new();
                return self.lose(events, why);
            }
        };
        let first = next + self.out.events;
        self.out.blocks += self.builder.seal(id, first, self.class, self.origin_id, &mut self.out.bytes);
        self.out.events += events;
    }

    /// The journal to append to: the one at hand, a small free one, or a new one.
    fn open_journal(&mut self) -> Result<&Journal, String> {
        self.room.check()?;
        let now = clock::monotonic();
        if self.journal.is_none() && self.retry_at.is_none_or(|at| at <= now) {
            let directory = self.installation.journals();
            self.look_who_we_are();
            let adopted = Journal::adopt(&directory, self.origin.epoch(), self.origin_id);
            let opened = match adopted {
                Some((journal, damaged)) => {
                    self.channel.counters.damaged.fetch_add(damaged, Ordering::Relaxed);
                    Ok(journal)
                }
                None => Journal::create(&directory, &self.origin),
            };
            match opened {
                Ok(journal) => {
                    self.journal = Some(journal);
                    self.named = true;
                    self.turn = TurnMark { then: self.turn_now(), looked_at: now };
                    self.retry_at = None;
                }
                Err(error) => {
                    self.retry_at = Some(now + TURN_LOOK_EVERY);
                    return Err(format!("no journal can be made in {}: {error}", directory.display()));
                }
            }
        }
        self.journal.as_ref().ok_or_else(|| "no journal could be made a moment ago".into())
    }

    /// Writes what was refused, redacted and damaged since the last time: at once when asked, else once a
    /// second at most.
    fn count(&mut self, at_once: bool) {
        let now = clock::monotonic();
        if !at_once && now.duration_since(self.counts_at) < TURN_LOOK_EVERY {
            return;
        }
        self.counts_at = now;
        let counters = &self.channel.counters;
        let refused = Refusal::ALL.map(|reason| (reason as u8, counters.refused(reason)));
        let counted = Counts {
            refused: refused.into(),
            redacted: counters.redacted.load(Ordering::Relaxed),
            damaged: counters.damaged.load(Ordering::Relaxed),
            removed: Vec::new(),
        };
        let since = counted.since(&self.counted);
        if since.is_empty() {
            return;
        }
        // What cannot be written now is written with what comes later.
        let Ok((id, next)) = self.open_journal().map(|journal| (journal.id(), journal.next)) else { return };
        let first = next + self.out.events;
        write_note(Kind::Counts, id, first, self.origin_id, &since, &mut self.out.bytes);
        self.out.counted = Some(counted);
    }

    /// Appends what is sealed. What the disk does not take is refused, and whoever waits is told.
    fn append(&mut self) {
        if self.out.bytes.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.out);
        if let Some(journal) = &mut self.journal {
            match journal.append(&batch.bytes, batch.blocks, batch.events) {
                Ok(()) => {
                    journal.urgent |= batch.urgent;
                    self.is_losing &= batch.events == 0;
                    self.counted = batch.counted.unwrap_or_else(|| std::mem::take(&mut self.counted));
                    self.channel.counters.accepted.fetch_add(batch.events.into(), Ordering::Relaxed);
                    self.sync.appended(&journal.file, std::mem::take(&mut self.named));
                }
                Err(error) => {
                    let why = format!("cannot append to {}: {error}", journal.path.display());
                    self.lose(batch.events, why);
                }
            }
        }
        batch.bytes.clear();
        self.out.bytes = batch.bytes;
    }

    /// Counts events that the disk did not take; whoever syncs next is told.
    fn lose(&mut self, events: u32, why: String) {
        if !std::mem::replace(&mut self.is_losing, true) {
            log::error!("{why}: events are refused until there is room");
        }
        self.channel.counters.refuse(Refusal::Disk, events.into());
        self.failure = Some(why);
    }

    fn turn_if_due(&mut self, asked: bool, last: bool) {
        let now = clock::monotonic();
        let looks = self.journal.is_some() && now.duration_since(self.turn.looked_at) >= TURN_LOOK_EVERY;
        if looks {
            self.turn.looked_at = now;
        }
        if let Some(journal) = self.journal.take_if(|journal| (looks || last) && journal.is_gone()) {
            let path = journal.path.display();
            log::error!("{path} was removed by somebody, with {} events in it", journal.next);
            self.failure = Some(format!("{path} was removed by somebody"));
            self.channel.counters.damaged.fetch_add(1, Ordering::Relaxed);
        }
        // Time stamps are compared for equality alone, so a clock that jumps does no harm.
        let turn_asked = looks && self.turn_now() != self.turn.then;
        let Some(journal) = &self.journal else { return };
        let full = journal.len >= if last { JOURNAL_ADOPT_BYTES_MAX } else { JOURNAL_BYTES };
        let due = full || journal.urgent || (journal.has_events() && (asked || turn_asked));
        if !due {
            return;
        }
        if let Some(mut journal) = self.journal.take() {
            if let Err(error) = journal.end(self.origin_id) {
                log::warn!("{} ends without its end: {error}", journal.path.display());
            }
            self.sync.turned(journal);
        }
    }

    /// The directory and the device id as they are now: either may have been removed since the last journal.
    fn look_who_we_are(&mut self) {
        let mended = self.installation.create().and_then(|strangers| {
            Ok(strangers + u64::from(self.installation.mend_device_id(&self.origin.device_id)?))
        });
        self.channel.counters.damaged.fetch_add(mended.unwrap_or(0), Ordering::Relaxed);
        let id = self.installation.device_id_or_new();
        if let Some(device_id) = id.ok().filter(|id| *id != self.origin.device_id) {
            self.origin.device_id = device_id;
            self.origin_id = self.origin.id();
        }
    }

    /// When somebody last touched `turn`.
    fn turn_now(&self) -> Option<SystemTime> {
        std::fs::symlink_metadata(self.installation.turn()).and_then(|found| found.modified()).ok()
    }
}
