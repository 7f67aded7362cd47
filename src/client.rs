//! The client: what a program embeds.

mod heartbeat;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::admission::{Admission, Refusal, Rule};
use crate::block::Class;
use crate::clock;
use crate::consent::{Answer, Watch};
use crate::delivery::{Deliver, Format};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::installation::Installation;
use crate::journal::{Channel, Greeting, Reached, Stamp, SyncEvery, SyncThread, Writer, WriterSettings};
use crate::limits::{CHANNEL_EVENTS, CHANNEL_EVENTS_MAX, DROP_TIMEOUT};
use crate::owner::{Admin, Choices, Errand, FlushReport, Settings, StoreThread, erase_in_background, refuse};
use crate::process::{self, Process};
use crate::product::{Mode, Network, Product, Pulse};
use crate::spool::known_device_id;

pub use heartbeat::Heartbeat;
use heartbeat::Life;

/// Takes events, keeps them on disk, and has them delivered when there is a way.
///
/// Cheap to clone, `Send` and `Sync`; [`Client::enqueue`] can be called from async code. When the last clone
/// is dropped, what stands in the channel is written and synced.
///
/// ```
/// # fn main() -> milepost::Result<()> {
/// # let home = tempfile::tempdir().unwrap();
/// use std::time::Duration;
/// use milepost::{Client, Event, Product};
///
/// let client = Client::builder(Product::new("acme-worker", "1.4.0")).home(home.path()).build()?;
/// client.enqueue(Event::new("job_finished").with("rows", 10).with("ok", true).with("region", "eu"));
/// # if client.is_collecting() {
/// client.sync(Duration::from_secs(5))?; // Durable: a power cut from here on loses nothing of it.
/// # }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    channel: Arc<Channel>,
    sync: Arc<SyncThread>,
    /// Whether anything is collected, and how far it goes.
    watch: Arc<Watch>,
    milestones: Arc<Reached>,
    /// Why milestones do not count here.
    objection: Option<&'static str>,
    /// Where events are kept, if there is a place.
    installation: Option<Installation>,
    /// What is done where the telemetry directory is made.
    greeting: Greeting,
    /// What heartbeats say; `None` where the product declares none.
    pulse: Option<Pulse>,
    /// What every heartbeat ends with.
    life: Life,
    /// Whether there are threads that have to end.
    running: bool,
    store: Mutex<Option<StoreThread>>,
    /// The process that all of this belongs to.
    process: Process,
    has_route: bool,
    /// What is done about what waits in the end.
    errand: Option<Errand>,
    limit_said: AtomicBool,
}

/// Sets a [`Client`] or an [`Admin`] up.
#[derive(Clone)]
pub struct ClientBuilder {
    product: Product,
    choices: Choices,
    capacity: usize,
    sync_every: SyncEvery,
}

/// Why an event was not taken.
#[derive(Debug)]
#[non_exhaustive]
pub enum EnqueueError {
    /// The channel is full; here is the event.
    Full(Event),
    /// It is refused for another reason.
    Refused(Refusal),
}

/// What this client counted since it was built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Events that were written to disk.
    pub accepted: u64,
    /// Milestones among them that counted as reached already: they are not sent.
    pub already_reached: u64,
    /// Events that were not, by reason.
    pub refused: std::collections::BTreeMap<Refusal, u64>,
    /// Properties that were left out, by rule: `undeclared`, or one of the privacy guard's.
    pub redacted: std::collections::BTreeMap<&'static str, u64>,
    /// Places where bytes on disk were damaged, a tail that a kill tore among them.
    pub damaged: u64,
    /// Times that the disk did not make something durable that it was asked to.
    pub failed_syncs: u64,
}

impl ClientBuilder {
    /// The product's home, instead of its own. The telemetry directory is the product's folder in it.
    #[must_use]
    pub fn home(mut self, home: impl Into<PathBuf>) -> Self {
        self.choices.home = Some(home.into());
        self
    }

