//! Every maximum and interval of the crate, each with the reason for its value.
//!
//! Units and qualifiers stand last: `_BYTES_MAX`, `_EVENTS_MAX`, `_MS`.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

// ---- events -------------------------------------------------------------------------------------

/// Longest event name. Receivers index names; 128 holds every name of the OpenTelemetry conventions.
pub(crate) const NAME_BYTES_MAX: usize = 128;

/// Most properties an event carries. Owed to the one byte that counts them, and to what a person can review.
pub(crate) const PROPERTIES_MAX: usize = 32;

/// Longest property key: half a name.
pub(crate) const KEY_BYTES_MAX: usize = 64;

/// Longest string value. Usage events carry words, not documents.
pub(crate) const STRING_BYTES_MAX: usize = KIB;

/// Largest event as it is stored, its time included. One event must fit a block's body uncompressed.
pub(crate) const EVENT_BYTES_MAX: usize = BLOCK_BODY_BYTES_MAX;

/// Most bytes that an event's time takes beside it: a 64-bit varint with its marker.
pub(crate) const EVENT_TIME_BYTES_MAX: usize = 9;

// ---- the privacy guard --------------------------------------------------------------------------

/// Most secrets of the environment that values are compared with: more than any environment that people keep.
pub(crate) const SECRETS_MAX: usize = 256;

/// Shapes of events (a name and its keys) of which admission remembers that nothing stands against them: more than
/// most programs have, and a few hundred bytes each.
pub(crate) const SHAPES_MAX: usize = 32;

/// Most keys of which the log says that they were left out: each is said once, and keys may be made by a program.
pub(crate) const KEYS_SAID_MAX: usize = 64;

// ---- the channel --------------------------------------------------------------------------------

/// Bytes of one slot of the channel; a larger event is boxed. Two cache lines.
pub(crate) const SLOT_BYTES_MAX: usize = 128;

/// Slots of the channel unless the builder says otherwise: 16,384 x 128 bytes = 2 MiB, and more than a
/// burst of 15,000 events meets while the writer sleeps.
pub(crate) const CHANNEL_EVENTS: usize = 16_384;

/// Most slots that the builder takes: 1,048,576 x 128 bytes = 128 MiB.
pub(crate) const CHANNEL_EVENTS_MAX: usize = 1 << 20;

/// Most bytes of boxed events in the channel: what a host would still call a queue and not a leak.
pub(crate) const CHANNEL_BOXED_BYTES_MAX: usize = 8 * MIB;

// ---- blocks and journals ------------------------------------------------------------------------

/// Most events in a block: the bits of one queue entry's bitmap.
pub(crate) const BLOCK_EVENTS_MAX: usize = 128;

/// Largest body of a block as stored. sled keeps values of up to 6 KiB out of blob files at our segment
/// size, and a power cut may lose blob files.
pub(crate) const BLOCK_BODY_BYTES_MAX: usize = 4 * KIB;

/// Largest body of a block before LZ4: bounds what a hostile block makes a reader allocate.
pub(crate) const BLOCK_RAW_BYTES_MAX: usize = 32 * KIB;

/// A journal is turned when it has grown to this: one read, one intake and one unlink each.
pub(crate) const JOURNAL_BYTES: u64 = 4 * MIB as u64;

/// The same where the quota is so small that a journal is a large part of it: a block's largest size, some times.
pub(crate) const JOURNAL_BYTES_MIN: u64 = 64 * KIB as u64;

/// A free journal below this is gone on with by the next writer, so that 10,000 short processes leave a
/// handful of files, and a trickle of [`JOURNAL_BYTES`] that was packed to a fifth of it is gone on with, too.
pub(crate) const JOURNAL_ADOPT_BYTES_MAX: u64 = MIB as u64;

/// Most free journals that a starting writer looks at before it makes its own.
pub(crate) const JOURNAL_ADOPT_TRIES_MAX: usize = 64;

/// How often a journal is made anew when somebody took it for one that a crash left half-made.
pub(crate) const JOURNAL_CREATE_TRIES_MAX: u32 = 8;

/// Largest index in a journal: 26 bits of an event's id.
pub(crate) const JOURNAL_EVENTS_MAX: u32 = 1 << 26;

/// A journal whose blocks are smaller than this on average is packed before it is let go: headers weigh more
/// than a twentieth of it, and LZ4 finds little in small blocks.
pub(crate) const PACK_BLOCK_BYTES: u64 = 1_280;

