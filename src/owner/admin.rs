//! Looks at an installation's queue and works on it, for command lines.

use std::collections::BTreeSet;
use std::time::Duration;

use super::census;
use super::checkup::{Checkup, Salvage};
use super::engine::Engine;
use super::erase::erase;
use super::examine::examine;
use super::flush::FlushReport;
use super::lock::Ownership;
use super::peek::{self, Bodies, PeekedEvent, Whose};
use super::privacy::Privacy;
use super::route::Ways;
use super::settings::Settings;
use super::signing::Signing;
use super::status::Status;
use crate::block::read_block;
use crate::clock;
use crate::delivery::{Format, Parcel};
use crate::error::{Error, ErrorKind, Result};
use crate::installation::{Installation, Milestones};
use crate::journal::relabel;
use crate::limits::{ERASE_WAIT, HELD_NAMED_AFTER, OWNER_WAIT_EVERY, STORE_WAIT_MAX};
use crate::product::{JOURNALS, Quota};
use crate::spool::Exports;

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
    /// The only destination that it is about.
    pub(super) only: Option<String>,
    pub(super) signing: Signing,
}

impl Admin {
    /// Unlike a client's builder it may look at the directory, and wait a second for a settings file that was just
    /// written: no host waits for it.
    pub(crate) fn new(settings: Settings) -> Self {
        if let Some(exposure) = settings.installation.as_ref().and_then(Installation::exposure) {
            settings.watch.object(exposure);
        }
        settings.watch.wait_until_settled();
        Self { settings, only: None, signing: Signing::default() }
    }

