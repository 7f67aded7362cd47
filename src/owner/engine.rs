//! The engine: what the holder of the store does, one step after the other.
//!
//! Intake, dispatch, bookings and tidying are steps of one thread, so nothing here is locked. Couriers do
//! the waiting for receivers, and report.

use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, unbounded};

use super::destination::{Booking, Destination, Flight, Piece, Refusal};
use super::history::History;
use super::lock::{self, Ownership};
use super::route::{Route, Ways};
use crate::block::{Epoch, read_block, single};
use crate::clock;
use crate::delivery::{Courier, Damage, Disposition, Report, Sleep};
use crate::error::{Error, Result};
use crate::installation::{Installation, fs};
use crate::journal::{MakeOrigin, oldest};
use crate::limits::{
    CONSENT_GRACE, HAND_OVER_GRACE, INTAKE_ROOM_BYTES, OWED_BYTES, OWNER_PROBE_EVERY, TURN_EVERY,
};
use crate::product::Quota;
use crate::spool::{
    self, DeadLetter, DropReason, Intake, Keeper, Ledger, Outcome, Owner, Spool, SpoolError, Step,
    known_device_id, place_imported, reached,
};

/// How long a report that was interrupted is waited for: one that was connecting may take longer, and is
/// then forgotten, since nothing was sent.
const INTERRUPT_WAIT: Duration = Duration::from_millis(200);

pub(super) struct Engine {
    pub(super) installation: Installation,
    pub(super) spool: Spool,
    pub(super) intake: Intake,
    pub(super) destinations: Vec<Destination>,
    reports: Receiver<Report>,
    /// Kept, since a channel that nobody can send into is always ready, and nothing would ever wait for it.
    _reporting: Sender<Report>,
    pub(super) next_job: u64,
    pub(super) keeper: Keeper,
    history: History,
    /// Bytes of blocks that a destination may be owed before intake waits.
    owed_bytes_max: u64,
    sleep: Sleep,
    /// When writers were last asked to let go of what they have.
    turned_at: Option<Instant>,
    /// When it was last looked for what is too old.
    pub(super) aged_at: Option<Instant>,
    /// When it was last looked for losses that nobody was told of.
    pub(super) told_at: Option<Instant>,
    pub(super) origin: MakeOrigin,
    pub(super) requests: u64,
    pub(super) bytes: u64,
    /// Freed last, when the store is closed.
    pub(super) ownership: Ownership,
}

impl Engine {
    /// Opens the spool. Whoever holds the lock may.
    pub(super) fn open(
        installation: &Installation,
        ownership: Ownership,
        ways: &Ways,
        quota: Quota,
    ) -> Result<Self> {
        place_imported(installation)
            .map_err(|error| Error::io("put in place what is in", &installation.imports(), error))?;
        let mended = mend(installation)?;
        let epoch = epoch(installation)?;
        let owner = Owner {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            delivers: ways.is_open(),
        };
        let mut spool = Spool::open(installation, epoch, owner)?;
        spool.count_damage(ownership.strangers + u64::from(mended))?;
        spool.route_by(ways.routing.clone());
        let (sender, reports) = unbounded();
        let open = |route| open_destination(&mut spool, route, sender.clone());
        let destinations = ways.routes.iter().map(open).collect::<Result<_>>()?;
        Ok(Self {
            installation: installation.clone(),
            spool,
            intake: Intake::default(),
            destinations,
            reports,
            _reporting: sender,
            next_job: 0,
            keeper: Keeper::new(quota),
            history: History::new(installation, quota),
            owed_bytes_max: OWED_BYTES.min(quota.journal_bytes()),
            sleep: Sleep::new(clock::monotonic(), clock::wall_micros()),
            turned_at: None,
            aged_at: None,
            told_at: None,
            origin: ways.origin.clone(),
            requests: 0,
            bytes: 0,
            ownership,
        })
    }

    /// Does what can be done without waiting. `false` when there was nothing.
    pub(super) fn step(&mut self) -> Result<bool> {
        let mut busy = false;
        while let Ok(report) = self.reports.try_recv() {
            self.book(report)?;
            busy = true;
        }
        let now = clock::monotonic();
        if self.sleep.look(now, clock::wall_micros()) {
            self.destinations.iter_mut().for_each(Destination::wake);
        }
        self.ask_for_turn(now);
        self.tell_losses(now)?;
        let wanted = self.wants_more();
        self.spool.exchange_milestones(false)?;
        let more = self.intake.step(&mut self.spool, !wanted)?;
        busy |= more;
        for index in 0..self.destinations.len() {
            busy |= self.dispatch(index, now, more)?;
        }
        self.spool.tidy(false)?;
        if !busy {
            self.intake.rest();
        }
        Ok(busy)
    }

