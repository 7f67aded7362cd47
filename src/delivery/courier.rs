//! The thread that delivers.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::answer::one_line;
use super::backoff::Pace;
use super::http::{Call, Request, Transport};
use super::wire::{Damage, Manifest, pack};
use super::{Deliver, Disposition, Parcel, Wire, disposition, program};
use crate::clock;
use crate::installation::Identity;
use crate::limits::{CONSENT_GAP, COURIER_END_WAIT, COURIER_JOBS_MAX};
use crate::process;

/// A batch to deliver.
#[derive(Debug)]
pub(crate) struct Job {
    /// The caller's own, for it to know the report by.
    pub(crate) id: u64,
    pub(crate) parcels: Vec<Parcel>,
    /// For the request as a whole.
    pub(crate) timeout: Duration,
    /// The installation whose events they are, where that may have become another one.
    pub(crate) identity: Option<Box<Identity>>,
}

/// Asked right before each request, on the courier's thread, whether it may be made; says why not.
pub(crate) type Permit = Arc<dyn Fn(&Transport, &Call) -> Result<(), String> + Send + Sync>;

/// What became of a job. There is one for each that was taken, unless the courier was dropped before.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) id: u64,
    /// About the events that were sent. Without any it is an ack: nothing is left to be taken.
    pub(crate) disposition: Disposition,
    /// Events in the request.
    pub(crate) events: u64,
    /// Bytes of the request's body on the wire.
    pub(crate) bytes: u64,
    /// Which events are with the receiver, or may be; empty where nothing left this machine.
    pub(crate) manifest: Manifest,
    /// Events that could not be read and so were not sent, whatever the disposition is.
    pub(crate) damaged: Vec<Damage>,
    /// The status and the start of the body, for a dead letter.
    pub(crate) answer: Option<(u16, Vec<u8>)>,
}

/// How a courier delivers.
pub(crate) enum Means {
    /// By HTTP, in this format.
    Http(Wire),
    /// By whatever the program does.
    Program(Arc<dyn Deliver>),
}

impl From<Wire> for Means {
    fn from(wire: Wire) -> Self {
        Self::Http(wire)
    }
}

