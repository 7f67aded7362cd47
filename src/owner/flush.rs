//! An explicit flush: everything that waits is delivered now, or it is said why not.

use std::time::{Duration, Instant};

use crossbeam_channel::never;
use serde::Serialize;

use super::census::{self, Census};
use super::destination::Destination;
use super::engine::Engine;
use crate::clock;
use crate::error::{Error, Result};
use crate::journal::JournalName;
use crate::limits::HELD_NAMED_AFTER;
use crate::spool::{Account, Books, LOCAL};

/// How long the engine waits for a report before it looks around again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a flush came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushReport {
    /// Events that receivers took.
    pub delivered: u64,
    /// Events that still wait.
    pub waiting: u64,
    /// Events that a receiver refused for good.
    pub dead: u64,
    /// Events that will never be delivered, for other reasons.
    pub dropped: u64,
    /// Journals that a process holds and did not let go of: it is stopped.
    pub held_journals: u64,
    /// HTTP requests that were answered.
    pub requests: u64,
    /// Bytes of their bodies, as sent.
    pub bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Why not everything was delivered.
    pub reason: Option<String>,
    /// The same for each destination that was delivered to.
    pub destinations: Vec<DestinationReport>,
}

/// What a flush came to for one destination.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DestinationReport {
    /// Its name.
    pub name: String,
    /// Events that it took.
    pub delivered: u64,
    /// Events that still wait for it in the spool.
    pub waiting: u64,
    /// Events that it refused for good.
    pub dead: u64,
    /// Why it got no further.
    pub reason: Option<String>,
}

impl FlushReport {
    /// Whether everything that could be delivered was: nothing waits for a receiver, and no process sits on
    /// events.
    pub fn is_complete(&self) -> bool {
        self.reason.is_none()
    }
}

/// How things stood when a flush began.
struct Before {
    at: Instant,
    books: Books,
    requests: u64,
    bytes: u64,
    waiting: u64,
}

impl Engine {
    /// Delivers what waits until nothing is left, each destination has failed once, or the deadline passes.
    /// `progress` sees how far it came, and ends it by saying no.
    pub(super) fn flush(
        &mut self,
        deadline: Instant,
        progress: &mut dyn FnMut(&FlushReport) -> bool,
    ) -> Result<FlushReport> {
        self.drop_aged()?;
        let before = self.before();
        let mut held = self.ask_holders()?;
        self.destinations.iter_mut().for_each(Destination::begin_flush);
        self.intake.look_again();
        let mut left = u64::MAX;
        let reason = loop {
            let busy = self.step()?;
            let now = clock::monotonic();
            if !progress(&self.report(&before)) {
                break Some("interrupted".into());
            }
            if now >= deadline {
                break Some("the time was up".into());
            }
            if busy {
                continue;
            }
            if !self.is_flying() {
                held.retain(|name| census::is_held(&self.installation, name));
                let settled = held.is_empty() || now.duration_since(before.at) >= HELD_NAMED_AFTER;
                if let Some(failure) = self.failure().filter(|_| settled) {
                    break Some(failure);
                }
                if settled && self.is_drained() {
                    // The store is empty. What is left in free journals decides whether that is all; what
                    // running workers hold by now came after the flush began.
                    self.spool.tidy(true)?;
                    let left_before =
                        std::mem::replace(&mut left, waiting(&Census::of_free(&self.installation).books));
                    if left == 0 || left == left_before {
                        break None;
                    }
                }
            }
            self.intake.look_again();
            self.wait(LOOK_EVERY, &never::<()>(), &never::<()>());
        };
        // Short commands never see a file for long enough to tell that it stays damaged.
        self.spool.mend_milestones()?;
        self.spool.tidy(true)?;
        let held_journals = held.len() as u64;
        let waiting = waiting(&Census::take(&self.installation).books);
        let reason = reason.or_else(|| match held_journals {
            0 if left == 0 => None,
            0 => Some("some journals cannot be taken in: the log says which".into()),
            held => Some(format!("{held} journals are held by processes that do not let go: stopped?")),
        });
        let report = FlushReport { waiting, held_journals, reason, ..self.report(&before) };
        self.destinations.iter_mut().for_each(Destination::end_flush);
        Ok(report)
    }

    fn report_of(&self, destination: &Destination, before: &Before) -> DestinationReport {
        let account = |books: &Books| books.accounts.get(&destination.name).cloned().unwrap_or_default();
        let (now, then) = (account(self.spool.books()), account(&before.books));
        DestinationReport {
            name: destination.name.clone(),
            delivered: now.delivered - then.delivered,
            waiting: self.spool.owed(destination.number).0,
            dead: now.dead - then.dead,
            reason: destination.flush_failure().map(str::to_owned),
        }
    }

    /// Asks the writers of this installation for what they hold.
    fn ask_holders(&self) -> Result<Vec<JournalName>> {
        let held = census::held_journals(&self.installation);
        if !held.is_empty() {
            let turn = self.installation.turn();
            self.installation.ask_for_turn().map_err(|error| Error::io("touch", &turn, error))?;
        }
        Ok(held)
    }

    /// Why a destination got no further.
    fn failure(&self) -> Option<String> {
        let several = self.destinations.len() > 1;
        self.destinations.iter().find_map(|destination| {
            let why = destination.flush_failure()?;
            Some(if several { format!("{}: {why}", destination.name) } else { why.to_owned() })
        })
    }

    fn is_drained(&self) -> bool {
        self.destinations.iter().all(|destination| self.spool.owed(destination.number).0 == 0)
    }

    fn before(&self) -> Before {
        Before {
            at: clock::monotonic(),
            books: self.spool.books().clone(),
            requests: self.requests,
            bytes: self.bytes,
            waiting: waiting(&Census::take(&self.installation).books),
        }
    }

    fn report(&self, before: &Before) -> FlushReport {
        let (now, then) = (self.spool.books().total(), before.books.total());
        let dropped = |account: &Account| account.dropped.values().sum::<u64>();
        let mut report = FlushReport {
            delivered: now.delivered - then.delivered,
            dead: now.dead - then.dead,
            // What was booked as damaged may be found again meanwhile.
            dropped: dropped(&now).saturating_sub(dropped(&then)),
            requests: self.requests - before.requests,
            bytes: self.bytes - before.bytes,
            elapsed: clock::monotonic().duration_since(before.at),
            destinations: self.destinations.iter().map(|found| self.report_of(found, before)).collect(),
            ..FlushReport::default()
        };
        report.waiting = before.waiting.saturating_sub(report.delivered + report.dead + report.dropped);
        report
    }
}

/// Events that wait for a receiver: those that stay on this host are none.
fn waiting(books: &Books) -> u64 {
    let accounts = books.accounts.iter().filter(|(name, _)| *name != LOCAL);
    accounts.map(|(_, account)| account.waiting()).sum()
}