    /// The same for one destination alone: of what waits, is delivered, is purged or was refused, only what is its.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] where the product has none of this name and nothing is known of it, with those that
    /// there are.
    pub fn only(self, destination: &str) -> Result<Self> {
        let known = self.status().destinations.into_iter().map(|found| found.name);
        let known: BTreeSet<String> =
            known.chain(self.settings.ways.routing.names().iter().cloned()).collect();
        if !known.contains(destination) || destination == JOURNALS {
            let known = known.into_iter().filter(|name| name != JOURNALS).collect::<Vec<_>>().join(", ");
            return Err(Error::invalid(format!("there is no destination {destination:?}: {known}")));
        }
        Ok(Self { only: Some(destination.into()), ..self })
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
    pub(super) fn refusal(&self) -> Option<String> {
        let consent = self.settings.watch.consent();
        (!consent.is_yes()).then_some(consent.reason)
    }

    /// By whose word nothing is collected here, if so. Where it is the installation's no, what was collected before is
    /// deleted, as by whoever notices it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] says what cannot be deleted.
    pub fn heed_refusal(&self) -> Result<Option<String>> {
        self.delete_refused(ERASE_WAIT)?;
        Ok(self.refusal())
    }

    /// Deletes what the installation's no deletes, if it holds, and says how many events were dropped. Waits at most so
    /// long for those who let go by themselves.
    pub(super) fn delete_refused(&self, wait: Duration) -> Result<u64> {
        let Some(installation) = self.existing() else { return Ok(0) };
        let error = |error| Error::io("delete what was collected in", installation.directory(), error);
        Ok(erase(installation, &self.settings.watch, wait).map_err(error)?.unwrap_or(0))
    }

    /// Refuses where nothing is collected.
    pub(super) fn permitted(&self) -> Result<()> {
        self.heed_refusal()?.map_or(Ok(()), |reason| Err(Error::new(ErrorKind::Refused, reason)))
    }

    /// Whether the product declares an event of this name.
    pub fn is_declared(&self, name: &str) -> bool {
        self.settings.product.declared.has(name)
    }

    /// Why a milestone that is reached here does not count, if so.
    pub fn milestones_objection(&self) -> Option<&str> {
        self.settings.milestones_objection()
    }

    /// Whether a milestone was reached, as far as `milestones.json` says, or what can still be read of it.
    pub fn is_reached(&self, milestone: &str) -> bool {
        let reached = |installation: &Installation| {
            Milestones::read_legible(&installation.milestones()).is_ok_and(|marks| marks.has(milestone))
        };
        self.existing().is_some_and(reached)
    }

    /// Whether the product was used here before there was anything to collect in: then its milestones will count as
    /// reached, and none of them is sent.
    pub fn is_used_before(&self) -> bool {
        self.existing().is_none() && !self.settings.greeting.marks().is_empty()
    }

    /// Whether the product declares a milestone of this name.
    pub fn is_milestone(&self, name: &str) -> bool {
        self.settings.product.milestones.iter().any(|known| known == name)
    }

    /// Shows what waits, in the order in which it would go. `show` ends it by saying no.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Locked`] when whoever holds the spool does not hand it over.
    pub fn peek(&self, show: &mut dyn FnMut(PeekedEvent) -> bool) -> Result<()> {
        let exports = self.exports();
        self.with_parcels(&mut |parcel| peek::events(&parcel, &exports, show))
    }

    /// Shows the bodies of the requests that would deliver the first `events` of what waits, byte for byte.
    ///
    /// # Errors
    ///
    /// As [`Admin::peek`].
    pub fn peek_bodies(&self, format: Format, events: u64, show: &mut dyn FnMut(&[u8])) -> Result<()> {
        let ways = &self.settings.ways;
        let name = match (&self.only, ways.routing.names()) {
            (Some(name), _) | (None, [name]) => name,
            (None, names) => {
                let names = names.join(", ");
                return Err(Error::invalid(format!("each destination gets others: name one of {names}")));
            }
        };
        let events_max = ways.events_max(name, format);
        let mut bodies = Bodies { format, events_max, left: events, parcels: Vec::new(), show };
        let exports = self.exports();
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
    /// [`ErrorKind::Refused`] where nothing may be sent, [`ErrorKind::Invalid`] without an endpoint (of the only
    /// destination, if it is about one),
    /// [`ErrorKind::Locked`] when whoever holds the spool does not hand it over.
    pub fn flush(
        &self,
        timeout: Duration,
        progress: &mut dyn FnMut(&FlushReport) -> bool,
    ) -> Result<FlushReport> {
        let deadline = clock::deadline(timeout);
        let ways = self.ways_to_send()?;
        let Some(installation) = self.existing() else { return Ok(FlushReport::default()) };
        let mut engine = {
            let ownership = Ownership::demand(installation, deadline, &|| true)?;
            Engine::open(installation, ownership, &ways, self.settings.product.quota)?
        };
        let watch = &self.settings.watch;
        let report = engine.flush(deadline, &mut |so_far| progress(so_far) && watch.look().is_yes());
        let closed = match watch.state().is_yes() {
            true => engine.close(Duration::ZERO),
            false => engine.close_refused(&|| watch.look().may_be_refused()),
        };
        let mut report = report?;
        closed?;
        // It may be that somebody said no meanwhile.
        report.reason = report.reason.map(|why| self.refusal().unwrap_or(why));
        Ok(report)
    }

    /// Where this may send something to.
    pub(super) fn ways_to_send(&self) -> Result<Ways> {
        self.permitted()?;
        if !self.settings.ways.is_open() {
            return Err(Error::invalid("there is no endpoint: name one, or set MILEPOST_ENDPOINT"));
        }
        let Some(ways) = self.settings.deliverable() else {
            return Err(Error::new(
                ErrorKind::Refused,
                "the mode is local: nothing is sent over the network",
            ));
        };
        match &self.only {
            Some(name) => ways.to(name),
            None => Ok(ways.clone()),
        }
    }

    /// Deletes everything that waits, unsent, and says how many events that were. Where it is about one destination
    /// that the product has, all that waits in journals is taken in first, to be seen to whom it goes.
    ///
    /// # Errors
    ///
    /// As [`Admin::peek`].
    pub fn purge(&self) -> Result<u64> {
        let Some(installation) = self.existing() else { return Ok(0) };
        self.holding(installation, |engine| {
            wait_for_writers(installation)?;
            Ok(match &self.only {
                Some(name) => engine.spool.purge_destination(name, &mut engine.intake)?,
                None => engine.spool.purge(&mut engine.intake)?,
            })
        })
    }

    /// Has what waits for the only destination that it is about wait for another one of the product, and says how many
    /// events that were: for one that is called otherwise now, or is there no more. What the other one has taken
    /// already it gets once more, with the same ids. Dead letters stay.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] where the product has no destination `to`, or it is about that or about all of them,
    /// and as [`Admin::peek`].
    pub fn move_waiting(&self, to: &str) -> Result<u64> {
        let names = self.settings.ways.routing.names();
        let from = match &self.only {
            Some(from) if from != to && names.iter().any(|name| name == to) => from,
            _ => {
                let names = names.join(", ");
                let what = "what waits for one destination can wait for another one of the product";
                return Err(Error::invalid(format!("{what}, not for {to:?}: {names}")));
            }
        };
        let Some(installation) = self.existing() else { return Ok(0) };
        self.holding(installation, |engine| Ok(engine.spool.move_waiting(from, to)?))
    }

    /// Lets what was collected in mode `local` so far be delivered as all else is, and says how many events that
    /// are.
    ///
    /// # Errors
    ///
    /// As [`Admin::peek`].
    pub fn include_waiting(&self) -> Result<u64> {
        let Some(installation) = self.existing() else { return Ok(0) };
        self.holding(installation, |engine| {
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
            Ok(included)
        })
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
        let salvaged = self.holding(installation, |engine| {
            let salvaged = engine.spool.salvage(&mut engine.intake)?;
            engine.spool.mend_milestones()?;
            Ok(salvaged)
        })?;
        Ok(Checkup { salvage: Some(Salvage::new(installation.directory(), salvaged)), ..self.examine() })
    }

    /// What is on bundles.
    fn exports(&self) -> Exports {
        self.existing().map(|found| Exports::read(&found.exports())).unwrap_or_default()
    }

    /// Runs over everything that waits, holding the store if there is one.
    fn with_parcels(&self, show: &mut dyn FnMut(Parcel) -> Result<bool>) -> Result<()> {
        let Some(installation) = self.existing() else { return Ok(()) };
        if !installation.has_spool() {
            return peek::parcels(installation, None, self.whose(), show);
        }
        self.holding(installation, |engine| peek::parcels(installation, Some(engine), self.whose(), show))
    }

    /// Whose events it is about.
    pub(super) fn whose(&self) -> Whose<'_> {
        Whose { routing: &self.settings.ways.routing, only: self.only.as_deref() }
    }

    /// Does something with the spool in hand, and closes it whatever came of that.
    pub(super) fn holding<T>(
        &self,
        installation: &Installation,
        work: impl FnOnce(&mut Engine) -> Result<T>,
    ) -> Result<T> {
        let mut engine = self.looking(installation)?;
        let done = work(&mut engine);
        let closed = engine.close(Duration::ZERO);
        done.and_then(|done| closed.map(|()| done))
    }

    /// The spool, to look at it or to delete from it: nothing is sent.
    pub(super) fn looking(&self, installation: &Installation) -> Result<Engine> {
        let ownership = Ownership::demand(installation, clock::monotonic() + STORE_WAIT_MAX, &|| true)?;
        // Nothing is taken in, so nothing has to make room.
        Engine::open(installation, ownership, &self.settings.ways.closed(), Quota::default())
    }

    pub(super) fn existing(&self) -> Option<&Installation> {
        self.settings.installation.as_ref().filter(|installation| installation.exists())
    }
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
