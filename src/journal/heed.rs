//! The writer and consent: what it does when somebody says no, when nobody knows, and when it slept for long.

use super::file::Journal;
use super::writer::Writer;
use crate::admission::Refusal;
use crate::clock;
use crate::consent::{Answer, State};
use crate::limits::CONSENT_GAP;

/// What whoever waits for events is told that are gone.
const FORGOTTEN: &str = "somebody said that nothing is to be collected, and what was there is gone";

impl Writer {
    /// Heeds what holds now. Before a journal is begun, and after a gap in which this process may have been stopped
    /// through a no and a yes, it is looked at closely, and the installation's id with it.
    pub(super) fn heed(&mut self) {
        let now = (clock::monotonic(), clock::wall_micros());
        let (then, wall_then) = std::mem::replace(&mut self.heeded_at, now);
        // A machine that slept shows on the wall clock alone.
        let slept = now.0.duration_since(then) >= CONSENT_GAP
            || now.1.abs_diff(wall_then) >= CONSENT_GAP.as_micros() as u64;
        let begins = self.journal.is_none() && !self.channel.receiver.is_empty();
        if (slept || begins) && self.opener.has_another_id() {
            let journal = self.journal.take();
            self.begin_anew(journal);
        }
        let state = if slept || begins { self.watch.look_closely() } else { self.watch.look() };
        if state != self.state {
            self.change(state);
        }
    }

    fn change(&mut self, state: State) {
        let before = std::mem::replace(&mut self.state, state);
        if state.is_settling {
            return;
        }
        if state.is_refused {
            let journal = self.journal.take();
            self.begin_anew(journal);
        } else if !state.is_yes() || state.mode != before.mode {
            // What is in it was collected in order, and stays; its mode is in its origin.
            if let Some(journal) = self.journal.take() {
                self.let_go(journal, true);
            }
        }
        if state.is_yes() {
            if before.answer != Answer::Yes {
                self.failure = None;
                self.prepare();
            }
            self.channel.allow();
        } else {
            self.channel.refuse_all();
        }
    }

    /// Lets go of what belongs to an installation that is no more: the journal, which whoever said no deletes, and
    /// what stands in the channel.
    pub(super) fn begin_anew(&mut self, journal: Option<Journal>) {
        if let Some(journal) = journal {
            self.sync.forget(&journal);
            // Whoever waits for something in it is not to be told that it is durable.
            self.failure = Some(FORGOTTEN.into());
        }
        self.discard();
    }

    /// Discards what stands in the channel, counted; whoever waits for it is told.
    pub(super) fn discard(&mut self) {
        let mut discarded = 0;
        for slot in self.channel.receiver.clone().try_iter().take(self.channel.receiver.len()) {
            self.channel.release(&slot.event);
            discarded += 1;
        }
        if discarded > 0 {
            self.channel.counters.refuse(Refusal::Consent, discarded as u64);
            self.failure = Some(FORGOTTEN.into());
            self.keep_promise(discarded);
        }
    }
}
