//! Looks at an installation's queue and works on it, for command lines.

use std::time::Duration;

use super::census;
use super::checkup::{Checkup, Salvage};
use super::engine::Engine;
use super::examine::examine;
use super::flush::FlushReport;
use super::lock::Ownership;
use super::peek::{self, Bodies, PeekedEvent};
use super::privacy::Privacy;
use super::settings::Settings;
use super::status::Status;
use crate::block::read_block;
use crate::clock;
use crate::delivery::{Format, Parcel};
use crate::error::{Error, ErrorKind, Result};
use crate::installation::{Installation, Milestones};
use crate::journal::relabel;
use crate::limits::{HELD_NAMED_AFTER, OWNER_WAIT_EVERY, STORE_WAIT_MAX};
use crate::product::Quota;
use crate::spool::{Exports, Spool, SpoolError};

/// Looks at an installation's queue and works on it: what a program's own command line needs, and what the
/// program `milepost` is made of.
///
/// Whatever needs the spool takes it from the worker that holds it, and gives it back when it is done.
///
/// ```no_run
/// # fn main() -> milepost::Result<()> {
/// use milepost::{Client, Product};
/// let admin = Client::builder(Product::new("acme-worker", "1.4.0")).admin()?;
/// println!("{} events wait", admin.status().waiting.events);
/// # Ok(())
/// # }
/// ```
pub struct Admin {
    pub(super) settings: Settings,
}

/// An event that a receiver refused for good.
#[derive(Debug, Clone, serde::Serialize)]
#[non_exhaustive]
pub struct DeadEvent {
    /// Its number among the dead letters.
    pub number: u64,
    /// Who refused it.
    pub destination: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The first 512 bytes of the answer.
    pub answer: String,
    /// When that was, RFC 3339.
    pub refused_at: String,
    /// The event.
    pub event: PeekedEvent,
}

impl Admin {
    /// Unlike a client's builder it may look at the directory, and wait a second for a settings file that was just
    /// written: no host waits for it.
    pub(crate) fn new(settings: Settings) -> Self {
        if let Some(exposure) = settings.installation.as_ref().and_then(Installation::exposure) {
            settings.watch.object(exposure);
        }
        settings.watch.wait_until_settled();
        Self { settings }
    }

    /// How things stand. Needs no lock and disturbs nobody.
    pub fn status(&self) -> Status {
        Status::read(&self.settings)
    }

    /// What may leave this machine, what never does, and what was kept in so far. Disturbs nobody.
    pub fn privacy(&self) -> Privacy {
        Privacy::read(&self.settings)
    }

    /// By whose word nothing is collected here, if so.
    pub fn refusal(&self) -> Option<String> {
        let consent = self.settings.watch.consent();
        (!consent.is_yes()).then_some(consent.reason)
    }

    /// Whether the product declares an event of this name.
    pub fn is_declared(&self, name: &str) -> bool {
        self.settings.product.declared.has(name)
    }

    /// Why a milestone that is reached here does not count, if so.
    pub fn milestones_objection(&self) -> Option<&str> {
        self.settings.milestones_objection()
    }

    /// Whether a milestone was reached, as far as `milestones.json` says.
    pub fn is_reached(&self, milestone: &str) -> bool {
        let reached = |installation: &Installation| {
            Milestones::read(&installation.milestones()).is_ok_and(|marks| marks.has(milestone))
        };
        self.existing().is_some_and(reached)
    }

    /// Whether the product declares a milestone of this name.
    pub fn is_milestone(&self, name: &str) -> bool {
        self.settings.product.milestones.contains(name)
    }

    /// Shows what waits, in the order in which it would go. `show` ends it by saying no.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Locked`] when whoever holds the spool does not hand it over.
    pub fn peek(&self, show: &mut dyn FnMut(PeekedEvent) -> bool) -> Result<()> {
        self.with_parcels(&mut |parcel| peek::events(&parcel, show))
    }