    /// Where events go: the whole URL. Defaults to `MILEPOST_ENDPOINT`, then to the product's. With none,
    /// events are collected and wait.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.choices.endpoint = Some(url.into());
        self
    }

    /// The format on the wire. Defaults to `MILEPOST_FORMAT`, then to the product's, then to OTLP in protobuf.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.choices.format = Some(format);
        self
    }

    /// Adds an HTTP header to every request. It is never printed. A value of `env:VARIABLE` or `file:PATH` is fetched
    /// from there when the client is built.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.choices.headers.push((name.into(), value.into()));
        self
    }

    /// How the receiver is reached. What is not said here defaults to what the product says.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.choices.network = network;
        self
    }

    /// Delivers to a destination of the product, one that is [`crate::Destination::by_program`], by means of the
    /// program's own. Every process of the product that runs for long has to be told, since any of them may be the one
    /// that delivers.
    #[must_use]
    pub fn deliver(mut self, destination: impl Into<String>, by: impl Deliver + 'static) -> Self {
        self.choices.programs.insert(destination.into(), Arc::new(by));
        self
    }

    /// How far events go. Of this, `MILEPOST_MODE` and the product's the most restrictive holds.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.choices.mode = Some(mode);
        self
    }

    /// Whether somebody sits at a terminal, for the notice and for milestones that count there alone. Defaults to
    /// whether standard output or standard error is one.
    #[must_use]
    pub fn interactive(mut self, interactive: bool) -> Self {
        self.choices.interactive = Some(interactive);
        self
    }

    /// The device id, where this client makes the telemetry directory: any text of one line and 256 bytes. So hosts
    /// that are made anew each time, from one image, count as one. Where there is a directory, what stands in it
    /// holds; and who refuses and agrees later has a random one. Defaults to `MILEPOST_DEVICE_ID`, then to a random
    /// UUID.
    #[must_use]
    pub fn device_id(mut self, id: impl Into<String>) -> Self {
        self.choices.device_id = Some(id.into());
        self
    }

    /// Allows plain HTTP to other hosts than this one: whoever is on the way can read and change what is sent.
    #[must_use]
    pub fn allow_plain_http(mut self) -> Self {
        self.choices.plain_http = true;
        self
    }

    /// Events that the channel holds while the writer sleeps or the disk is slow, at 136 bytes each. Defaults
    /// to 16,384; from 1 to 1,048,576.
    #[must_use]
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events;
        self
    }

    /// How often events are made durable when nobody waits for it. Defaults to every second, which is what a
    /// power cut may lose.
    #[must_use]
    pub fn sync_every(mut self, every: SyncEvery) -> Self {
        self.sync_every = every;
        self
    }

    /// Builds the client. Files and network are opened later, on threads of its own.
    ///
    /// Where somebody refused, or there is no place to collect in, the client that comes back refuses every
    /// event at the cost of one load: no thread, no file, no directory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] names the setting that cannot be used.
    pub fn build(self) -> Result<Client> {
        if !(1..=CHANNEL_EVENTS_MAX).contains(&self.capacity) {
            let capacity = self.capacity;
            return Err(Error::invalid(format!(
                "a channel of {capacity} events: it takes 1 to {CHANNEL_EVENTS_MAX}"
            )));
        }
        let settings = Settings::resolve(self.product, self.choices)?;
        Client::start(settings, self.capacity, self.sync_every)
    }

    /// Builds what looks at the queue and works on it from a command line, instead of a client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] names the setting that cannot be used.
    pub fn admin(self) -> Result<Admin> {
        Settings::resolve(self.product, self.choices).map(Admin::new)
    }
}

impl Client {
    /// Begins to set a client up.
    pub fn builder(product: Product) -> ClientBuilder {
        ClientBuilder {
            product,
            choices: Choices::default(),
            capacity: CHANNEL_EVENTS,
            sync_every: SyncEvery::default(),
        }
    }