/// Small blocks that make it worth to pack a journal that the next process will go on with.
pub(crate) const PACK_SMALL_BLOCKS: u64 = 16;

/// Most bytes of a journal that are read: a turn may come one full channel late.
pub(crate) const JOURNAL_READ_BYTES_MAX: u64 = 64 * MIB as u64;

/// Most bytes of a journal that are kept in memory until the disk has confirmed them: several ticks' worth at
/// full speed.
pub(crate) const UNSYNCED_BYTES_MAX: usize = MIB;

/// From one heartbeat of a server to the next, as Prefect's does it.
pub(crate) const HEARTBEAT_EVERY: Duration = Duration::from_secs(600);

/// The least that a program may choose: what comes more often is no sign of life.
pub(crate) const HEARTBEAT_EVERY_MIN: Duration = Duration::from_secs(1);

/// Largest `session` that is read: ten times what it takes.
pub(crate) const SESSION_BYTES_MAX: u64 = 2 * KIB as u64;

/// Longest text that counts as a device id; a longer file is unreadable.
pub(crate) const DEVICE_ID_BYTES_MAX: usize = 256;

/// How long a file that others write in place must have rested before what stands in it counts.
pub(crate) const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// Largest settings file that is read: a person's own, and mostly a few lines.
pub(crate) const SETTINGS_BYTES_MAX: u64 = MIB as u64;

/// How often settings files are looked at: with [`SETTLED_AFTER`], a refusal is known everywhere in some 3 s.
pub(crate) const CONSENT_LOOK_EVERY: Duration = Duration::from_secs(2);

/// A settings file that has been changing for so long, and still does, says nothing that could be relied on.
pub(crate) const CONSENT_UNSETTLED_MAX: Duration = Duration::from_secs(4);

/// A thread that comes back after more than this may have been stopped through a no and a yes.
pub(crate) const CONSENT_GAP: Duration = Duration::from_secs(1);

/// How long a request may still take after a refusal, so that its events are booked as what they are.
pub(crate) const CONSENT_GRACE: Duration = Duration::from_secs(5);

/// How long whoever deletes after a refusal waits for the spool, and for writers to let go of what they hold: a
/// holder that lives has let go by then, or shows that a request still takes. What a stopped one holds is deleted
/// under it.
pub(crate) const ERASE_WAIT: Duration = Duration::from_millis(2_500);

/// How long whoever deletes waits for a holder that shows that: [`CONSENT_GRACE`], and what it takes to begin and to
/// close the store.
pub(crate) const ERASE_WAIT_MAX: Duration = Duration::from_secs(7);

/// How often a holder shows that a request still takes after a refusal: several times within [`ERASE_WAIT`].
pub(crate) const GRACE_SHOWN_EVERY: Duration = Duration::from_millis(500);

/// A holder that shows nothing for so long is not waited for any longer: it is stopped.
pub(crate) const GRACE_SILENT_AFTER: Duration = Duration::from_secs(2);

/// How often the product's server is asked.
pub(crate) const SERVER_ASK_EVERY: Duration = Duration::from_secs(3600);

/// How long the product's server may take to answer.
pub(crate) const SERVER_ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Below so much free disk nothing is written, unless the product says otherwise: others need it more.
pub(crate) const FREE_DISK_BYTES_MIN: u64 = 64 * MIB as u64;

/// The same whatever the product says: what the store needs to deliver a disk full of journals, and so to give
/// it back. It levels off at five segments; the rest is for blocks on their way.
pub(crate) const STORE_ROOM_BYTES: u64 = 8 * SEGMENT_BYTES as u64;

/// Below so much free disk nothing is taken in while something is owed: what is left is for the acks.
pub(crate) const INTAKE_ROOM_BYTES: u64 = STORE_ROOM_BYTES / 2;

// ---- intervals of the writer and the sync thread ------------------------------------------------

/// The writer's tick while events come: what a kill -9 may lose.
pub(crate) const TICK_BUSY: Duration = Duration::from_millis(10);

/// The writer's tick when idle: ten wake-ups a second stay below 0.1% of a core.
pub(crate) const TICK_IDLE: Duration = Duration::from_millis(100);

/// A writer that was not seen for ten idle ticks may be in another process, by a fork: a caller then asks which
/// one it is in.
pub(crate) const WRITER_SILENT_AFTER: Duration = Duration::from_secs(1);

