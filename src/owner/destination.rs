//! What a destination's next request is, and what an answer means for its events: decided here, done by the
//! engine.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::route::Route;
use super::size::Size;
use crate::clock;
use crate::delivery::{Backoff, Courier, Disposition, Go, Pace};
use crate::limits::BLOCK_EVENTS_MAX;
use crate::spool::{LastWord, Lease};

/// Single events that may be refused before any was taken: then the settings are wrong, and not the events.
const REFUSED_ALONE_MAX: usize = 3;

/// Failures in a row after which a batch is divided, to see whether one of its events is the cause; and after which
/// an event that fails alone, while others pass, is that one.
const FAILURES_MAX: u32 = 2;

/// A destination that can be delivered to.
pub(super) struct Destination {
    pub(super) name: String,
    /// Its number in the spool.
    pub(super) number: u16,
    /// What the courier prepares while another one is in flight. Here, above the courier: that ends as it is dropped
    /// once nobody can have it send anything any more.
    next: Option<(Flight, Go)>,
    pub(super) courier: Courier,
    size: Size,
    /// For a request as a whole.
    pub(super) timeout: Duration,
    /// What is older is not sent.
    max_age: Option<Duration>,
    /// The fingerprint of its settings.
    pub(super) settings: String,
    pub(super) flight: Option<Flight>,
    /// Parts of leases that are to be sent, the next one first. Batches are leased when there are none.
    pieces: VecDeque<Piece>,
    /// Single events that were refused before the destination took any batch.
    refused: Vec<(Piece, Refusal)>,
    /// While parts of a batch are left that the receiver failed at.
    suspicion: Option<Suspicion>,
    backoff: Backoff,
    next_try: Option<Instant>,
    pub(super) word: LastWord,
    /// What an explicit flush came to so far: its first failure ends it.
    flushing: Option<Flushing>,
    /// Whether it took what it was last offered.
    takes: bool,
}

enum Flushing {
    Trying,
    Failed(String),
}

/// That one of the events may be why the receiver fails, and not the receiver.
#[derive(Default)]
struct Suspicion {
    /// Failures in a row at the part that is tried.
    failures: u32,
    /// Whether a part has passed: the receiver is well.
    passed: bool,
    /// Whether one event alone has failed, and nothing has passed: no part is divided further before one does.
    is_at_bottom: bool,
}

/// A batch that is with the courier.
pub(super) struct Flight {
    pub(super) id: u64,
    pub(super) piece: Piece,
    /// Bytes of its blocks.
    pub(super) bytes: u64,
}

/// Leased events that are sent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece(pub(super) Vec<Lease>);

/// What a receiver said to an event that stood alone.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) why: String,
    pub(super) status: u16,
    pub(super) answer: Vec<u8>,
}

/// What is to be booked after an answer.
#[derive(Debug)]
pub(super) enum Booking {
    /// The piece was delivered, but for so many events.
    Delivered { piece: Piece, rejected: u64 },
    /// This one event is a dead letter.
    Dead { piece: Piece, refusal: Refusal },
}

impl Destination {
    pub(super) fn new(number: u16, route: &Route, courier: Courier, word: LastWord) -> Self {
        Self {
            name: route.name.clone(),
            number,
            next: None,
            courier,
            size: Size::new(route.events_max),
            timeout: route.timeout,
            max_age: route.max_age,
            settings: route.fingerprint(),
            flight: None,
            pieces: VecDeque::new(),
            refused: Vec::new(),
            suspicion: None,
            backoff: Backoff::default(),
            next_try: None,
            word: LastWord { next_try: None, held: None, ..word },
            flushing: None,
            takes: false,
        }
    }

