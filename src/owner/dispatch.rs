//! What is sent next, and when: one request of a destination is prepared while another one is in flight.

use std::time::Instant;

use super::destination::{Flight, Piece};
use super::engine::Engine;
use crate::delivery::{Job, Parcel};
use crate::error::Result;
use crate::limits::BATCH_BLOCK_BYTES_MAX;
use crate::spool::{Step, reached};

impl Engine {
    /// Gives a destination's courier its next batch, and has it sent when nothing else is in flight.
    pub(super) fn dispatch(&mut self, index: usize, now: Instant, more: bool) -> Result<bool> {
        if !self.destinations[index].is_due(now) {
            return Ok(false);
        }
        Ok(self.prepare(index, more)? | self.launch(index)?)
    }

    /// Gives a destination's courier a batch to prepare, if it has room and there is one. While there is `more` to be
    /// taken in, only a full one: a request costs the same for few events as for many. Behind one that is in flight,
    /// too: until that has landed, more may come.
    fn prepare(&mut self, index: usize, more: bool) -> Result<bool> {
        let destination = &mut self.destinations[index];
        if !destination.has_room() {
            return Ok(false);
        }
        let (mut events, mut bytes) = self.spool.owed(destination.number);
        if let Some(flight) = &destination.flight {
            events = events.saturating_sub(flight.piece.events());
            bytes = bytes.saturating_sub(flight.bytes);
        }
        let is_behind = destination.flight.is_some();
        let events_max = destination.batch();
        let full = events >= events_max as u64 || bytes >= BATCH_BLOCK_BYTES_MAX;
        let piece = destination.next_piece();
        // What came back may be superseded by what is just coming in.
        if (more || is_behind) && piece.as_ref().map_or(!full, Piece::has_latest) {
            piece.into_iter().for_each(|piece| destination.put_back(piece));
            return Ok(false);
        }
        let piece = piece.or_else(|| {
            let leases = self.spool.lease(destination.number, events_max, BATCH_BLOCK_BYTES_MAX);
            (!leases.is_empty()).then_some(Piece(leases))
        });
        let Some(piece) = piece else {
            if !is_behind && destination.retry_refused() {
                self.spool.set_word(&destination.name, destination.word.clone());
            }
            return Ok(false);
        };
        // A block may have more events than a request.
        let (piece, rest) = piece.take(events_max as u64);
        rest.into_iter().for_each(|rest| destination.put_back(rest));
        let piece = self.still_wanted(index, piece)?;
        if piece.0.is_empty() {
            return Ok(true);
        }
        let mut parcels = Vec::with_capacity(piece.0.len());
        for lease in &piece.0 {
            let (block, origin) = self.spool.block(lease)?;
            let journal_events = self.spool.journal_events(lease);
            parcels.push(Parcel { block, owed: lease.events, origin, journal_events });
        }
        let destination = &mut self.destinations[index];
        self.next_job += 1;
        let bytes = parcels.iter().map(|parcel| parcel.block.len() as u64).sum();
        let identity = Some(Box::new(self.spool.identity()));
        let job = Job { id: self.next_job, parcels, timeout: destination.timeout, identity };
        match destination.courier.prepare(job) {
            Ok(go) => destination.prepares(Flight { id: self.next_job, piece, bytes }, go),
            // Its last jobs are not over: a connection attempt that could not be interrupted.
            Err(_) => {
                destination.put_back(piece);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Has a destination's courier send what it has prepared, unless something else is in flight.
    pub(super) fn launch(&mut self, index: usize) -> Result<bool> {
        let Some((flight, go)) = self.destinations[index].prepared() else { return Ok(false) };
        // A while may have passed since it was leased.
        let piece = self.still_wanted(index, flight.piece.clone())?;
        self.spool.check_epoch()?;
        let destination = &mut self.destinations[index];
        if piece == flight.piece {
            destination.flight = Some(flight);
            go.send();
            reached(Step::BatchLeased);
        } else {
            destination.put_back(piece);
        }
        Ok(true)
    }

    /// What a destination's courier has prepared is not sent: what comes next depends on more.
    pub(super) fn withdraw(&mut self, index: usize) {
        if let Some(piece) = self.destinations[index].withdraw() {
            self.spool.release(&piece.0);
        }
    }

    /// Drops what is superseded, and what is too old for its destination.
    fn still_wanted(&mut self, index: usize, piece: Piece) -> Result<Piece> {
        let mut leases = self.spool.without_superseded(piece.0)?;
        if let Some(time) = self.destinations[index].too_old_before() {
            leases = self.spool.drop_too_old(leases, time)?;
        }
        Ok(Piece(leases))
    }
}