/// How often unsynced bytes are synced when nobody waits: what a power cut may lose.
pub(crate) const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How often a writer looks at the file `turn`, and the least time between two `counts` blocks.
pub(crate) const TURN_LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a dropped client waits for its events to be synced: a disk, not a network.
pub(crate) const DROP_TIMEOUT: Duration = Duration::from_secs(2);

// ---- ownership ----------------------------------------------------------------------------------

/// A process younger than this never wants the store: short commands pay nothing for it.
pub(crate) const OWNER_AGE_MIN: Duration = Duration::from_secs(3);

/// Least and most time between two tries for the owner's lock: after a death one has taken over within 5 s.
pub(crate) const OWNER_TRY_EVERY_MS: std::ops::Range<u64> = 2_000..4_000;

/// How often the owner looks whether somebody waits for the store.
pub(crate) const OWNER_PROBE_EVERY: Duration = Duration::from_millis(250);

/// How often the owner looks whether its lock is still the one that others try.
pub(crate) const OWNER_CHECK_EVERY: Duration = Duration::from_secs(5);

/// How often the owner's lock shows that somebody alive holds it: each time costs the file system a page.
pub(crate) const OWNER_LIFE_EVERY: Duration = Duration::from_secs(30);

/// An owner that has not shown itself for so long is stopped, or is what a fork left of it.
pub(crate) const OWNER_SILENT_AFTER: Duration = Duration::from_secs(120);

/// How often a waiter tries the owner's lock.
pub(crate) const OWNER_WAIT_EVERY: Duration = Duration::from_millis(20);

/// How long an owner that steps down lets a request in flight end.
pub(crate) const HAND_OVER_GRACE: Duration = Duration::from_secs(1);

/// A lock that is still held after this long is named as held by a stopped process.
pub(crate) const HELD_NAMED_AFTER: Duration = Duration::from_secs(2);

/// How often a process that ends may have another one deliver.
pub(crate) const SPAWN_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// How many journals are looked into for something that it could deliver.
pub(crate) const SPAWN_JOURNALS_MAX: usize = 64;

/// How long that one may take.
pub(crate) const SPAWN_TIMEOUT: Duration = Duration::from_secs(60);

/// What is left of a shutdown's time when the network was used: for the store to be closed.
pub(crate) const SPEND_MARGIN: Duration = Duration::from_millis(300);

/// How long a command waits for the store before it gives up.
pub(crate) const STORE_WAIT_MAX: Duration = Duration::from_secs(10);

/// How often an owner that can deliver asks writers to let go of what they have.
pub(crate) const TURN_EVERY: Duration = Duration::from_secs(30);

/// How often the owner looks for free journals.
pub(crate) const INTAKE_LOOK_EVERY: Duration = Duration::from_secs(1);

/// Most journals that one look at the directory remembers: bounds memory, not what is taken in.
pub(crate) const INTAKE_JOURNALS_MAX: usize = 256;

/// Most destinations of a product: each has a thread and a connection.
pub(crate) const DESTINATIONS_MAX: usize = 16;

// ---- the spool ----------------------------------------------------------------------------------

/// Intake goes on while a destination that can deliver is owed less than this: enough for a courier to
/// stay busy, little enough for sled to stay small.
pub(crate) const OWED_BYTES: u64 = 4 * MIB as u64;

/// What the telemetry directory may take, unless the product says otherwise: at 20 to 50 bytes an event, more
/// than a million.
pub(crate) const QUOTA_BYTES: u64 = 64 * MIB as u64;

/// How long an event may wait, unless the product says otherwise: a quarter of a year.
pub(crate) const QUOTA_AGE: Duration = Duration::from_secs(90 * 24 * 3600);

/// How many events may wait, unless the product says otherwise: as many as there is room for, since what they
/// cost is bytes.
pub(crate) const QUOTA_EVENTS: u64 = u64::MAX;

/// Most journals: far more than processes, far less than a directory stands.
pub(crate) const QUOTA_FILES: usize = 4_096;

/// Into how many journals a quota is divided: with one each, nobody can drop anything of sixteen writers, and a
/// journal that is dropped is a sixteenth. The default quota makes journals of [`JOURNAL_BYTES`].
pub(crate) const QUOTA_PARTS: u64 = 16;

/// How often the directory is looked at for its quota by the owner, and by a writer that refuses. What a loop
/// writes meanwhile is above the quota.
pub(crate) const QUOTA_LOOK_EVERY: Duration = Duration::from_secs(1);

/// Most journals that the owner drops from before it looks around again: each costs a ledger, and somebody may
/// wait for the store.
pub(crate) const QUOTA_DROPS_MAX: usize = 4;