    /// Shows the bodies of the requests that would deliver the first `events` of what waits, byte for byte.
    ///
    /// # Errors
    ///
    /// As [`Admin::peek`].
    pub fn peek_bodies(&self, format: Format, events: u64, show: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut bodies = Bodies { format, left: events, parcels: Vec::new(), show };
        let exports = self.existing().map(|found| Exports::read(&found.exports())).unwrap_or_default();
        self.with_parcels(&mut |mut parcel| {
            // What is on a bundle is not sent from here.
            parcel.owed &= read_block(&parcel.block).map_or(u128::MAX, |block| !exports.waiting(&block));
            Ok(parcel.owed == 0 || bodies.add(parcel))
        })?;
        bodies.send();
        Ok(())
    }

    /// Delivers what waits in this installation, whoever enqueued it, and tries each destination once at once,
    /// whatever is held or backed off. `progress` is asked many times a second, and ends it by saying no.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where nothing may be sent, [`ErrorKind::Invalid`] without an endpoint,
    /// [`ErrorKind::Locked`] when whoever holds the spool does not hand it over.
    pub fn flush(
        &self,
        timeout: Duration,
        progress: &mut dyn FnMut(&FlushReport) -> bool,
    ) -> Result<FlushReport> {
        let deadline = clock::deadline(timeout);
        if let Some(reason) = self.refusal() {
            return Err(Error::new(ErrorKind::Refused, reason));
        }
        if self.settings.route.is_none() {
            return Err(Error::invalid("there is no endpoint: name one, or set MILEPOST_ENDPOINT"));
        }
        if self.settings.deliverable().is_none() {
            return Err(Error::new(
                ErrorKind::Refused,
                "the mode is local: nothing is sent over the network",
            ));
        }
        let Some(installation) = self.existing() else { return Ok(FlushReport::default()) };
        let mut engine = {
            let ownership = Ownership::demand(installation, deadline, &|| true)?;
            Engine::open(installation, ownership, self.settings.deliverable(), self.settings.product.quota)?
        };
        let report = engine.flush(deadline, progress);
        let closed = engine.close(Duration::ZERO);
        let report = report?;
        closed?;
        Ok(report)
    }

    /// The events that receivers refused for good, oldest first.
    ///
    /// # Errors
    ///
    /// As [`Admin::peek`].
    pub fn dead(&self) -> Result<Vec<DeadEvent>> {
        let Some(installation) = self.existing().filter(|found| found.has_spool()) else {
            return Ok(Vec::new());
        };
        let engine = looking(installation)?;
        let mut dead = Vec::new();
        for (number, letter) in engine.spool.dead_letters()? {
            let Some(origin) = engine.spool.origin(letter.origin).cloned() else { continue };
            let parcel = Parcel { block: letter.block, owed: 1, origin };
            peek::events(&parcel, &mut |event| {
                dead.push(DeadEvent {
                    number,
                    destination: letter.destination.clone(),
                    status: letter.status,
                    answer: letter.answer.clone(),
                    refused_at: clock::rfc3339(letter.time),
                    event,
                });
                true
            })?;
        }
        engine.close(Duration::ZERO)?;
        Ok(dead)
    }

    /// Has dead letters of these numbers wait again, and says how many that were. With the next delivery they go as
    /// they are.
    ///
    /// # Errors
    ///
    /// As [`Admin::peek`].
    pub fn requeue(&self, numbers: &[u64]) -> Result<u64> {
        self.change_dead(|spool| spool.requeue(numbers))
    }

    /// Deletes the dead letters of these numbers, and says how many that were.
    ///
    /// # Errors
    ///
    /// As [`Admin::peek`].
    pub fn drop_dead(&self, numbers: &[u64]) -> Result<u64> {
        self.change_dead(|spool| spool.drop_dead(numbers))
    }

    fn change_dead(&self, change: impl FnOnce(&mut Spool) -> Result<u64, SpoolError>) -> Result<u64> {
        let Some(installation) = self.existing().filter(|found| found.has_spool()) else { return Ok(0) };
        let mut engine = looking(installation)?;
        let changed = change(&mut engine.spool);
        let closed = engine.close(Duration::ZERO);
        let changed = changed?;
        closed?;
        Ok(changed)
    }

    /// Deletes everything that waits, unsent, and says how many events that were.
    ///
    /// # Errors
    ///
    /// As [`Admin::peek`].
    pub fn purge(&self) -> Result<u64> {
        let Some(installation) = self.existing() else { return Ok(0) };
        let mut engine = looking(installation)?;
        wait_for_writers(installation)?;
        let purged = engine.spool.purge(&mut engine.intake)?;
        engine.close(Duration::ZERO)?;
        Ok(purged)
    }

