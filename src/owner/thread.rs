//! The thread `milepost-store` of a worker: it tries to hold the store, and works on it while it does.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Select, Sender, TryRecvError, unbounded};

use super::census::names;
use super::engine::Engine;
use super::erase::erase;
use super::flush::FlushReport;
use super::lock::{self, Ownership};
use super::route::Ways;
use crate::clock;
use crate::consent::{State, Watch};
use crate::error::{Error, ErrorKind, Result};
use crate::installation::Installation;
use crate::journal::oldest;
use crate::limits::{
    CONSENT_GAP, CONSENT_LOOK_EVERY, ERASE_WAIT, OWNER_AGE_MIN, OWNER_CHECK_EVERY, OWNER_PROBE_EVERY,
    OWNER_TRY_EVERY_MS, OWNER_WAIT_EVERY, SPREAD_AGE_MIN,
};
use crate::process;
use crate::product::{Mode, Quota};
use crate::spool::{Ledger, is_usable};

/// How long a request may still take when the process ends and nobody waits for the network.
const STOP_GRACE: Duration = Duration::ZERO;

/// A worker's handle of its store thread.
pub(crate) struct StoreThread {
    control: Sender<Request>,
    stopping: Arc<AtomicBool>,
    ended: Arc<Latch>,
}

/// Deliver everything now. The thread ends when nobody can ask any more.
struct Request {
    deadline: Instant,
    /// Whether whoever holds the store has to hand it over, also one who delivers.
    demands: bool,
    reply: Sender<Result<FlushReport>>,
}

#[derive(Default)]
struct Latch {
    open: Mutex<bool>,
    changed: Condvar,
}

struct Store {
    installation: Installation,
    ways: Ways,
    quota: Quota,
    /// By a random part of this the first delivery of what waited is put off.
    spread: Duration,
    watch: Arc<Watch>,
    control: Receiver<Request>,
    /// A milestone stands in a free journal.
    bell: Receiver<()>,
    stopping: Arc<AtomicBool>,
}

/// Why the thread does something.
enum Woken {
    /// Somebody wants everything delivered.
    Asked(Request),
    /// A milestone stands in a free journal.
    Rung,
    /// It is time to, or another answer holds than before.
    Looks,
}

/// Nobody can ask any more.
struct Gone;

/// Why the engine stopped.
enum Left {
    /// Somebody else needs the store, or events now go farther than before, or less far.
    HandedOver,
    /// Nothing is delivered any more, by somebody's word.
    Refused,
    /// The process ends.
    Stopped,
}