/// At so many times the quota events are refused, whatever the product wants: whoever holds the spool is stopped,
/// or slower than a loop.
pub(crate) const QUOTA_TIMES_MAX: u64 = 8;

/// Most free journals that a writer looks at to make room where nobody holds the spool.
pub(crate) const QUOTA_WRITER_JOURNALS_MAX: usize = 64;

/// Blocks of a journal that are looked at for the names in it: 128 events each, enough to tell a half.
pub(crate) const LOUD_SAMPLES: u64 = 4;

/// Names of a journal that are kept in mind meanwhile: those that hold a sixteenth of it or more.
pub(crate) const LOUD_NAMES_MAX: u64 = 16;

/// sled's segment. Up to one unsynced segment, no power cut of 51,535 lost anything.
pub(crate) const SEGMENT_BYTES: usize = 512 * KIB;

/// sled's page cache.
pub(crate) const SLED_CACHE_BYTES: u64 = 4 * MIB as u64;

/// A persist follows this many changed blocks: some 50 to 130 KiB of sled's log.
pub(crate) const PERSIST_BLOCKS: u32 = 8;

/// The same while the store has fewer than [`STORE_SMALL_BLOCKS`] blocks, where each costs less log.
pub(crate) const PERSIST_BLOCKS_SMALL: u32 = 16;

/// Up to here the store counts as small.
pub(crate) const STORE_SMALL_BLOCKS: usize = 512;

/// A persist follows this many changed queue entries.
pub(crate) const PERSIST_ENTRIES: u32 = 256;

/// A persist follows the first change after this long: what a crash may repeat.
pub(crate) const PERSIST_EVERY: Duration = Duration::from_secs(5);

/// How often the ledger is written when nothing but the time of the next try has changed: while a receiver is
/// down for long, that is all there is to say.
pub(crate) const LEDGER_TIMES_EVERY: Duration = Duration::from_secs(60);

/// How often journals that are done with are unlinked while others are under way: each time costs a ledger.
pub(crate) const LET_GO_EVERY: Duration = Duration::from_millis(500);

/// A drained store above this is written anew, since sled gives no space back: with the rest, of which what was sent
/// takes a MiB, a directory without events stays below 5 MiB.
pub(crate) const STORE_REWRITE_BYTES: u64 = 3 * MIB as u64;

/// The same of one that is not drained: half of the default quota, which nobody reaches whose destinations all take
/// what they are sent.
pub(crate) const STORE_REWRITE_WAITING_BYTES: u64 = 32 * MIB as u64;

/// And at so many times what somebody is owed: a new one takes twice that, and while it is made, both are open, which
/// takes the memory of two.
pub(crate) const STORE_REWRITE_WAITING_TIMES: u64 = 4;

/// For so long nothing happened in a store before it is written anew: one that fills again at once would only
/// grow again.
pub(crate) const STORE_REWRITE_AFTER: Duration = Duration::from_secs(2);

/// Openings in a row that never came to an end before a store is set aside unopened. Most are kills, which cost
/// nothing, and a panic of sled is told by its hook at the second; this is for what ends a host in another way.
pub(crate) const OPENINGS_MAX: u32 = 64;

/// Stores that are kept after they were set aside, the newest: what was in them is in `taken/` too.
pub(crate) const STORES_ASIDE_MAX: usize = 4;

/// Files that are kept after they were set aside, the newest of a directory: more than a person looks at.
pub(crate) const FILES_ASIDE_MAX: usize = 64;

/// The least from one event that tells what was lost to the next.
pub(crate) const LOSSES_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// How often it is looked whether there is something to tell: a sum over the books.
pub(crate) const LOSSES_LOOK_EVERY: Duration = Duration::from_secs(60);

/// Journals of which it is remembered what of them is lost, the newest losses: as many as are ever taken at once.
pub(crate) const LOST_JOURNALS_MAX: usize = INTAKE_JOURNALS_MAX;

/// Places of one journal that are remembered as lost, the first: one with more is damaged throughout. All of them
/// together take 400 KB of the ledger.
pub(crate) const LOST_RANGES_MAX: usize = 64;

/// Most bytes of a store that are copied or read when it is not sled that reads it: ten times what a drained one
/// takes.
pub(crate) const STORE_READ_BYTES_MAX: u64 = 64 * MIB as u64;