    /// Whether a request may be made now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        match &self.flushing {
            Some(flushing) => matches!(flushing, Flushing::Trying),
            None => self.next_try.is_none_or(|at| at <= now),
        }
    }

    /// Whether the courier has room for a batch. Behind one that is in flight it is to be all of its blocks, so that it
    /// can be given back as if it had never been leased; and while something is wrong, what comes next depends on the
    /// answer.
    pub(super) fn has_room(&self) -> bool {
        let is_well = self.takes && self.suspicion.is_none() && self.refused.is_empty();
        let may_follow = is_well && self.pieces.is_empty() && self.size.now() >= BLOCK_EVENTS_MAX;
        self.next.is_none() && (self.flight.is_none() || may_follow)
    }

    /// What the courier prepares from now on.
    pub(super) fn prepares(&mut self, flight: Flight, go: Go) {
        self.next = Some((flight, go));
    }

    /// What is prepared, when nothing is in flight any more. The courier sends it when it is told so.
    pub(super) fn prepared(&mut self) -> Option<(Flight, Go)> {
        self.next.take_if(|_| self.flight.is_none())
    }

    /// Has the courier forget what it has prepared, and says what that was.
    pub(super) fn withdraw(&mut self) -> Option<Piece> {
        self.next.take().map(|(flight, _)| flight.piece)
    }

    /// What is from before this, in microseconds since the Unix epoch, is not sent; `None` where nothing is too old.
    pub(super) fn too_old_before(&self) -> Option<u64> {
        let age = self.max_age?.as_micros().try_into().unwrap_or(u64::MAX);
        Some(clock::wall_micros().saturating_sub(age))
    }

    /// Most events that the next request has.
    pub(super) fn batch(&self) -> usize {
        self.size.now()
    }

    /// The machine slept: whatever stood in the way may be gone, and it is tried at once.
    pub(super) fn wake(&mut self) {
        self.backoff.reset();
        self.next_try = None;
        self.word.next_try = None;
    }

    /// Nothing is sent before so much has passed, unless somebody asks for it.
    pub(super) fn put_off(&mut self, wait: Duration) {
        self.next_try = Some(clock::monotonic() + wait);
        self.word.next_try = Some(clock::wall_micros() + wait.as_micros() as u64);
    }

    /// When it may be tried again; `None` when nothing stands in the way.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.next_try
    }

    /// Whether it took what it was last offered: more of that is of use.
    pub(super) fn takes(&self) -> bool {
        self.takes
    }

    /// The next part of a lease that is to be sent.
    pub(super) fn next_piece(&mut self) -> Option<Piece> {
        self.pieces.pop_front()
    }

    /// Takes back a piece that the courier does not send.
    pub(super) fn put_back(&mut self, piece: Piece) {
        self.pieces.push_front(piece);
    }

    /// Nothing else is left to be sent, and there is no witness: what was refused alone is held. `false` when
    /// nothing was refused.
    pub(super) fn retry_refused(&mut self) -> bool {
        if self.refused.is_empty() {
            return false;
        }
        let why = self.refused[0].1.why.clone();
        self.pieces.extend(self.refused.drain(..).map(|(piece, _)| piece));
        self.hold(format!("{why}; it has taken nothing else so far, so its settings may be wrong"));
        true
    }

    /// Tries once at once, whatever is held or backed off.
    pub(super) fn begin_flush(&mut self) {
        // Until it says otherwise: full requests from the first, as `peek` shows them.
        self.takes = true;
        self.flushing = Some(Flushing::Trying);
        self.backoff.reset();
        self.pieces.extend(self.refused.drain(..).map(|(piece, _)| piece));
    }

    /// Why an explicit flush got no further.
    pub(super) fn flush_failure(&self) -> Option<&str> {
        match &self.flushing {
            Some(Flushing::Failed(why)) => Some(why),
            _ => None,
        }
    }

    pub(super) fn end_flush(&mut self) {
        self.flushing = None;
    }

    /// Takes in an answer. `is_witness` says whether the destination took a batch under these settings.
    pub(super) fn answer(
        &mut self,
        piece: Piece,
        answer: Disposition,
        said: (u16, Vec<u8>),
        is_witness: bool,
    ) -> Vec<Booking> {
        self.size.adapt(piece.events() as usize, &answer);
        match answer {
            Disposition::Ack { rejected, warning } => {
                self.backoff.reset();
                self.next_try = None;
                self.takes = true;
                self.suspicion = self.suspicion.take().filter(|_| !self.pieces.is_empty());
                if let Some(suspicion) = &mut self.suspicion {
                    *suspicion = Suspicion { passed: true, ..Suspicion::default() };
                }
                let now = Some(clock::wall_micros());
                self.word = LastWord { delivery: now, error: warning, next_try: None, held: None };
                let mut bookings = vec![Booking::Delivered { piece, rejected }];
                // Now there is a witness that the settings are right.
                let refused = self.refused.drain(..);
                bookings.extend(refused.map(|(piece, refusal)| Booking::Dead { piece, refusal }));
                return bookings;
            }
            Disposition::Retry { pace: Pace::Ended, .. } => self.pieces.push_front(piece),
            Disposition::Retry { why, after: None, pace: Pace::Failed } => {
                self.word.held = None;
                return self.suspect(piece, why, said, is_witness);
            }
            Disposition::Retry { why, after, pace } => {
                self.pieces.push_front(piece);
                self.word.held = None;
                self.back_off(why, pace, after);
            }
            Disposition::Hold { why } => {
                self.pieces.push_front(piece);
                self.hold(why);
            }
            Disposition::Refuse { events, why } => {
                let (refused, rest) = piece.pick(&events);
                rest.into_iter().for_each(|rest| self.pieces.push_front(rest));
                self.word.error = Some(why.clone());
                let refusal = Refusal { why, status: said.0, answer: said.1 };
                let refused = refused.into_iter().map(|piece| (piece, refusal.clone()));
                if is_witness {
                    return refused.map(|(piece, refusal)| Booking::Dead { piece, refusal }).collect();
                }
                // The others are the witness, once they are taken.
                self.refused.extend(refused);
            }
            Disposition::Split { why, .. } => match piece.split() {
                Ok((left, right)) => {
                    self.pieces.push_front(right);
                    self.pieces.push_front(left);
                    self.word.error = Some(why);
                }
                Err(piece) => return self.refuse_alone(piece, why, said, is_witness),
            },
        }
        Vec::new()
    }

    /// The receiver does not take this event, which stands alone.
    fn refuse_alone(
        &mut self,
        piece: Piece,
        why: String,
        said: (u16, Vec<u8>),
        is_witness: bool,
    ) -> Vec<Booking> {
        let refusal = Refusal { why, status: said.0, answer: said.1 };
        self.word.error = Some(refusal.why.clone());
        if is_witness {
            return vec![Booking::Dead { piece, refusal }];
        }
        self.refused.push((piece, refusal));
        // Poison comes in runs: a witness is looked for where most is left, which is farthest away.
        self.pieces.rotate_right(1.min(self.pieces.len()));
        if self.refused.len() >= REFUSED_ALONE_MAX {
            self.retry_refused();
        }
        Vec::new()
    }

    /// The receiver failed at a piece. That is mostly its own trouble, and waited for; but where a piece fails again
    /// and again while another passes, the cause is in it, and it is divided as if it had been refused.
    fn suspect(&mut self, piece: Piece, why: String, said: (u16, Vec<u8>), is_witness: bool) -> Vec<Booking> {
        let suspicion = self.suspicion.get_or_insert_default();
        suspicion.failures += 1;
        let is_repeated = suspicion.failures >= FAILURES_MAX;
        let (passed, was_at_bottom) = (suspicion.passed, suspicion.is_at_bottom);
        let is_alone = piece.events() == 1;
        if is_alone && passed && is_repeated {
            suspicion.failures = 0;
            return self.refuse_alone(piece, why, said, is_witness);
        }
        suspicion.is_at_bottom |= is_alone && !passed && is_repeated;
        let may_divide = passed || is_repeated && !was_at_bottom;
        match if may_divide { piece.split() } else { Err(piece) } {
            Ok((left, right)) => {
                self.pieces.push_front(right);
                self.pieces.push_front(left);
                if passed {
                    suspicion.failures = 0;
                    self.word.error = Some(why);
                    return Vec::new();
                }
            }
            Err(piece) => self.pieces.push_front(piece),
        }
        if suspicion.is_at_bottom {
            // Whether anything passes shows at another one.
            self.pieces.rotate_left(1);
        }
        // A person who asks for a try is told when it cannot be known whose fault it is.
        match self.flushing.is_some() && !was_at_bottom {
            true => self.word.error = Some(why),
            false => self.back_off(why, Pace::Failed, None),
        }
        Vec::new()
    }

    fn hold(&mut self, why: String) {
        if self.word.held.as_ref() != Some(&why) {
            log::warn!("delivery to {} is held: {why}", self.name);
        }
        self.word.held = Some(why.clone());
        self.back_off(why, Pace::Held, None);
    }

    fn back_off(&mut self, why: String, pace: Pace, after: Option<Duration>) {
        let wait = self.backoff.next(pace, after, clock::random());
        self.next_try = Some(clock::monotonic() + wait);
        self.takes = false;
        self.word.next_try = Some(clock::wall_micros() + wait.as_micros() as u64);
        if let Some(flushing) = &mut self.flushing {
            *flushing = Flushing::Failed(why.clone());
        }
        self.word.error = Some(why);
    }
}