impl StoreThread {
    /// Whoever rings the `bell` says that a milestone stands in a free journal: that is worth the store at once.
    pub(crate) fn spawn(
        installation: Installation,
        ways: Ways,
        quota: Quota,
        spread: Duration,
        watch: Arc<Watch>,
        bell: Receiver<()>,
    ) -> io::Result<Self> {
        let (control, receiver) = unbounded();
        let ended = Arc::new(Latch::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let (latch, stop) = (ended.clone(), stopping.clone());
        process::spawn("store", move || {
            Store { installation, ways, quota, spread, watch, control: receiver, bell, stopping: stop }.run();
            latch.open();
        })?;
        Ok(Self { control, stopping, ended })
    }

    /// Asks the thread to deliver what waits in this installation. What comes back waits for the answer, so
    /// that no lock is held meanwhile.
    pub(crate) fn flush(&self, deadline: Instant) -> impl FnOnce() -> Result<FlushReport> + use<> {
        let (reply, answer) = unbounded();
        let sent = self.control.send(Request { deadline, demands: true, reply });
        move || {
            let closed = || Error::new(ErrorKind::Closed, "the client was shut down");
            sent.map_err(|_| closed())?;
            // The thread keeps the deadline; one second more is for what it does after it.
            match answer.recv_deadline(deadline.checked_add(Duration::from_secs(1)).unwrap_or(deadline)) {
                Ok(report) => report,
                Err(RecvTimeoutError::Timeout) => {
                    Err(Error::new(ErrorKind::Timeout, "the flush did not end in time"))
                }
                Err(RecvTimeoutError::Disconnected) => Err(closed()),
            }
        }
    }

    /// Lets the thread end: the store is closed, and no request is waited for. It delivers `until` then first, if
    /// no other process does.
    pub(crate) fn stop(self, until: Option<Instant>) -> impl FnOnce(Instant) -> bool {
        match until {
            // A thread that ended delivers no more.
            Some(deadline) => {
                let (reply, _) = unbounded();
                let _ = self.control.send(Request { deadline, demands: false, reply });
            }
            None => self.stopping.store(true, Ordering::Relaxed),
        }
        drop(self.control);
        move |deadline| self.ended.wait(deadline)
    }
}

impl Store {
    fn run(self) {
        // A process that lives shorter than this pays nothing for the store.
        let mut due = clock::monotonic() + OWNER_AGE_MIN;
        let mut first_from = Some(clock::wall_micros());
        let (mut said, mut erased) = (String::new(), false);
        loop {
            let now = clock::monotonic();
            let (request, is_rung) = match self.next_request(due.saturating_duration_since(now)) {
                Ok(Woken::Asked(request)) => (Some(request), false),
                Ok(Woken::Rung) => (None, true),
                Ok(Woken::Looks) => (None, false),
                Err(Gone) => return,
            };
            let state = self.watch.look();
            if !state.is_yes() {
                if let Some(request) = request {
                    request.answer(Err(Error::new(ErrorKind::Refused, self.watch.consent().reason)));
                }
                due = clock::monotonic() + self.keep_still(state, &mut erased);
                continue;
            }
            erased = false;
            let now = clock::monotonic();
            if request.is_none() && !is_rung && now < due {
                // Another answer than before, and it is yes.
                continue;
            }
            due = now + clock::random_millis(OWNER_TRY_EVERY_MS);
            // Whoever asks, and a milestone, waits for nothing.
            let first_from = first_from.take().filter(|_| request.is_none() && !is_rung);
            let worked = catch_unwind(AssertUnwindSafe(|| self.hold(request, first_from)));
            match worked {
                Ok(Ok(Some(Left::Stopped))) => return,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    // What stands in the way often stands there for long: it is said once.
                    let why = chain(&error);
                    if why != said {
                        // Where nothing can be written the writer says so, and one line is enough.
                        let level = match self.installation.objection() {
                            Some(_) => log::Level::Debug,
                            None => log::Level::Error,
                        };
                        log::log!(level, "the spool cannot be worked on: {why}");
                        said = why;
                    }
                }
                Err(_) => log::error!("the store thread panicked; it opens the spool anew"),
            }
        }
    }

    /// Waits for somebody who wants everything delivered, for a milestone, or for another answer than before.
    fn next_request(&self, wait: Duration) -> Result<Woken, Gone> {
        let mut select = Select::new();
        let (asked, rung) = (select.recv(&self.control), select.recv(&self.bell));
        select.recv(self.watch.changes());
        match select.ready_timeout(clock::wait(wait)) {
            Ok(ready) if ready == asked => match self.control.try_recv() {
                Ok(request) => Ok(Woken::Asked(request)),
                Err(TryRecvError::Empty) => Ok(Woken::Looks),
                Err(TryRecvError::Disconnected) => Err(Gone),
            },
            Ok(ready) if ready == rung => match self.bell.try_recv() {
                Ok(()) => Ok(Woken::Rung),
                Err(TryRecvError::Empty) => Ok(Woken::Looks),
                // Nobody is left to ring, and soon nobody to ask.
                Err(TryRecvError::Disconnected) => self.control.recv().map(Woken::Asked).map_err(|_| Gone),
            },
            Ok(_) => {
                let _ = self.watch.changes().try_recv();
                Ok(Woken::Looks)
            }
            Err(_) => Ok(Woken::Looks),
        }
    }

    /// Does what is left to do where nothing is collected: what the installation's no deletes. Says how long to wait.
    fn keep_still(&self, state: State, erased: &mut bool) -> Duration {
        if state.is_refused && !*erased {
            *erased = erase_all(&self.installation, &self.watch);
        }
        CONSENT_LOOK_EVERY
    }