    fn start(settings: Settings, capacity: usize, sync_every: SyncEvery) -> Result<Self> {
        let watch = settings.watch.clone();
        let state = watch.state();
        let installation = settings.installation.clone().filter(|_| state.answer != Answer::No);
        if let Some(installation) =
            settings.installation.as_ref().filter(|found| state.is_refused && found.exists())
        {
            // Where no thread can be started, another process deletes it.
            let _ = erase_in_background(installation.clone(), watch.clone());
        }
        let running = installation.is_some();
        let errand = Errand::of(&settings);
        let channel = Arc::new(Channel::new(if running { capacity } else { 0 }));
        let (bell, rung) = crossbeam_channel::bounded(1);
        let sync = Arc::new(SyncThread::new(sync_every, bell));
        let milestones = Arc::new(Reached::new(settings.product.milestones.clone()));
        let mut store = None;
        match installation {
            Some(installation) => {
                let failed = |error| Error::new(ErrorKind::Io, "no thread can be started").with_source(error);
                let writer = WriterSettings {
                    installation: installation.clone(),
                    admission: Admission::new(&settings.product),
                    milestones: milestones.clone(),
                    greeting: settings.greeting.clone(),
                    free_disk_min: settings.product.free_disk_min,
                    known_device_id,
                    quota: settings.product.quota,
                    watch: watch.clone(),
                    origin: settings.ways.origin.clone(),
                };
                if !state.is_yes() && !state.is_settling {
                    channel.refuse_all();
                }
                Writer::spawn(writer, channel.clone(), sync.clone()).map_err(failed)?;
                let (ways, quota) = (settings.ways.clone(), settings.product.quota);
                let spread = settings.product.spread;
                let spawned = StoreThread::spawn(installation, ways, quota, spread, watch.clone(), rung);
                store = Some(spawned.map_err(failed)?);
            }
            None => channel.refuse_all(),
        }
        let inner = Inner {
            channel,
            sync,
            watch,
            has_route: settings.ways.is_open(),
            milestones,
            objection: settings.milestones_objection(),
            installation: settings.installation,
            greeting: settings.greeting,
            pulse: settings.pulse,
            life: Life::new(),
            running,
            store: Mutex::new(store),
            process: Process::this(),
            errand,
            limit_said: AtomicBool::new(false),
        };
        Ok(Self { inner: inner.into() })
    }

    /// Takes an event. Never blocks, fails or panics: one that cannot be taken is counted under its reason.
    ///
    /// A kill of the process loses at most what was enqueued in the last 10 to 100 ms; for more, see
    /// [`Client::sync`].
    #[inline(always)]
    pub fn enqueue(&self, event: Event) {
        // Whoever is refused pays for one load, and not even for a call.
        if self.inner.channel.is_open() {
            self.enqueue_now(event);
        }
    }

    /// A call of its own, so that the check above stays small enough to stand wherever events are enqueued.
    #[inline(never)]
    fn enqueue_now(&self, event: Event) {
        if let Err(EnqueueError::Full(_)) = self.try_enqueue(event) {
            self.inner.channel.counters.refuse(Refusal::Full, 1);
        }
    }

    /// Takes an event, or hands it back when the channel is full: it is then not counted as refused.
    ///
    /// # Errors
    ///
    /// [`EnqueueError::Full`] with the event, or [`EnqueueError::Refused`] with the reason.
    #[inline]
    pub fn try_enqueue(&self, event: Event) -> Result<(), EnqueueError> {
        self.send(event, None)
    }

    /// Takes an event that happened at another time than now, to the microsecond.
    ///
    /// # Errors
    ///
    /// As [`Client::try_enqueue`].
    pub fn try_enqueue_at(&self, event: Event, time: SystemTime) -> Result<(), EnqueueError> {
        self.send(event, Some(time))
    }

    #[inline]
    fn send(&self, mut event: Event, time: Option<SystemTime>) -> Result<(), EnqueueError> {
        let now = self.inner.now_if_open().map_err(EnqueueError::Refused)?;
        if event.broken_limit().is_some() {
            return Err(self.refuse_broken(&event));
        }
        Stamp::new(time.map_or(now, clock::micros), Class::Bulk).put(&mut event);
        self.inner.channel.send(event).map_err(EnqueueError::Full)
    }

    /// Reaches a milestone: it is delivered once an installation, whoever reaches it and how often. `milestones.json`
    /// shows it within a second, unless this process ends before. One that this process reached before costs a
    /// few nanoseconds, without a lock or a system call, so that this can stand in a loop.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a name that the product does not declare, [`ErrorKind::Refused`] where nothing
    /// is collected, or the product counts milestones from an interactive terminal alone and this is none,
    /// [`ErrorKind::Io`] when the channel is full.
    pub fn milestone(&self, name: &str) -> Result<()> {
        match self.inner.milestones.get(name) {
            Some(false) => {}
            Some(true) => return Ok(()),
            None => return Err(Error::invalid(format!("{name:?} is none of the product's milestones"))),
        }
        let now = self.inner.now_if_open().map_err(|refusal| self.inner.error_of(refusal))?;
        if let Some(objection) = self.inner.objection {
            return Err(Error::new(ErrorKind::Refused, objection));
        }
        // Before the writer can say that it was not written.
        self.inner.milestones.set(name, true);
        let mut event = Event::new(name);
        Stamp::new(now, Class::Milestone).put(&mut event);
        self.inner.channel.send(event).map_err(|_| {
            self.inner.milestones.set(name, false);
            self.inner.channel.counters.refuse(Refusal::Full, 1);
            Error::new(ErrorKind::Io, format!("the channel is full: the milestone {name:?} was not taken"))
        })
    }