/// Most files of one directory that are examined: four times the quota.
pub(crate) const EXAMINED_FILES_MAX: usize = 4 * QUOTA_FILES;

/// Handles of stores that are forgotten because a sync failed: closing them would panic, keeping them costs each
/// a cache and a file.
pub(crate) const STORES_FORGOTTEN_MAX: usize = 8;

/// How long sled's own lock may live on after it was closed.
pub(crate) const SLED_LOCK_WAIT: Duration = Duration::from_secs(2);

/// Largest of sled's small files (`conf`, `snap.*`) that is looked at: a larger one is damaged. 16 bytes a page.
pub(crate) const SLED_FILE_BYTES_MAX: u64 = 64 * MIB as u64;

/// Largest ledger that is read.
pub(crate) const LEDGER_BYTES_MAX: u64 = 4 * MIB as u64;

/// Largest `milestones.json` that is read.
pub(crate) const MILESTONES_BYTES_MAX: u64 = 1 << 20;

/// How often the owner looks whether the product's own code wrote it.
pub(crate) const MILESTONES_LOOK_EVERY: Duration = Duration::from_secs(2);

/// Most milestones that are learnt from it.
pub(crate) const MARKS_MAX: usize = 1_024;

/// Journals with a milestone that a writer looks into before it writes another.
pub(crate) const MILESTONE_JOURNALS_MAX: usize = 64;

/// Most milestones that the ledger carries beside the store: products have a handful. Some 60 KiB with the
/// longest names.
pub(crate) const LEDGER_MILESTONES_MAX: usize = 256;

/// Most dead letters: more than a person reads. The oldest go first, booked as dropped for the quota.
pub(crate) const DEAD_LETTERS_MAX: usize = 4_096;

/// Most bytes of a receiver's answer that a dead letter keeps.
pub(crate) const DEAD_ANSWER_BYTES_MAX: usize = 512;

// ---- what was sent ------------------------------------------------------------------------------

/// Most bytes of the history: some 25,000 events, of which a person looks at the newest.
pub(crate) const SENT_BYTES_MAX: u64 = MIB as u64;

/// Which part of the quota of bytes the history may take, where that is less.
pub(crate) const SENT_QUOTA_PARTS: u64 = 16;

/// What the disk has to have free for the history to be written: what gives room back comes first.
pub(crate) const SENT_ROOM_BYTES: u64 = 32 * MIB as u64;

/// Most runs of one name in a line of the history: with the longest names and a full request a line has 300 KiB.
pub(crate) const SENT_LINE_RUNS_MAX: usize = 1_024;
// ---- bundles ------------------------------------------------------------------------------------

/// What stands before the blocks of a bundle: its summary, which `head` reads.
pub(crate) const BUNDLE_HEAD_BYTES: usize = 4 * KIB;

/// Bytes of a bundle that are read at once: some of the largest blocks that its reader takes for whole.
pub(crate) const BUNDLE_READ_BYTES: usize = 256 * KIB;

/// Most origins of one bundle: those of a thousand versions of a product on a host. Bounds the memory of a reader.
pub(crate) const BUNDLE_ORIGINS_MAX: usize = 4_096;

/// Largest file of a key for signatures that is read: a word and 64 digits.
pub(crate) const SIGNING_KEY_BYTES_MAX: u64 = 1 << 10;

/// Largest receipt, and largest record of an export or of the imports, that is read: some hundred thousand ranges.
pub(crate) const RECORD_BYTES_MAX: u64 = 16 * MIB as u64;

/// Exports that were acknowledged or given up and are still known by name, the newest.
pub(crate) const EXPORTS_ENDED_MAX: usize = 256;

/// How long it is known which events came by a bundle.
pub(crate) const IMPORTS_KEPT: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Journals of which it is known, the newest.
pub(crate) const IMPORTED_JOURNALS_MAX: usize = 100_000;

/// Ranges of one imported journal whose end is kept, the first: more are told as waiting. 10 KiB of the store.
pub(crate) const CARRIED_RANGES_MAX: usize = 1_024;

// ---- delivery -----------------------------------------------------------------------------------

/// How far this clock and a receiver's may be apart: more than a network's delay, less than what confuses a person who
/// compares times.
pub(crate) const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// Largest file with the value of a header: more than any receiver takes.
pub(crate) const HEADER_FILE_BYTES_MAX: u64 = 64 * KIB as u64;

/// Most events in a request.
pub(crate) const BATCH_EVENTS_MAX: usize = 4_096;