    /// Whether events stand here that were there before this process, which began at this time.
    fn has_waited(&self, began: u64) -> bool {
        let before = began.saturating_sub(SPREAD_AGE_MIN.as_micros() as u64) / 1_000;
        let directories = [self.installation.taken(), self.installation.journals()];
        directories.iter().flat_map(|directory| names(directory)).any(|name| name.millis < before)
    }

    /// Takes the lock if it can be had, and works until somebody else needs it.
    /// The first time it is told when the process began.
    fn hold(&self, request: Option<Request>, began: Option<u64>) -> Result<Option<Left>> {
        let ownership = match &request {
            Some(request) if !request.demands => match self.wait_for(request.deadline)? {
                Some(ownership) => ownership,
                None => return Ok(None),
            },
            Some(request) => match self.demand(request.deadline) {
                Ok(ownership) => ownership,
                Err(error) => {
                    request.answer(Err(error));
                    return Ok(None);
                }
            },
            None => match self.try_own()? {
                Some(ownership) => ownership,
                None => return Ok(None),
            },
        };
        let mut engine = match self.open(ownership) {
            Ok(engine) => engine,
            Err(error) => {
                if let Some(request) = &request {
                    request.answer(Err(Error::new(error.kind(), chain(&error))));
                }
                return Err(error);
            }
        };
        if let Some(request) = &request {
            self.flush(&mut engine, request)?;
        } else if began.is_some_and(|began| self.has_waited(began)) {
            engine.put_off(self.spread);
        }
        let left = self.work(&mut engine)?;
        match left {
            Left::HandedOver => engine.hand_over()?,
            Left::Refused => engine.close_refused(&|| self.watch.look().may_be_refused())?,
            Left::Stopped => engine.close(STOP_GRACE)?,
        }
        Ok(Some(left))
    }

    /// Waits until nobody holds the store any more. `None` where that was too long, or whoever did has taken in all
    /// that there was.
    fn wait_for(&self, deadline: Instant) -> Result<Option<Ownership>> {
        let journals = self.installation.journals();
        loop {
            if let Some(ownership) = self.try_own()? {
                return Ok(Some(ownership));
            }
            let is_left = oldest(&journals, 1, |_| true).is_ok_and(|names| !names.is_empty());
            if !is_left || clock::monotonic() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(clock::wait(OWNER_WAIT_EVERY));
        }
    }

    /// Opens the spool. The device id comes first, as with the writer: what a spool without one takes for
    /// collected under another would be dropped.
    fn open(&self, ownership: Ownership) -> Result<Engine> {
        let error = |error| Error::io("make the device id in", self.installation.directory(), error);
        let state = self.watch.look_closely();
        if !state.is_yes() {
            return Err(Error::new(ErrorKind::Refused, self.watch.consent().reason));
        }
        self.installation.device_id_or_new().map_err(error)?;
        Engine::open(&self.installation, ownership, &self.ways_now(state), self.quota)
    }

    /// Where events go, if they go anywhere.
    fn ways_now(&self, state: State) -> Ways {
        if state.mode == Mode::On { self.ways.clone() } else { self.ways.closed() }
    }

    fn demand(&self, deadline: Instant) -> Result<Ownership> {
        Ownership::demand(&self.installation, deadline, &|| !self.stopping.load(Ordering::Relaxed))
    }

    /// Flushes for whoever asked, until the process ends or somebody else needs the store.
    ///
    /// # Errors
    ///
    /// Those of the spool, which whoever asked is told too: it is to be opened anew.
    fn flush(&self, engine: &mut Engine, request: &Request) -> Result<()> {
        let mut probed_at = clock::monotonic();
        let installation = self.installation.clone();
        let report = engine.flush(request.deadline, &mut |_| {
            let now = clock::monotonic();
            let probe = now.duration_since(probed_at) >= OWNER_PROBE_EVERY;
            if probe {
                probed_at = now;
            }
            let ends = self.stopping.load(Ordering::Relaxed) || !self.watch.look().is_yes();
            !ends && (!probe || !lock::somebody_waits(&installation))
        });
        match report {
            Ok(report) => {
                request.answer(Ok(report));
                Ok(())
            }
            Err(error) => {
                request.answer(Err(Error::new(error.kind(), chain(&error))));
                Err(error)
            }
        }
    }

