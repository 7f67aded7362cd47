//! The writer: one thread that takes events out of the channel and appends them as blocks.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::channel::{Channel, Stamp};
use super::file::Journal;
use super::greeting::Greeting;
use super::milestones::Reached;
use super::opener::{LookDeviceIdUp, MakeOrigin, Opener};
use super::sync::SyncThread;
use crate::admission::{Admission, Refusal, Rule};
use crate::block::{BlockBuilder, Class, Counts, DropReason, Kind, write_note};
use crate::clock;
use crate::consent::{State, Watch};
use crate::event::{Event, Parts};
use crate::installation::Installation;
use crate::limits::{JOURNAL_ADOPT_BYTES_MAX, TICK_BUSY, TICK_IDLE, TURN_LOOK_EVERY};
use crate::process;
use crate::product::{Quota, SESSION_ID, SESSION_START};

/// Most events between two appends, so that who waits for a sync waits for few of others'.
const EVENTS_AN_APPEND_MAX: usize = 4_096;

/// How long a sender may take between its look at the channel and its send when the channel is closed.
const LATE_SENDERS: Duration = Duration::from_micros(100);

/// What the writer works on.
pub(crate) struct WriterSettings {
    pub(crate) installation: Installation,
    pub(crate) admission: Admission,
    pub(crate) milestones: Arc<Reached>,
    pub(crate) greeting: Greeting,
    /// Bytes of the disk that are left to others.
    pub(crate) free_disk_min: u64,
    /// The device id that the installation was known by so far.
    pub(crate) known_device_id: LookDeviceIdUp,
    pub(crate) quota: Quota,
    /// Whether anything may be collected.
    pub(crate) watch: Arc<Watch>,
    /// Makes the origin once the device id is known.
    pub(crate) origin: MakeOrigin,
}