    /// Lets what was collected in mode `local` so far be delivered as all else is, and says how many events that
    /// are.
    ///
    /// # Errors
    ///
    /// As [`Admin::peek`].
    pub fn include_waiting(&self) -> Result<u64> {
        let Some(installation) = self.existing() else { return Ok(0) };
        let mut engine = looking(installation)?;
        wait_for_writers(installation)?;
        let journals = installation.journals();
        let mut included = engine.spool.include_local()?;
        for name in census::names(&journals) {
            let path = journals.join(name.to_string());
            match relabel(&path) {
                Ok(events) => included += events.unwrap_or(0),
                // Somebody dropped it meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("write anew", &path, error)),
            }
        }
        engine.close(Duration::ZERO)?;
        Ok(included)
    }

    /// Looks at every file, and changes none. Disturbs nobody: a store that somebody works on is not checked.
    pub fn examine(&self) -> Checkup {
        let directory = self.settings.installation.as_ref().map(Installation::directory);
        Checkup {
            directory: directory.map(|directory| directory.display().to_string()).unwrap_or_default(),
            exists: self.existing().is_some(),
            files: self.existing().map(examine).unwrap_or_default(),
            salvage: None,
        }
    }

    /// Brings back what is lost and whole in what is damaged or was set aside: events into the queue, once, by
    /// address; what a receiver had refused for good among the dead letters; milestones that were reached. What was
    /// set aside is removed when it has nothing more to give. Nothing is sent. Looks at every file afterwards.
    ///
    /// Events that were booked as damaged no longer are.
    ///
    /// # Errors
    ///
    /// As [`Admin::peek`]. What came back before is durable, and nothing comes back twice.
    pub fn salvage(&self) -> Result<Checkup> {
        let Some(installation) = self.existing() else {
            return Ok(Checkup { salvage: Some(Salvage::default()), ..self.examine() });
        };
        let mut engine = looking(installation)?;
        let salvaged = engine.spool.salvage(&mut engine.intake);
        let salvaged = salvaged.and_then(|salvaged| engine.spool.mend_milestones().map(|()| salvaged));
        let closed = engine.close(Duration::ZERO);
        let salvage = Some(Salvage::new(installation.directory(), salvaged?));
        closed?;
        Ok(Checkup { salvage, ..self.examine() })
    }

    /// Runs over everything that waits, holding the store if there is one.
    fn with_parcels(&self, show: &mut dyn FnMut(Parcel) -> Result<bool>) -> Result<()> {
        let Some(installation) = self.existing() else { return Ok(()) };
        if !installation.has_spool() {
            return peek::parcels(installation, None, show);
        }
        let engine = looking(installation)?;
        let shown = peek::parcels(installation, Some(&engine), show);
        let closed = engine.close(Duration::ZERO);
        shown?;
        closed
    }

    pub(super) fn existing(&self) -> Option<&Installation> {
        self.settings.installation.as_ref().filter(|installation| installation.exists())
    }
}

/// The spool, to look at it or to delete from it: nothing is sent.
pub(super) fn looking(installation: &Installation) -> Result<Engine> {
    let ownership = Ownership::demand(installation, clock::monotonic() + STORE_WAIT_MAX, &|| true)?;
    // Nothing is taken in, so nothing has to make room.
    Engine::open(installation, ownership, None, Quota::default())
}

/// Asks writers for what they hold, and waits until they let go of it.
pub(super) fn wait_for_writers(installation: &Installation) -> Result<()> {
    let mut held = census::held_journals(installation);
    if held.is_empty() {
        return Ok(());
    }
    let turn = installation.turn();
    installation.ask_for_turn().map_err(|error| Error::io("touch", &turn, error))?;
    let deadline = clock::monotonic() + HELD_NAMED_AFTER;
    while clock::monotonic() < deadline && !held.is_empty() {
        std::thread::sleep(clock::wait(OWNER_WAIT_EVERY));
        held.retain(|name| census::is_held(installation, name));
    }
    Ok(())
}