/// A thread that sends one job after the other to one receiver.
///
/// Dropping it ends the request in flight, which may have arrived: the events go again, with the same ids.
pub(crate) struct Courier {
    /// Gone once the thread is to end.
    jobs: Option<Sender<(Call, Job)>>,
    transport: Arc<Transport>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Courier {
    /// Who delivers by other means has the transport for what `permit` asks. Starts the thread
    /// `milepost-courier-{name}`, of which the system may keep the beginning alone.
    pub(crate) fn spawn(
        name: &str,
        means: impl Into<Means>,
        transport: Transport,
        permit: Permit,
        reports: Sender<Report>,
    ) -> io::Result<Self> {
        let (means, transport) = (means.into(), Arc::new(transport));
        let (jobs, queue) = bounded(COURIER_JOBS_MAX);
        let (alive, ended) = bounded(0);
        let thread = process::spawn(&format!("courier-{name}"), {
            let transport = transport.clone();
            move || {
                let _alive: Sender<()> = alive;
                run(&queue, &reports, |call, job| match &means {
                    Means::Http(wire) => deliver(wire, &transport, &permit, call, job),
                    Means::Program(program) => hand_over(program.as_ref(), &transport, &permit, call, job),
                });
            }
        })?;
        Ok(Self { jobs: Some(jobs), transport, ended, thread: Some(thread) })
    }

    /// Hands over a job, without waiting.
    ///
    /// # Errors
    ///
    /// The job itself, when the courier has enough to do.
    pub(crate) fn send(&self, job: Job) -> Result<(), Job> {
        let Some(jobs) = &self.jobs else { return Err(job) };
        jobs.try_send((self.transport.call(), job)).map_err(|err| err.into_inner().1)
    }

    /// Ends all jobs that were sent so far: each is reported as a retry. Later ones are not touched.
    pub(crate) fn interrupt(&self) {
        self.transport.interrupt();
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.jobs = None;
        self.transport.interrupt();
        // Nothing is ever sent by this channel: an error other than a time-out says that the thread is gone. One
        // that is still resolving or connecting is left to its own time-out; it can send nothing any more.
        let in_time = self.ended.recv_timeout(COURIER_END_WAIT).is_err_and(|err| err.is_disconnected());
        if let Some(thread) = self.thread.take_if(|_| in_time) {
            // Jobs that panic are caught below; what else could panic has nobody left to hear of it.
            let _ = thread.join();
        }
    }
}

/// Does `work` for each job until the other side of either channel is gone.
fn run(jobs: &Receiver<(Call, Job)>, reports: &Sender<Report>, work: impl Fn(&Call, &Job) -> Report) {
    for (call, job) in jobs {
        // A job has no state that a panic could leave half-changed, and the transport's is one pointer.
        let report = catch_unwind(AssertUnwindSafe(|| work(&call, &job)))
            .unwrap_or_else(|panic| panicked(job.id, panic.as_ref()));
        if reports.send(report).is_err() {
            return;
        }
    }
}

fn deliver(wire: &Wire, transport: &Transport, permit: &Permit, call: &Call, job: &Job) -> Report {
    let format = wire.format;
    let encoded = wire.encode(&job.parcels);
    let mut report = Report {
        id: job.id,
        disposition: Disposition::Ack { rejected: 0, warning: None },
        events: encoded.events,
        bytes: 0,
        manifest: Manifest::new(),
        damaged: encoded.damaged,
        answer: None,
    };
    if encoded.events == 0 {
        return report;
    }
    let body = if wire.gzip() { pack(&encoded.body) } else { encoded.body };
    let (permitted_at, has_left) = (Cell::new(clock::monotonic()), Cell::new(false));
    if let Err(why) = permit(transport, call) {
        report.disposition = Disposition::Retry { why, after: None, pace: Pace::Unreachable };
        return report;
    }
    report.bytes = body.len() as u64;
    // As late as can be: a process may be stopped at any time, and for long.
    let may = || {
        let now = clock::monotonic();
        let is_late = now.duration_since(permitted_at.replace(now)) >= CONSENT_GAP;
        let is_theirs = job.identity.clone().is_none_or(|mut identity| identity.holds());
        let may = is_theirs && (!is_late || permit(transport, call).is_ok());
        has_left.set(has_left.get() || may);
        may
    };
    let request = Request {
        body: &body,
        content_type: wire.content_type(),
        gzip: wire.gzip(),
        headers: &encoded.headers,
        timeout: job.timeout,
        may: &may,
    };
    let outcome = transport.post(call, &request);
    report.disposition = within(disposition(format, &outcome), report.events);
    if has_left.get() {
        report.manifest = encoded.manifest;
    }
    report.answer = outcome.ok().map(|answer| (answer.status, answer.excerpt()));
    report
}

/// Has the program deliver, whose events they are that were leased.
fn hand_over(
    program: &dyn Deliver,
    transport: &Transport,
    permit: &Permit,
    call: &Call,
    job: &Job,
) -> Report {
    let may = || {
        permit(transport, call)?;
        let is_theirs = job.identity.clone().is_none_or(|mut identity| identity.holds());
        is_theirs.then_some(()).ok_or_else(|| "somebody said meanwhile that nothing is to be sent".to_owned())
    };
    let mut report = program::deliver(program, may, call, job);
    report.disposition = within(report.disposition, report.events);
    report
}

/// A disposition that speaks of no more events than were sent.
fn within(disposition: Disposition, sent: u64) -> Disposition {
    match disposition {
        Disposition::Ack { rejected, warning } => Disposition::Ack { rejected: rejected.min(sent), warning },
        Disposition::Refuse { mut events, why } => {
            events.retain(|event| u64::from(*event) < sent);
            // It named none that it was sent: one of them is bad all the same.
            if events.is_empty() {
                Disposition::Split { why, is_too_large: false }
            } else {
                Disposition::Refuse { events, why }
            }
        }
        other => other,
    }
}

fn panicked(id: u64, panic: &(dyn Any + Send)) -> Report {
    let disposition = Disposition::Retry {
        why: format!("the courier panicked: {}; please report this", one_line(words_of(panic))),
        after: None,
        pace: Pace::Refused,
    };
    Report {
        id,
        disposition,
        events: 0,
        bytes: 0,
        manifest: Manifest::new(),
        damaged: Vec::new(),
        answer: None,
    }
}

/// What a panic says.
pub(super) fn words_of(panic: &(dyn Any + Send)) -> &str {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    words.or_else(|| panic.downcast_ref().copied()).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use uuid::Uuid;

    use super::*;
    use crate::Event;
    use crate::block::{BlockBuilder, Class, JournalId, Origin};
    use crate::delivery::receiver::{Receiver, Reply};
    use crate::delivery::{Endpoint, Format};
    use crate::product::Network;

    /// Long enough that no test passes because it ran out.
    const LONG: Duration = Duration::from_secs(60);

    fn job(id: u64, events: u32) -> Job {
        let origin = Origin::sample();
        let mut builder = BlockBuilder::new();
        for index in 0..events {
            builder.push(1_795_424_400_000_000, Event::new("e").with("index", index).bytes());
        }
        let mut block = Vec::new();
        builder.seal(JournalId(Uuid::from_u128(7)), 0, Class::Bulk, origin.id(), &mut block);
        let owed = (1 << events) - 1;
        Job {
            id,
            parcels: vec![Parcel { block, owed, origin: Arc::new(origin), journal_events: None }],
            timeout: LONG,
            identity: None,
        }
    }

    fn courier(receiver: &Receiver) -> (Courier, crossbeam_channel::Receiver<Report>) {
        let endpoint = Endpoint::parse(&receiver.url("/v1/logs"), false).unwrap();
        let (reports, incoming) = crossbeam_channel::unbounded();
        let transport = Transport::new(&endpoint, Vec::new(), &Network::new()).unwrap();
        let wire = Wire::new(Format::Otlp, &mut Vec::new(), true);
        (Courier::spawn("default", wire, transport, Arc::new(|_, _| Ok(())), reports).unwrap(), incoming)
    }

    #[test]
    fn each_job_is_reported_as_the_receiver_took_it() {
        let receiver = Receiver::start([
            Reply::ok(""),
            Reply::ok(r#"{"partialSuccess":{"rejectedLogRecords":"99"}}"#),
            Reply::new(500, "", "no room"),
            Reply::new(429, "Retry-After: 5\r\n", ""),
            Reply::new(413, "", ""),
            Reply::new(401, "", ""),
            Reply::new(302, "Location: /login\r\n", ""),
            Reply::new(200, "Content-Type: text/html\r\n", "<html>"),
            Reply::Torn,
            Reply::Close,
        ]);
        let (courier, reports) = courier(&receiver);
        let expected = [
            "Ack { rejected: 0, ",
            "Ack { rejected: 3, ",
            "Retry { why: \"answered 500",
            "Retry { why: \"answered 429\", after: Some(5s)",
            "Split { ",
            "Hold { ",
            "Hold { ",
            "Hold { ",
            "Ack { rejected: 0, ",
            "Retry { why: \"the connection was closed",
        ];
        for (id, expected) in (0..).zip(expected) {
            courier.send(job(id, 3)).unwrap();
            let report = reports.recv_timeout(LONG).unwrap();
            assert_eq!((report.id, report.events), (id, 3));
            let disposition = format!("{:?}", report.disposition);
            assert!(disposition.starts_with(expected), "{id}: {disposition}");
            let requests = receiver.requests();
            assert_eq!(requests[id as usize].body.len() as u64, report.bytes);
            assert_eq!(requests[id as usize].body, requests[0].body, "the same job, the same bytes");
        }
    }

    #[test]
    fn what_may_not_be_sent_is_not_and_it_is_said_why() {
        let receiver = Receiver::start([]);
        let endpoint = Endpoint::parse(&receiver.url("/v1/logs"), false).unwrap();
        let (reports, incoming) = crossbeam_channel::unbounded();
        let transport = Transport::new(&endpoint, Vec::new(), &Network::new()).unwrap();
        let permit: Permit = Arc::new(|_, _| Err("nobody may".into()));
        let wire = Wire::new(Format::Otlp, &mut Vec::new(), true);
        let courier = Courier::spawn("default", wire, transport, permit, reports).unwrap();
        courier.send(job(1, 1)).unwrap();
        let report = incoming.recv_timeout(LONG).unwrap();
        assert!(format!("{:?}", report.disposition).starts_with("Retry { why: \"nobody may\""), "{report:?}");
        // Nor is what belongs to nobody any more, though its head may be on its way.
        let (courier, incoming) = self::courier(&receiver);
        let directory = tempfile::tempdir().unwrap();
        let installation = crate::installation::Installation::new(directory.path().into());
        let identity = Some(Box::new(installation.identity(Some("of before".into()))));
        courier.send(Job { identity, ..job(2, 1) }).unwrap();
        let report = incoming.recv_timeout(LONG).unwrap();
        assert!(format!("{:?}", report.disposition).contains("nothing is to be sent"), "{report:?}");
        assert!(receiver.requests().is_empty());
    }

    #[test]
    fn a_dead_letter_gets_the_status_and_the_start_of_the_body() {
        let receiver = Receiver::start([Reply::new(400, "", "x".repeat(9_999))]);
        let (courier, reports) = courier(&receiver);
        courier.send(job(1, 1)).unwrap();
        let (status, body) = reports.recv_timeout(LONG).unwrap().answer.unwrap();
        assert_eq!((status, body.len()), (400, crate::limits::DEAD_ANSWER_BYTES_MAX));
    }

    #[test]
    fn a_job_of_nothing_readable_sends_nothing() {
        let receiver = Receiver::start([]);
        let (courier, reports) = courier(&receiver);
        let mut job = job(1, 3);
        job.parcels[0].block[70] ^= 1;
        courier.send(job).unwrap();
        let report = reports.recv_timeout(LONG).unwrap();
        assert!(matches!(report.disposition, Disposition::Ack { rejected: 0, .. }));
        assert_eq!(report.damaged, [Damage { parcel: 0, events: 0b111 }]);
        assert!(receiver.requests().is_empty());
    }

    #[test]
    fn an_interrupt_reports_what_was_sent_before_and_spares_what_comes_after() {
        let receiver = Receiver::start([Reply::Never, Reply::ok("")]);
        let (courier, reports) = courier(&receiver);
        courier.send(job(1, 1)).unwrap();
        receiver.wait_for_request();
        courier.send(job(2, 1)).unwrap();
        assert_eq!(courier.send(job(3, 1)).unwrap_err().id, 3, "there is one place to wait in");
        courier.interrupt();
        for id in [1, 2] {
            let report = reports.recv_timeout(LONG).unwrap();
            assert_eq!(report.id, id);
            assert!(format!("{:?}", report.disposition).contains("interrupted"), "{report:?}");
        }
        courier.send(job(4, 1)).unwrap();
        assert!(matches!(reports.recv_timeout(LONG).unwrap().disposition, Disposition::Ack { .. }));
    }

    #[test]
    fn a_dropped_courier_ends_its_request_and_its_thread() {
        let receiver = Receiver::start([Reply::Never]);
        let (courier, reports) = courier(&receiver);
        courier.send(job(1, 1)).unwrap();
        receiver.wait_for_request();
        let start = Instant::now();
        drop(courier);
        assert!(start.elapsed() < LONG / 2);
        assert_eq!(reports.recv_timeout(LONG).unwrap().id, 1);
        assert!(reports.recv_timeout(LONG).unwrap_err().is_disconnected(), "the thread is gone");
    }

    #[test]
    fn a_panic_is_reported_and_the_next_job_is_done() {
        let receiver = Receiver::start([]);
        let endpoint = Endpoint::parse(&receiver.url("/"), false).unwrap();
        let transport = Transport::new(&endpoint, Vec::new(), &Network::new()).unwrap();
        let (jobs, queue) = crossbeam_channel::unbounded();
        let (reports, incoming) = crossbeam_channel::unbounded();
        for id in [1, 2] {
            jobs.send((transport.call(), job(id, 1))).unwrap();
        }
        drop(jobs);
        run(&queue, &reports, |_, job| panic!("number {}", job.id));
        for id in [1, 2] {
            let report = incoming.try_recv().unwrap();
            assert_eq!(report.id, id);
            let Disposition::Retry { why, .. } = report.disposition else { panic!("no retry") };
            assert!(why.contains(&format!("panicked: number {id}")), "{why}");
        }
    }
}