/// Fewest that a request is halved to because no answer came in time: below, it is not for its size.
pub(crate) const BATCH_EVENTS_MIN: usize = 64;

/// The same as the most for a Prefect server: as many as were seen to be taken at once.
pub(crate) const PREFECT_EVENTS_MAX: usize = 1_000;

/// The same for Amplitude, which takes 2,000 and 1 MB: half of it, so that usual events stay below the bytes, too.
pub(crate) const AMPLITUDE_EVENTS_MAX: usize = 1_000;

/// Most bytes of stored blocks in a request: with usual events, about 1 MiB before gzip.
pub(crate) const BATCH_BLOCK_BYTES_MAX: u64 = 256 * KIB as u64;

/// Most bytes of an answer's headers, and of its body, that are read.
pub(crate) const ANSWER_BYTES_MAX: u64 = 64 * KIB as u64;

/// Most bytes of a file of certificates that are read: what a system trusts takes a quarter of it.
#[cfg(feature = "tls")]
pub(crate) const CERTIFICATES_BYTES_MAX: u64 = MIB as u64;

/// Longest wait for a connection, its TLS included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for a request as a whole.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait for an answer's body: its head has already said what counts.
pub(crate) const ANSWER_BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest part of a receiver's own words that a reason repeats: two lines of a terminal.
pub(crate) const SAID_CHARS_MAX: usize = 160;

/// Jobs that a courier has at once: one whose request is in flight, and one that is prepared meanwhile, so that its line
/// is never idle for that. Each takes its blocks, its body and what that is packed from: some 2 MiB.
pub(crate) const COURIER_JOBS_MAX: usize = 2;

/// How long a dropped courier waits for its thread. An interrupt takes milliseconds; a connection that is
/// still being made cannot be interrupted, and is left alone after this.
pub(crate) const COURIER_END_WAIT: Duration = Duration::from_secs(1);

/// By so much the wall clock has run ahead of the monotonic one when a machine wakes up: more than clocks are
/// corrected by.
pub(crate) const SLEEP_MIN: Duration = Duration::from_secs(5);

/// Over so long the first deliveries of a fleet that starts together are spread, unless the product says otherwise: a
/// thousand hosts are a hundred requests a second, and a person who has just started one sees it deliver.
pub(crate) const SPREAD: Duration = Duration::from_secs(10);

/// The most that it may say: a day, in which whoever is down is looked after.
pub(crate) const SPREAD_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Events that are older than this when a program starts were there before it.
pub(crate) const SPREAD_AGE_MIN: Duration = Duration::from_secs(1);

/// Backoff after no connection: a network comes back without notice, so it is tried often, and a host notices 23 s
/// later on average. Up to 300 s it would be 117 s. That would spare a receiver that 100,000 hosts lost: in
/// `benches/herd` it is asked 2,219 times a second while it is away and 17,759 times in the worst second after that,
/// instead of 444 and 1,988; but all hosts are done after 271 s, instead of 300 s.
pub(crate) const BACKOFF_CONNECT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Backoff after a refusal that may pass: the receiver is there and asks for room. From `benches/herd`, where a
/// receiver answers 503 for an hour: with at most 300 s it is asked 444 times a second meanwhile and has served
/// 100,000 hosts 300 s after its return, half of them after 112 s. With at most 900 s it has nothing to do for most
/// of the time (899 s, half of them 342 s); with 60 s it is asked five times as often and hardly sooner done (236 s).
/// A first wait of 10 s would halve the worst second of a crowd, and hold up everybody whom one lone refusal met.
pub(crate) const BACKOFF_REFUSED: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(5 * 60));

/// Backoff of a hold: somebody has to mend a setting first.
pub(crate) const BACKOFF_HELD: (Duration, Duration) =
    (Duration::from_secs(15 * 60), Duration::from_secs(6 * 3600));

/// Longest wait that a receiver's `Retry-After` can ask for.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Longest line of OpenTelemetry's file format where it has more than one event. A Collector's file reader takes
/// lines of a MiB (`max_log_size` of its fileconsumer), and cuts longer ones.
pub(crate) const OTLP_LINE_BYTES_MAX: usize = 900 * KIB;

/// Deletions at the same time of which each may clear away what another one was just writing.
pub(crate) const ERASED_AT_ONCE_MAX: usize = 64;

/// Times that the telemetry directory is tried to be made: whoever clears away what killed ones left may take one that
/// was just begun for such.
pub(crate) const MAKE_TRIES_MAX: usize = 8;