impl Piece {
    pub(super) fn events(&self) -> u64 {
        self.0.iter().map(Lease::count).sum()
    }

    /// Whether something of it is latest-only.
    pub(super) fn has_latest(&self) -> bool {
        self.0.iter().any(Lease::is_latest)
    }

    /// Two halves by number of events; itself when it is one event.
    fn split(self) -> Result<(Piece, Piece), Piece> {
        let half = self.events() / 2;
        match self.take(half.max(1)) {
            (left, Some(right)) => Ok((left, right)),
            (whole, None) => Err(whole),
        }
    }

    /// The first `count` events, and the rest, if there is one.
    pub(super) fn take(self, count: u64) -> (Piece, Option<Piece>) {
        let mut left_over = count;
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for lease in self.0 {
            let (first, second) = split_bits(lease.events, left_over.min(lease.count()) as u32);
            left_over -= u64::from(first.count_ones());
            left.extend((first != 0).then_some(Lease { events: first, ..lease }));
            right.extend((second != 0).then_some(Lease { events: second, ..lease }));
        }
        (Piece(left), (!right.is_empty()).then_some(Piece(right)))
    }

    /// The events at these places, each alone, and the rest, if there is one.
    fn pick(self, places: &[u32]) -> (Vec<Piece>, Option<Piece>) {
        let (mut picked, mut rest) = (Vec::new(), Vec::new());
        let mut place = 0;
        for lease in self.0 {
            let mut left = lease.events;
            for bit in (0..u128::BITS).filter(|bit| lease.events >> bit & 1 == 1) {
                if places.contains(&place) {
                    picked.push(Piece(vec![Lease { events: 1 << bit, ..lease }]));
                    left &= !(1 << bit);
                }
                place += 1;
            }
            rest.extend((left != 0).then_some(Lease { events: left, ..lease }));
        }
        (picked, (!rest.is_empty()).then_some(Piece(rest)))
    }
}

/// The lowest `count` set bits, and the others.
fn split_bits(bits: u128, count: u32) -> (u128, u128) {
    let mut rest = bits;
    for _ in 0..count {
        rest &= rest.wrapping_sub(1);
    }
    (bits & !rest, rest)
}