/// The writer's thread. It opens files only once it runs.
pub(crate) struct Writer {
    pub(super) channel: Arc<Channel>,
    pub(super) sync: Arc<SyncThread>,
    installation: Installation,
    admission: Admission,
    reached: Arc<Reached>,
    pub(super) watch: Arc<Watch>,
    /// What was heeded last, and when.
    pub(super) state: State,
    pub(super) heeded_at: (Instant, u64),
    pub(super) opener: Opener,
    pub(super) journal: Option<Journal>,
    /// Holds the milestones of one append, and nothing else.
    milestones: Option<Journal>,
    /// Whether the journal's name is not yet known to the sync thread.
    named: bool,
    builder: BlockBuilder,
    class: Class,
    /// Blocks that are sealed and not yet appended.
    out: Batch,
    counted: Counts,
    /// Milestones that had been reached before.
    already: Counts,
    counts_at: Instant,
    turn: TurnMark,
    /// What was lost since somebody was last told.
    pub(super) failure: Option<String>,
    /// Whether the last append failed: it is said once.
    is_losing: bool,
    promise: Option<Promise>,
    /// The last ticket of which all events are appended.
    kept: u64,
    /// Whether events were appended since, for which nobody waited yet.
    pub(super) is_unkept: bool,
    /// When the device id was last looked at.
    pub(super) id_read_at: Instant,
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
        let WriterSettings {
            installation,
            admission,
            milestones: reached,
            greeting,
            free_disk_min,
            quota,
            known_device_id,
            watch,
            origin,
        } = settings;
        let (syncing, synced) = (sync.clone(), installation.clone());
        process::spawn("sync", move || syncing.run(&synced))?;
        let now = clock::monotonic();
        let mut writer = Self {
            channel: channel.clone(),
            sync: sync.clone(),
            opener: Opener::new(
                installation.clone(),
                known_device_id,
                origin,
                greeting,
                watch.clone(),
                free_disk_min,
                quota,
            ),
            installation,
            admission,
            reached,
            state: watch.state(),
            watch,
            heeded_at: (now, clock::wall_micros()),
            journal: None,
            milestones: None,
            named: false,
            builder: BlockBuilder::new(),
            class: Class::Bulk,
            out: Batch::default(),
            counted: Counts::default(),
            already: Counts::default(),
            counts_at: now,
            turn: TurnMark { then: None, looked_at: now },
            failure: None,
            is_losing: false,
            promise: None,
            kept: 0,
            is_unkept: false,
            id_read_at: now,
        };
        if writer.state.is_yes() {
            writer.prepare();
        }
        Ok(writer)
    }

    /// Makes the place where events will lie.
    pub(super) fn prepare(&mut self) {
        if let Err(why) = self.opener.prepare() {
            self.say(&why);
        }
    }

    fn run(mut self) -> io::Result<()> {
        let mut tick = TICK_BUSY;
        loop {
            self.channel.tick();
            self.heed();
            // Read before the channel is: what was sent before the ticket was drawn is then in the channel.
            let ticket = self.channel.last_ticket();
            let closing = self.channel.is_closing();
            let waiting = self.channel.receiver.len();
            if self.promise.is_none() && ticket > self.kept {
                self.promise = Some(Promise { ticket, left: waiting });
            }
            if self.state.is_settling {
                // What was enqueued meanwhile waits, and so does whoever wants to end.
                self.channel.sleep(TICK_BUSY);
                continue;
            }
            let asked = self.channel.take_turn_request() || self.sync.wants_turn();
            let taken = if self.state.is_yes() {
                let taken = self.take(waiting.min(EVENTS_AN_APPEND_MAX));
                self.count(asked || closing || self.promise.is_some());
                taken
            } else {
                self.discard();
                0
            };
            self.append();
            self.turn_if_due(asked, closing);
            self.keep_promise(taken);
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
    pub(super) fn keep_promise(&mut self, taken: usize) {
        let Some(promise) = &mut self.promise else { return };
        let more = taken > promise.left;
        promise.left = promise.left.saturating_sub(taken);
        if promise.left == 0 {
            self.is_unkept = more;
            let ticket = promise.ticket;
            if let Some(why) = self.failure.take() {
                self.sync.failed(ticket, why);
            }
            self.sync.written(ticket);
            self.kept = ticket;
            self.promise = None;
        }
    }

    /// Takes events out of the channel, as many as the journal has room for, and seals them into blocks.
    fn take(&mut self, events: usize) -> usize {
        if events == 0 {
            return 0;
        }
        let allowed = self.opener.check_quota(self.journal.is_none());
        let (mut taken, mut refused) = (0, 0);
        for event in self.channel.receiver.clone().try_iter().take(events) {
            self.channel.release(&event);
            taken += 1;
            if allowed.is_err() && Stamp::of(&event).class() != Class::Milestone {
                refused += 1;
            } else {
                self.admit(&event);
            }
            if self.is_full() {
                break;
            }
        }
        self.seal();
        if let (1.., Err(why)) = (refused, allowed) {
            self.lose(refused, Refusal::Quota, why);
        }
        taken
    }

    /// Whether the journal has no room for more, once what is gathered stands in it.
    fn is_full(&self) -> bool {
        let (bytes, events) = self.journal.as_ref().map_or((0, 0), |journal| (journal.len, journal.next));
        let quota = self.opener.quota();
        bytes + self.out.bytes.len() as u64 >= quota.journal_bytes()
            || events + self.out.events + self.builder.len() as u32 >= quota.journal_events()
    }

    fn admit(&mut self, event: &Event) {
        let (class, micros) = (Stamp::of(event).class(), Stamp::of(event).micros());
        let alone = class == Class::Milestone;
        let beat;
        let event = match class {
            Class::Latest => match self.with_session(event) {
                Ok(event) => {
                    beat = event;
                    &beat
                }
                Err(why) => return self.lose_unopened(1, why),
            },
            Class::Milestone | Class::Bulk => event,
        };
        let counters = &self.channel.counters;
        let bytes = match self.admission.admit(event.bytes(), alone, |rule| counters.redact(rule)) {
            Ok(bytes) => bytes,
            Err(refusal) => return counters.refuse(refusal, 1),
        };
        if alone {
            return self.write_milestone(micros, &bytes);
        }
        if class != self.class || self.builder.is_full_for(bytes.len()) {
            self.seal();
        }
        self.class = class;
        self.builder.push(micros, &bytes);
        if self.class == Class::Latest {
            // One that a newer one takes the place of goes as a block.
            self.seal();
        }
    }

    /// Adds what only files know to a server's heartbeat: the installation's session.
    fn with_session(&mut self, event: &Event) -> Result<Event, String> {
        let session = self.opener.session()?;
        Ok(event.clone().with(SESSION_ID, session.id).with(SESSION_START, session.start))
    }

    fn seal(&mut self) {
        let events = self.builder.len() as u32;
        if events == 0 {
            return;
        }
        let (id, next, origin) = match self.open_journal() {
            Ok(journal) => (journal.id(), journal.next, journal.origin),
            Err(why) => {
                self.builder = BlockBuilder::new();
                return self.lose_unopened(events, why);
            }
        };
        let (first, before) = (next + self.out.events, self.out.bytes.len());
        self.out.blocks += self.builder.seal(id, first, self.class, origin, &mut self.out.bytes);
        self.opener.spend_room(self.out.bytes.len() - before);
        self.out.events += events;
    }

    /// The journal to append to: the one at hand, or another.
    fn open_journal(&mut self) -> Result<&Journal, String> {
        self.opener.check_room()?;
        match &mut self.journal {
            Some(journal) => Ok(journal),
            none => {
                // Before the id is read: whoever replaces it asks for a turn afterwards.
                let then = turned_at(&self.installation);
                let journal = self.opener.open()?;
                self.named = true;
                self.turn = TurnMark { then, looked_at: clock::monotonic() };
                Ok(none.insert(journal))
            }
        }
    }

    /// Writes a milestone into a journal that is let go of with the next append: no quota reaches it there, and
    /// whoever holds the store takes it first. One that is known to be reached does not go again.
    fn write_milestone(&mut self, micros: u64, event: &[u8]) {
        let name =
            Parts::of(event).and_then(|parts| std::str::from_utf8(parts.name).ok()).unwrap_or_default();
        let written = self.opener.check_room().and_then(|()| {
            if let Some(destination) = self.opener.where_reached(name)? {
                self.already.remove(destination, DropReason::AlreadyReached, 1);
                self.channel.counters.already_reached.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            let journal = match &mut self.milestones {
                Some(journal) => journal,
                none => none.insert(self.opener.open_for_milestones()?),
            };
            let (mut builder, mut block) = (BlockBuilder::new(), Vec::new());
            builder.push(micros, event);
            let (id, next, origin) = (journal.id(), journal.next, journal.origin);
            let blocks = builder.seal(id, next, Class::Milestone, origin, &mut block);
            journal.append(&block, blocks, 1).map_err(|error| cannot_append(journal, &error))
        });
        match written {
            Ok(()) => drop(self.channel.counters.accepted.fetch_add(1, Ordering::Relaxed)),
            Err(why) => {
                self.reached.set(name, false);
                self.lose_unopened(1, why);
            }
        }
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
        counters.damaged.fetch_add(self.opener.take_damaged(), Ordering::Relaxed);
        let refused = Refusal::ALL.map(|reason| (reason as u8, counters.refused(reason)));
        let guarded = Rule::ALL.into_iter().filter(|rule| *rule != Rule::Undeclared);
        let guarded = guarded.map(|rule| (rule, counters.redacted(rule))).filter(|(_, count)| *count > 0);
        let counted = Counts {
            refused: refused.into(),
            undeclared: counters.redacted(Rule::Undeclared),
            damaged: counters.damaged.load(Ordering::Relaxed),
            removed: self.already.removed.clone(),
            guarded: guarded.map(|(rule, count)| (rule.as_str().to_owned(), count)).collect(),
            failed_syncs: self.sync.failures(),
        };
        let since = counted.since(&self.counted);
        if since.is_empty() {
            return;
        }
        // What cannot be written now is written with what comes later.
        let Ok(journal) = self.open_journal() else { return };
        let (id, next, origin) = (journal.id(), journal.next, journal.origin);
        write_note(Kind::Counts, id, next + self.out.events, origin, &since, &mut self.out.bytes);
        self.out.counted = Some(counted);
    }

    /// Appends what is sealed. What the disk does not take is refused, and whoever waits is told.
    fn append(&mut self) {
        if let Some(journal) = self.milestones.take() {
            self.let_go(journal, true);
        }
        if self.out.bytes.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.out);
        if let Some(journal) = &mut self.journal {
            match journal.append(&batch.bytes, batch.blocks, batch.events) {
                Ok(()) => {
                    self.is_losing &= batch.events == 0;
                    self.is_unkept |= batch.events > 0;
                    self.counted = batch.counted.unwrap_or_else(|| std::mem::take(&mut self.counted));
                    self.channel.counters.accepted.fetch_add(batch.events.into(), Ordering::Relaxed);
                    self.sync.appended(&journal.file, std::mem::take(&mut self.named));
                }
                Err(error) => {
                    let why = cannot_append(journal, &error);
                    self.lose(batch.events, Refusal::Disk, why);
                }
            }
        }
        batch.bytes.clear();
        self.out.bytes = batch.bytes;
    }

    /// Counts events for which there is no journal: none can be had, or only one that belongs to another device id.
    fn lose_unopened(&mut self, events: u32, why: String) {
        let reason = if self.opener.has_another_id() { Refusal::Consent } else { Refusal::Disk };
        self.lose(events, reason, why);
    }

    /// Counts events for which there is no place; whoever syncs next is told.
    fn lose(&mut self, events: u32, reason: Refusal, why: String) {
        self.say(&why);
        self.channel.counters.refuse(reason, events.into());
        self.failure = Some(why);
    }

    /// Says once why events are refused, until some are taken again.
    fn say(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_losing, true) {
            log::error!("{why}; what comes meanwhile is refused");
        }
    }

    fn turn_if_due(&mut self, asked: bool, last: bool) {
        let now = clock::monotonic();
        let looks = self.journal.is_some() && now.duration_since(self.turn.looked_at) >= TURN_LOOK_EVERY;
        if looks {
            self.turn.looked_at = now;
        }
        if let Some(journal) = self.journal.take_if(|journal| (looks || last) && journal.is_gone()) {
            if self.opener.has_another_id() {
                return self.begin_anew(Some(journal));
            }
            let path = journal.path.display();
            log::error!("{path} was removed by somebody, with {} events in it", journal.next);
            self.failure = Some(format!("{path} was removed by somebody"));
            self.channel.counters.damaged.fetch_add(1, Ordering::Relaxed);
        }
        // Time stamps are compared for equality alone, so a clock that jumps does no harm.
        let turn_asked = looks && turned_at(&self.installation) != self.turn.then;
        let quota = self.opener.quota();
        let (bytes, events) = (quota.journal_bytes(), quota.journal_events());
        let is_due = |journal: &mut Journal| {
            let full = journal.len >= if last { JOURNAL_ADOPT_BYTES_MAX } else { bytes };
            let asked = journal.has_any && (asked || turn_asked);
            asked || full || journal.next >= events || last && journal.is_worth_packing_again()
        };
        if let Some(journal) = self.journal.take_if(is_due) {
            // One that is small again once it is packed is gone on with, so that a trickle of a month is few files;
            // but not where somebody asked for it.
            let ends = asked || turn_asked || !journal.is_worth_packing();
            self.let_go(journal, ends);
        }
    }

    pub(super) fn let_go(&mut self, mut journal: Journal, ends: bool) {
        if let Err(error) = if ends { journal.end() } else { Ok(()) } {
            log::warn!("{} ends without its end: {error}", journal.path.display());
        }
        self.sync.turned(journal);
    }
}

fn cannot_append(journal: &Journal, error: &io::Error) -> String {
    format!("cannot append to {}: {error}", journal.path.display())
}

/// When somebody last touched `turn`.
fn turned_at(installation: &Installation) -> Option<SystemTime> {
    std::fs::symlink_metadata(installation.turn()).and_then(|found| found.modified()).ok()
}
