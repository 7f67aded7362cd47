//! Destinations that a program delivers to by its own means.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::answer::{one_line, words_of};
use super::backoff::Pace;
use super::http::Call;
use super::wire::{self, Readout};
use super::{Disposition, Format, Parcel};
use crate::block::{Class, Origin};
use crate::clock;
use crate::event::Value;

/// Delivers events by a program's own means: its HTTP client, a broker, a file. It is told to a client by
/// [`crate::ClientBuilder::deliver`], for a destination of the product that is [`crate::Destination::by_program`].
///
/// It is called on a thread of that destination's own, one batch after the other, so it may be slow. What
/// was not acked is sent again, after a wait that grows, and so is a batch whose process died before the ack was booked:
/// events have ids by which a repeat is known. A panic is caught, and means [`Delivery::Retry`]. What
/// is enqueued from here is refused, since each event would cause the next.
///
/// ```
/// use milepost::{Batch, Deliver, Delivery};
///
/// struct Printer;
///
/// impl Deliver for Printer {
///     fn deliver(&self, batch: &Batch<'_>) -> Delivery {
///         for event in batch.events() {
///             println!("{} {}", event.id, event.name);
///         }
///         Delivery::Ack
///     }
/// }
/// ```
pub trait Deliver: Send + Sync {
    /// Delivers all events of a batch, or says why not.
    fn deliver(&self, batch: &Batch<'_>) -> Delivery;
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// All of it is where it was to go, and is not sent again: it is deleted here.
    Ack,
    /// It may be taken later. There is no last try.
    Retry {
        /// What `status` says.
        why: String,
    },
    /// It is not taken as it is: half of it may pass. One event alone that is not taken is a dead letter, once
    /// another batch was taken.
    Split {
        /// What `status` says.
        why: String,
    },
    /// Nothing was taken, and these events, by their places in [`Batch::events`], never will be: they are dead letters,
    /// once another batch was taken. The others are sent again.
    Refuse {
        /// Their places, from zero.
        events: Vec<u32>,
        /// What `status` and the dead letters say.
        why: String,
    },
    /// Nothing will be taken before somebody changes a setting. It is tried again now and then.
    Hold {
        /// What `status` says: what is to be done.
        why: String,
    },
}

/// Events that are to be delivered together.
pub struct Batch<'a> {
    parcels: &'a [Parcel],
    events: Vec<BatchEvent>,
    call: &'a Call,
    deadline: Instant,
}

/// An event that is to be delivered.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BatchEvent {
    /// The id by which a repeat is known: a UUID.
    pub id: String,
    /// The journal that it was written to first: a UUID.
    pub journal: String,
    /// Its place there. With the journal it is unique for ever, and a gap is an event that went another way.
    pub index: u32,
    /// How many events the journal held in all, where that is known.
    pub journal_events: Option<u32>,
    /// Its name.
    pub name: String,
    /// When it was enqueued, to the microsecond.
    pub time: SystemTime,
    /// Whether it is a milestone, which there is once an installation.
    pub is_milestone: bool,
    /// What it says.
    pub properties: Vec<(String, Value<'static>)>,
    /// Whose it is.
    pub origin: Arc<EventOrigin>,
}

/// Whose an event is: what was true where it was enqueued, whoever delivers it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventOrigin {
    /// The installation's id.
    pub device_id: String,
    /// The product.
    pub product: String,
    /// Its version.
    pub product_version: String,
    /// What it runs on; empty where it runs on nothing.
    pub runtime: String,
    /// The version of that.
    pub runtime_version: String,
    /// The platform, as `uname` says it.
    pub platform: String,
    /// The machine's architecture, as `uname` says it.
    pub architecture: String,
    /// Whether the host lives no longer than what runs on it.
    pub ephemeral: bool,
    /// Whether it is a container.
    pub container: bool,
    /// The version of milepost that wrote it.
    pub library: String,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        parcels: &'a [Parcel],
        events: Vec<BatchEvent>,
        call: &'a Call,
        timeout: Duration,
    ) -> Self {
        Self { parcels, events, call, deadline: clock::monotonic() + timeout }
    }

    /// The events, in the order in which they are to be delivered.
    pub fn events(&self) -> &[BatchEvent] {
        &self.events
    }

    /// The body of a request with these events in a format, before gzip: for a program with its own HTTP client. A
    /// [`Format::Webhook`] has room for one event alone.
    pub fn body(&self, format: Format) -> Vec<u8> {
        format.encode(self.parcels).body
    }

    /// Whether the process ends, or another one needs the spool: what is not acked now is delivered by somebody else.
    /// One who does not look is waited for a moment; then the batch is sent again elsewhere, whatever becomes of it here.
    pub fn is_interrupted(&self) -> bool {
        self.call.is_interrupted()
    }

    /// How long a request of milepost's own would have now. Nobody ends one that takes longer.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(clock::monotonic())
    }
}

/// Names the size, never the events: these belong to a person.
impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("events", &self.events.len()).finish_non_exhaustive()
    }
}

/// Has the program deliver a batch.
pub(super) fn deliver(program: &dyn Deliver, batch: &Batch<'_>) -> Disposition {
    // Whatever a panic leaves half-changed is the program's own.
    let delivery = catch_unwind(AssertUnwindSafe(|| program.deliver(batch))).unwrap_or_else(|panic| {
        Delivery::Retry { why: format!("the program panicked: {}", words_of(panic.as_ref())) }
    });
    delivery.into()
}

/// The events of these parcels, and what of them cannot be read.
pub(super) fn read(parcels: &[Parcel]) -> (Vec<BatchEvent>, Readout) {
    let mut events = Vec::new();
    let mut last: Option<(Arc<Origin>, Arc<EventOrigin>)> = None;
    let readout = wire::read(parcels, |owed| {
        let known = last.take().filter(|(origin, _)| Arc::ptr_eq(origin, owed.origin));
        let (origin, shown) =
            known.unwrap_or_else(|| (owed.origin.clone(), Arc::new(EventOrigin::of(owed.origin))));
        let property = |(key, value): &(&str, Value<'_>)| ((*key).to_owned(), value.clone().into_owned());
        events.push(BatchEvent {
            id: owed.id.to_string(),
            journal: owed.address.journal.0.to_string(),
            index: owed.address.index,
            journal_events: owed.journal_events,
            name: owed.name.to_owned(),
            time: SystemTime::UNIX_EPOCH + Duration::from_micros(owed.time),
            is_milestone: owed.class == Class::Milestone,
            properties: owed.properties.iter().map(property).collect(),
            origin: shown.clone(),
        });
        last = Some((origin, shown));
    });
    (events, readout)
}

impl EventOrigin {
    fn of(origin: &Origin) -> Self {
        let origin = origin.clone();
        Self {
            device_id: origin.device_id,
            product: origin.product,
            product_version: origin.product_version,
            runtime: origin.runtime,
            runtime_version: origin.runtime_version,
            platform: origin.platform,
            architecture: origin.architecture,
            ephemeral: origin.ephemeral,
            container: origin.container,
            library: origin.library,
        }
    }
}

impl From<Delivery> for Disposition {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Ack => Self::Ack { rejected: 0, warning: None },
            Delivery::Retry { why } => Self::Retry { why: one_line(&why), after: None, pace: Pace::Refused },
            Delivery::Split { why } => Self::Split { why: one_line(&why), is_too_large: false },
            Delivery::Refuse { events, why } => Self::Refuse { events, why: one_line(&why) },
            Delivery::Hold { why } => Self::Hold { why: one_line(&why) },
        }
    }
}