    fn try_own(&self) -> Result<Option<Ownership>> {
        if !is_usable() {
            return Ok(None);
        }
        let lock = self.installation.owner_lock();
        let error = |error| Error::io("lock", &lock, error);
        if let Some(ownership) = Ownership::try_now(&self.installation).map_err(error)? {
            return Ok(Some(ownership));
        }
        // An owner that cannot deliver makes room for one that can.
        let ledger = Ledger::read(&self.installation.ledger()).ok().flatten();
        let idle = ledger.and_then(|ledger| ledger.owner).is_some_and(|owner| !owner.delivers);
        if idle && self.ways_now(self.watch.state()).is_open() {
            let deadline = clock::monotonic() + OWNER_AGE_MIN;
            return Ok(self.demand(deadline).ok());
        }
        Ok(None)
    }

    fn work(&self, engine: &mut Engine) -> Result<Left> {
        let mut probed_at = clock::monotonic();
        let mut checked_at = probed_at;
        let mut heeded_at = probed_at;
        let mode = self.watch.state().mode;
        loop {
            // After a gap nobody knows how long this process was stopped.
            let now = clock::monotonic();
            let slept = now.duration_since(std::mem::replace(&mut heeded_at, now)) >= CONSENT_GAP;
            let state = if slept { self.watch.look_closely() } else { self.watch.look() };
            if !state.is_yes() {
                return Ok(Left::Refused);
            }
            if state.mode != mode {
                return Ok(Left::HandedOver);
            }
            let busy = engine.step()? | engine.keep_quota()?;
            match self.control.try_recv() {
                Ok(request) => self.flush(engine, &request)?,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(Left::Stopped),
            }
            if self.bell.try_recv().is_ok() {
                engine.intake.look_again();
                continue;
            }
            let now = clock::monotonic();
            if now.duration_since(probed_at) >= OWNER_PROBE_EVERY {
                probed_at = now;
                if lock::somebody_waits(&self.installation) {
                    // To delete, it may be, after a no that nobody here has heard of yet.
                    let is_yes = self.watch.look_closely().is_yes();
                    return Ok(if is_yes { Left::HandedOver } else { Left::Refused });
                }
            }
            if now.duration_since(checked_at) >= OWNER_CHECK_EVERY {
                checked_at = now;
                engine.ownership.show_life();
                if !engine.ownership.is_known() {
                    log::error!(
                        "{} was deleted: the spool is let go of",
                        self.installation.owner_lock().display()
                    );
                    return Ok(Left::HandedOver);
                }
            }
            if !busy {
                engine.wait(OWNER_PROBE_EVERY, &self.control, &self.bell);
            }
        }
    }
}

/// Deletes what the installation's no deletes, and says whether that is done.
fn erase_all(installation: &Installation, watch: &Watch) -> bool {
    match catch_unwind(AssertUnwindSafe(|| erase(installation, watch, ERASE_WAIT))) {
        Ok(Ok(_)) => watch.is_as_read(),
        Ok(Err(error)) => {
            log::error!("not everything in {} could be deleted: {error}", installation.directory().display());
            false
        }
        Err(_) => false,
    }
}

/// Deletes what the installation's no deletes, on a thread that ends with it.
pub(crate) fn erase_in_background(installation: Installation, watch: Arc<Watch>) -> io::Result<()> {
    let erase = move || {
        erase_all(&installation, &watch);
    };
    process::spawn("consent", erase).map(drop)
}

impl Request {
    fn answer(&self, answer: Result<FlushReport>) {
        // Whoever asked may have gone.
        let _ = self.reply.send(answer);
    }
}

impl Latch {
    fn open(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn wait(&self, deadline: Instant) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while !*open {
            let Some(left) = deadline.checked_duration_since(clock::monotonic()) else { return false };
            open =
                self.changed.wait_timeout(open, clock::wait(left)).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