    #[cold]
    fn refuse_broken(&self, event: &Event) -> EnqueueError {
        self.inner.channel.counters.refuse(Refusal::Limit, 1);
        if let Some(limit) =
            event.broken_limit().filter(|_| !self.inner.limit_said.swap(true, Ordering::Relaxed))
        {
            log::warn!("an event was refused: {limit}; further ones are only counted");
        }
        EnqueueError::Refused(Refusal::Limit)
    }

    /// Waits until every event whose enqueue returned before, in this process, is durable: neither a kill nor
    /// a power cut loses it from then on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] says what is not durable and why, [`ErrorKind::Timeout`] that the disk took too long,
    /// [`ErrorKind::Refused`] that nothing is collected.
    pub fn sync(&self, timeout: Duration) -> Result<()> {
        self.sync_until(clock::deadline(timeout))
    }

    fn sync_until(&self, deadline: Instant) -> Result<()> {
        if self.inner.process.is_forked() {
            return Err(forked());
        }
        let state = self.inner.watch.state();
        if !self.inner.running || !state.is_yes() && !state.is_settling {
            return Err(self.inner.refused());
        }
        self.inner.sync.wait(self.inner.channel.ticket(), deadline)
    }

    /// Delivers every event whose enqueue returned before, and whatever waits of other processes. Each
    /// destination is tried once at once; what it does not take stays.
    ///
    /// # Errors
    ///
    /// As [`Client::sync`]; [`ErrorKind::Invalid`] without an endpoint, [`ErrorKind::Locked`] when another
    /// process holds the spool and does not hand it over. That not everything was delivered is no error: the
    /// answer says so.
    pub fn flush(&self, timeout: Duration) -> Result<FlushReport> {
        let deadline = clock::deadline(timeout);
        if self.inner.process.is_forked() {
            return Err(forked());
        }
        let is_local = self.inner.watch.state().mode == Mode::Local;
        if self.inner.running && (is_local || !self.inner.has_route) {
            return Err(Error::invalid(match is_local {
                true => "the mode is local: nothing is sent over the network",
                false => "there is no endpoint: name one, or set MILEPOST_ENDPOINT",
            }));
        }
        self.inner.channel.ask_for_turn();
        self.sync_until(deadline)?;
        let flush = match &*self.inner.store() {
            Some(store) => store.flush(deadline),
            None => return Err(Error::new(ErrorKind::Closed, "the client was shut down")),
        };
        flush()
    }

    /// Writes and syncs what stands in the channel, closes the spool if this process holds it, and ends all
    /// threads. Nothing is sent, unless the product says so ([`crate::Exit`]). Events that are enqueued from now on are refused; one that another thread is
    /// just enqueueing may be too late, and is counted as refused for [`Refusal::Full`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] when not everything had ended in time; it goes on, and ends by itself.
    /// [`ErrorKind::Io`] when the disk did not take everything.
    pub fn shutdown(&self, timeout: Duration) -> Result<()> {
        self.inner.shutdown(clock::deadline(timeout))
    }

    /// Refuses for the whole installation, by a person's word: it is written where the product's own command would
    /// write it, or as `collecting = false` into `settings.toml`. Nothing is taken from now on; within 5 s every
    /// process has stopped, and what was collected is deleted, unsent, and the device id with it. Whoever writes the
    /// opposite there lets all of them go on, under a new id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] where the file makes no sense, with its line, and [`ErrorKind::Io`] where it cannot be
    /// written: then this process alone is silent.
    pub fn refuse(&self) -> Result<()> {
        if self.inner.process.is_forked() {
            return Err(forked());
        }
        let watch = &self.inner.watch;
        self.inner.channel.refuse_all();
        watch.object("a person refused");
        refuse(watch, &self.inner.greeting)?;
        let state = watch.read_again();
        watch.object_no_more();
        // Where there are threads, they do it.
        let installation =
            self.inner.installation.clone().filter(|_| !self.inner.running && state.is_refused);
        if let Some(installation) = installation.filter(Installation::exists) {
            let failed = |error| Error::new(ErrorKind::Io, "no thread can be started").with_source(error);
            erase_in_background(installation, watch.clone()).map_err(failed)?;
        }
        Ok(())
    }

