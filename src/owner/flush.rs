//! An explicit flush: everything that waits is delivered now, or it is said why not.

use std::time::{Duration, Instant};

use crossbeam_channel::never;

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
    account: Account,
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
        self.destinations.iter_mut().for_each(Destination::end_flush);
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
        Ok(FlushReport { waiting, held_journals, reason, ..self.report(&before) })
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
        self.destinations.iter().find_map(Destination::flush_failure).map(str::to_owned)
    }

    fn is_drained(&self) -> bool {
        self.destinations.iter().all(|destination| self.spool.owed(destination.number).0 == 0)
    }

    fn before(&self) -> Before {
        Before {
            at: clock::monotonic(),
            account: self.spool.books().total(),
            requests: self.requests,
            bytes: self.bytes,
            waiting: waiting(&Census::take(&self.installation).books),
        }
    }

    fn report(&self, before: &Before) -> FlushReport {
        let now = self.spool.books().total();
        let dropped = |account: &Account| account.dropped.values().sum::<u64>();
        let mut report = FlushReport {
            delivered: now.delivered - before.account.delivered,
            dead: now.dead - before.account.dead,
            // What was booked as damaged may be found again meanwhile.
            dropped: dropped(&now).saturating_sub(dropped(&before.account)),
            requests: self.requests - before.requests,
            bytes: self.bytes - before.bytes,
            elapsed: clock::monotonic().duration_since(before.at),
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