    /// Whether something more is to be taken in: for a destination that takes what it is offered, as much as keeps
    /// it busy and the disk has room for; for one that does not, or was not yet asked, something to try it with.
    fn wants_more(&self) -> bool {
        let has_room = || {
            let free = fs::free_bytes(self.installation.directory());
            free.unwrap_or(u64::MAX) >= INTAKE_ROOM_BYTES
        };
        let is_empty = self.spool.is_empty();
        self.destinations.iter().any(|destination| {
            let owed = self.spool.owed(destination.number).1;
            let is_short = owed == 0 || destination.takes() && owed < self.owed_bytes_max;
            // Of what is latest-only a newer one takes the place, and what is owed does not grow.
            let is_short = is_short || self.spool.owes_latest_alone(destination.number);
            // What others are owed takes the disk's room as well.
            is_short && (is_empty || has_room())
        })
    }

    /// Waits until there is a report or a word on one of the others, at most so long, and not beyond the next try.
    pub(super) fn wait<T, U>(&self, longest: Duration, other: &Receiver<T>, another: &Receiver<U>) {
        let now = clock::monotonic();
        let tries = self.destinations.iter().filter_map(Destination::next_try);
        let wait = tries.map(|at| at.saturating_duration_since(now)).filter(|wait| !wait.is_zero()).min();
        let mut select = Select::new();
        select.recv(&self.reports);
        select.recv(other);
        select.recv(another);
        // What is ready, if anything, shows in the next step.
        let _ = select.ready_timeout(clock::wait(wait.map_or(longest, |wait| wait.min(longest))));
    }

    /// Asks writers for what they hold, every 30 s, while it would be taken in.
    fn ask_for_turn(&mut self, now: Instant) {
        let due = self.turned_at.is_none_or(|at| now.duration_since(at) >= TURN_EVERY);
        if due && self.wants_more() {
            self.turned_at = Some(now);
            let anything =
                oldest(&self.installation.journals(), 1, |_| true).is_ok_and(|names| !names.is_empty());
            if anything && self.installation.ask_for_turn().is_err() {
                log::warn!("{} cannot be touched", self.installation.turn().display());
            }
        }
    }

    /// Books what a courier reports.
    fn book(&mut self, report: Report) -> Result<()> {
        let flying = |destination: &Destination| {
            destination.flight.as_ref().is_some_and(|flight| flight.id == report.id)
        };
        let Some(index) = self.destinations.iter().position(flying) else { return Ok(()) };
        let Some(Flight { piece, .. }) = self.destinations[index].flight.take() else { return Ok(()) };
        reached(Step::BatchReported);
        match report.disposition {
            // Now, so that the line is not idle while this one is booked.
            Disposition::Ack { .. } => drop(self.launch(index)?),
            _ => self.withdraw(index),
        }
        let destination = &mut self.destinations[index];
        if report.answer.is_some() {
            self.requests += 1;
            self.bytes += report.bytes;
        }
        let (name, number) = (destination.name.clone(), destination.number);
        // Whoever delivers by own means has no HTTP status.
        let status = report.answer.as_ref().map(|answer| answer.0).filter(|status| *status != 0);
        self.history.add(&name, status, &report.manifest, || self.spool.identity().holds());
        let (piece, damaged) = piece.without(&report.damaged);
        if !damaged.0.is_empty() {
            self.spool.settle(&damaged.0, &Outcome::Dropped(DropReason::Damaged))?;
        }
        let is_witness = self.spool.is_witness(number, &destination.settings);
        let said = report.answer.unwrap_or_default();
        let bookings = destination.answer(piece, report.disposition, said, is_witness);
        let (word, settings) = (destination.word.clone(), destination.settings.clone());
        for booking in bookings {
            match booking {
                Booking::Delivered { piece, rejected } => {
                    if report.events > rejected {
                        self.spool.witness(number, &settings);
                    }
                    self.spool.settle(&piece.0, &Outcome::Delivered { rejected })?;
                }
                Booking::Dead { piece, refusal } => self.bury(&name, &piece, &refusal)?,
            }
            reached(Step::BatchBooked);
        }
        self.spool.set_word(&name, word);
        Ok(())
    }

    fn bury(&mut self, destination: &str, piece: &Piece, refusal: &Refusal) -> Result<(), SpoolError> {
        // What is refused for good is one event alone.
        let [lease] = piece.0.as_slice() else { return Ok(()) };
        let (bytes, origin) = self.spool.block(lease)?;
        let alone = read_block(&bytes).ok().and_then(|block| single(&block, lease.events.trailing_zeros()));
        let letter = DeadLetter {
            destination: destination.into(),
            status: refusal.status,
            answer: String::from_utf8_lossy(&refusal.answer).into_owned(),
            time: clock::wall_micros(),
            block: alone.unwrap_or(bytes),
            origin: origin.id(),
        };
        log::warn!("{destination} refused an event for good: {}", refusal.why);
        self.spool.settle(std::slice::from_ref(lease), &Outcome::Dead(Box::new(letter)))?;
        Ok(())
    }

    /// Whether a request is under way.
    pub(super) fn is_flying(&self) -> bool {
        self.destinations.iter().any(|destination| destination.flight.is_some())
    }

    /// Lets requests end, at most so long, interrupts the others, persists, closes the store and frees the lock.
    pub(super) fn close(self, grace: Duration) -> Result<()> {
        self.close_and_keep(grace).map(drop)
    }