    /// Whether events are taken.
    pub fn is_collecting(&self) -> bool {
        let state = self.inner.watch.state();
        let may = state.is_yes() || state.is_settling;
        may && self.inner.channel.is_open() && !self.inner.process.is_forked()
    }

    /// Why events are collected, or by whose word not.
    pub fn reason(&self) -> String {
        self.inner.watch.consent().reason
    }

    /// What this client counted since it was built.
    pub fn stats(&self) -> Stats {
        let counters = &self.inner.channel.counters;
        let too_late = |reason| if reason == Refusal::Full { self.inner.channel.too_late() } else { 0 };
        let refused = Refusal::ALL.into_iter();
        let refused = refused.map(|reason| (reason, counters.refused(reason) + too_late(reason)));
        let redacted = Rule::ALL.into_iter().map(|rule| (rule.as_str(), counters.redacted(rule)));
        Stats {
            accepted: counters.accepted.load(Ordering::Relaxed),
            already_reached: counters.already_reached.load(Ordering::Relaxed),
            refused: refused.filter(|(_, events)| *events > 0).collect(),
            redacted: redacted.filter(|(_, properties)| *properties > 0).collect(),
            damaged: counters.damaged.load(Ordering::Relaxed),
            failed_syncs: self.inner.sync.failures(),
        }
    }
}

/// What a handle says in a process that did not make it.
fn forked() -> Error {
    Error::new(ErrorKind::Forked, "the client was built before this process was forked: build one here")
}

impl Inner {
    /// The time, if anything is taken now. Whoever is refused pays for one load, and not for the clock.
    #[inline]
    fn now_if_open(&self) -> Result<u64, Refusal> {
        if !self.channel.is_open() {
            return Err(Refusal::Consent);
        }
        let now = clock::wall_micros();
        let refusal = if process::is_own_thread() {
            Refusal::OwnThread
        } else if self.channel.is_silent(now) && self.process.is_forked() {
            Refusal::Forked
        } else {
            return Ok(now);
        };
        self.channel.counters.refuse(refusal, 1);
        Err(refusal)
    }

    fn refused(&self) -> Error {
        Error::new(ErrorKind::Refused, self.watch.consent().reason)
    }

    fn error_of(&self, refusal: Refusal) -> Error {
        match refusal {
            Refusal::Consent => self.refused(),
            Refusal::Forked => forked(),
            refusal => Error::new(ErrorKind::Refused, format!("refused: {refusal}")),
        }
    }

    fn store(&self) -> std::sync::MutexGuard<'_, Option<StoreThread>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shutdown(&self, deadline: Instant) -> Result<()> {
        if self.process.is_forked() {
            return Err(forked());
        }
        if !self.running {
            return Ok(());
        }
        self.life.end();
        self.channel.close();
        let spends = self.errand.as_ref().and_then(|errand| errand.spends_until(deadline));
        let store = self.store().take();
        let stop = |store: StoreThread| store.stop(spends);
        // What is to be delivered has to be in a free journal first.
        let (store, synced) = match spends {
            None => (store.map(stop), self.sync.wait_for_end(deadline)),
            Some(_) => {
                let synced = self.sync.wait_for_end(deadline);
                (store.map(stop), synced)
            }
        };
        let was_running = store.is_some();
        let stored = store.is_none_or(|wait_for_end| wait_for_end(deadline));
        if let Some(errand) = self.errand.as_ref().filter(|_| was_running) {
            errand.spawn();
        }
        synced?;
        match stored {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Timeout, "not everything had ended in time")),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.process.is_forked() {
            // Nothing of it may be closed: locks and channels are as another thread may have left them, and
            // unlocking a file here would free the parent's.
            std::mem::forget((self.channel.clone(), self.sync.clone()));
            self.life.forget();
            let store = self.store.get_mut().unwrap_or_else(PoisonError::into_inner);
            return std::mem::forget(store.take());
        }
        let errand = self.errand.as_ref().map_or(Duration::ZERO, Errand::time);
        if let Err(error) = self.shutdown(clock::deadline(DROP_TIMEOUT.saturating_add(errand))) {
            log::warn!("the client was dropped: {error}");
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("collecting", &self.is_collecting()).finish_non_exhaustive()
    }
}

impl fmt::Display for EnqueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("the channel is full"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
        }
    }
}

impl std::error::Error for EnqueueError {}