    /// The same, but for the lock, which goes to the caller.
    pub(super) fn close_and_keep(mut self, grace: Duration) -> Result<Ownership> {
        self.withdraw_all();
        self.land(clock::monotonic() + grace)?;
        self.destinations.iter().for_each(|destination| destination.courier.interrupt());
        self.land(clock::monotonic() + INTERRUPT_WAIT)?;
        self.spool.exchange_milestones(false)?;
        self.spool.close()?;
        Ok(self.ownership)
    }

    /// Closes the store after a no. Requests may end first, so that their events are booked as what they are: where
    /// `is_everybodys`, whoever waits for the store waits to delete, and for that; anybody else waits no longer than
    /// for any other hand-over.
    pub(super) fn close_refused(mut self, is_everybodys: &dyn Fn() -> bool) -> Result<()> {
        let deadline = clock::monotonic() + CONSENT_GRACE;
        self.withdraw_all();
        loop {
            let now = clock::monotonic();
            let goes_on = is_everybodys() || !lock::somebody_waits(&self.installation);
            if !self.is_flying() || now >= deadline || !goes_on {
                return self.close(deadline.saturating_duration_since(now).min(HAND_OVER_GRACE));
            }
            self.ownership.show_grace();
            self.land(deadline.min(now + OWNER_PROBE_EVERY))?;
        }
    }

    /// Hands the store over to whoever waits for it.
    pub(super) fn hand_over(self) -> Result<()> {
        self.close(HAND_OVER_GRACE)
    }

    /// Nothing that is prepared is sent from now on.
    fn withdraw_all(&mut self) {
        (0..self.destinations.len()).for_each(|index| self.withdraw(index));
    }

    fn land(&mut self, deadline: Instant) -> Result<()> {
        while self.is_flying() {
            let left = deadline.saturating_duration_since(clock::monotonic());
            match self.reports.recv_timeout(clock::wait(left)) {
                Ok(report) => self.book(report)?,
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Puts a damaged device id right.
fn mend(installation: &Installation) -> Result<bool> {
    let error = |error| Error::io("mend the device id in", installation.directory(), error);
    known_device_id(installation)
        .map_or(Ok(false), |known| installation.mend_device_id(&known).map_err(error))
}

/// The epoch is the device id's. Where that is missing, nothing was collected since, and the ledger's holds.
fn epoch(installation: &Installation) -> Result<Epoch> {
    match installation.device_id() {
        Ok(Some(device_id)) => Ok(Epoch::of(&device_id)),
        Err(error) if error.kind() != io::ErrorKind::InvalidData => {
            Err(Error::io("read the device id in", installation.directory(), error))
        }
        _ => {
            let ledger = Ledger::read(&installation.ledger()).ok().flatten();
            Ok(ledger.map_or_else(|| Epoch::of(""), |ledger| ledger.epoch))
        }
    }
}

fn open_destination(spool: &mut Spool, route: &Route, reports: Sender<Report>) -> Result<Destination> {
    let number = spool.destination(&route.name);
    let courier =
        Courier::spawn(&route.name, route.means(), route.transport()?, route.permit.clone(), reports)
            .map_err(|error| {
                Error::new(crate::ErrorKind::Io, "no courier's thread can be started").with_source(error)
            })?;
    let word = spool.word(&route.name);
    let destination = Destination::new(number, route, courier, word);
    spool.set_word(&route.name, destination.word.clone());
    Ok(destination)
}

impl Piece {
    /// Takes out the events that could not be read. The courier saw the leases in this order.
    fn without(self, damaged: &[Damage]) -> (Piece, Piece) {
        let mut kept = self.0;
        let mut lost = Vec::new();
        for damage in damaged {
            if let Some(lease) = kept.get_mut(damage.parcel) {
                lost.push(spool::Lease { events: lease.events & damage.events, ..*lease });
                lease.events &= !damage.events;
            }
        }
        kept.retain(|lease| lease.events != 0);
        (Piece(kept), Piece(lost))
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::never;

    use super::*;
    use crate::product::Routing;

    /// Its channel of reports had no sender, was therefore always ready, and the owner used a whole core.
    #[test]
    fn an_owner_without_a_destination_waits_for_work() {
        let directory = tempfile::tempdir().unwrap();
        let installation = Installation::new(directory.path().into());
        installation.create().unwrap();
        let ownership = Ownership::try_now(&installation).unwrap().unwrap();
        let nobody = Ways {
            routing: Routing::default(),
            routes: Vec::new(),
            origin: std::sync::Arc::new(|_, _| crate::block::Origin::sample()),
        };
        let engine = Engine::open(&installation, ownership, &nobody, Quota::default()).unwrap();
        let (_asker, control) = unbounded::<()>();
        let (began, longest) = (clock::monotonic(), Duration::from_millis(50));
        engine.wait(longest, &control, &never::<()>());
        assert!(began.elapsed() >= longest);
        engine.close(Duration::ZERO).unwrap();
    }
}
