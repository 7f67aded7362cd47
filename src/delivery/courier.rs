//! The threads that deliver.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::answer::{one_line, words_of};
use super::backoff::Pace;
use super::http::{Call, Request, Transport};
use super::program::{self, Batch, BatchEvent};
use super::wire::{Damage, Encoded, Manifest, Readout, pack};
use super::{Deliver, Disposition, Parcel, Wire, disposition};
use crate::clock;
use crate::installation::Identity;
use crate::limits::{CONSENT_GAP, COURIER_END_WAIT, COURIER_JOBS_MAX, DEAD_ANSWER_BYTES_MAX};
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

/// What became of a job. There is one for each that was to be sent, unless the courier was dropped before.
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

impl Report {
    /// Of a job of which nothing is left to be taken.
    fn new(id: u64, events: u64, damaged: Vec<Damage>) -> Self {
        let disposition = Disposition::Ack { rejected: 0, warning: None };
        Self { id, disposition, events, bytes: 0, manifest: Manifest::new(), damaged, answer: None }
    }
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

/// Sends one job after the other to one receiver, and prepares the next one meanwhile: the line is not idle while a
/// body is written.
///
/// Dropping it ends the request in flight, which may have arrived: the events go again, with the same ids.
pub(crate) struct Courier {
    /// Gone once the threads are to end.
    tasks: Option<Sender<Task>>,
    transport: Arc<Transport>,
    /// Closed when the threads have ended.
    ended: Receiver<()>,
    threads: Vec<JoinHandle<()>>,
}

/// Has a job sent that a courier prepares. Dropped it has the courier forget the job, which nobody hears of any more.
#[derive(Debug)]
pub(crate) struct Go(Sender<()>);

struct Task {
    call: Call,
    job: Job,
    go: Receiver<()>,
}

/// What of a job is done before the receiver is needed.
struct Prepared<T> {
    content: T,
    events: u64,
    damaged: Vec<Damage>,
    manifest: Manifest,
}

impl Go {
    pub(crate) fn send(self) {
        // Whoever dropped the courier wants nothing sent.
        let _ = self.0.send(());
    }
}

impl Courier {
    /// Who delivers by other means has the transport for what `permit` asks. Starts threads
    /// `milepost-courier-{name}`, of which the system may keep the beginning alone: as many as jobs that one has at
    /// once, but a single one for a program, which is promised that.
    pub(crate) fn spawn(
        name: &str,
        means: impl Into<Means>,
        transport: Transport,
        permit: Permit,
        reports: Sender<Report>,
    ) -> io::Result<Self> {
        let (means, transport) = (Arc::new(means.into()), Arc::new(transport));
        let (tasks, queue) = bounded(COURIER_JOBS_MAX);
        let (alive, ended) = bounded(0);
        let count = if matches!(*means, Means::Http(_)) { COURIER_JOBS_MAX } else { 1 };
        let start = |_| {
            let (means, transport, permit) = (means.clone(), transport.clone(), permit.clone());
            let (queue, reports, alive) = (queue.clone(), reports.clone(), alive.clone());
            process::spawn(&format!("courier-{name}"), move || {
                let _alive: Sender<()> = alive;
                match &*means {
                    Means::Http(wire) => run(
                        &queue,
                        &reports,
                        |job| encode(wire, job),
                        |call, job, encoded| post(wire, &transport, &permit, call, job, encoded),
                    ),
                    Means::Program(program) => run(
                        &queue,
                        &reports,
                        |job| read(job),
                        |call, job, events| {
                            hand_over(program.as_ref(), &transport, &permit, call, job, events)
                        },
                    ),
                }
            })
        };
        let threads = (0..count).map(start).collect::<io::Result<_>>()?;
        Ok(Self { tasks: Some(tasks), transport, ended, threads })
    }

    /// Hands over a job to be prepared, without waiting, and to be sent when it is told so: after the report of the one
    /// before.
    ///
    /// # Errors
    ///
    /// The job itself, when the courier has enough to do.
    pub(crate) fn prepare(&self, job: Job) -> Result<Go, Job> {
        let Some(tasks) = &self.tasks else { return Err(job) };
        let (sender, go) = bounded(1);
        let task = Task { call: self.transport.call(), job, go };
        tasks.try_send(task).map_err(|err| err.into_inner().job)?;
        Ok(Go(sender))
    }

    /// Ends all jobs that were handed over so far: each that is to be sent is reported as a retry. Later ones are not
    /// touched.
    pub(crate) fn interrupt(&self) {
        self.transport.interrupt();
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.tasks = None;
        self.transport.interrupt();
        // Nothing is ever sent by this channel: an error other than a time-out says that the thread is gone. One
        // that is still resolving or connecting is left to its own time-out; it can send nothing any more.
        let in_time = self.ended.recv_timeout(COURIER_END_WAIT).is_err_and(|err| err.is_disconnected());
        for thread in self.threads.drain(..).filter(|_| in_time) {
            // Jobs that panic are caught below; what else could panic has nobody left to hear of it.
            let _ = thread.join();
        }
    }
}

/// Prepares each job, and sends it when it is told so, until the other side of either channel is gone.
fn run<T>(
    tasks: &Receiver<Task>,
    reports: &Sender<Report>,
    prepare: impl Fn(&mut Job) -> Prepared<T>,
    send: impl Fn(&Call, &Job, Prepared<T>) -> Report,
) {
    for Task { call, mut job, go } in tasks {
        // A job has no state that a panic could leave half-changed, and the transport's is one pointer.
        let prepared = catch_unwind(AssertUnwindSafe(|| prepare(&mut job)));
        if go.recv().is_err() {
            continue;
        }
        let send = |prepared| catch_unwind(AssertUnwindSafe(|| send(&call, &job, prepared)));
        let report = prepared.and_then(send).unwrap_or_else(|panic| panicked(job.id, panic.as_ref()));
        if reports.send(report).is_err() {
            return;
        }
    }
}

/// Writes the body of a request. The blocks are not needed any more.
fn encode(wire: &Wire, job: &mut Job) -> Prepared<Encoded> {
    let mut content = wire.encode(&mem::take(&mut job.parcels));
    if wire.gzip() {
        content.body = pack(&content.body);
    }
    let (damaged, manifest) = (mem::take(&mut content.damaged), mem::take(&mut content.manifest));
    Prepared { events: content.events, damaged, manifest, content }
}

fn post(
    wire: &Wire,
    transport: &Transport,
    permit: &Permit,
    call: &Call,
    job: &Job,
    prepared: Prepared<Encoded>,
) -> Report {
    let mut report = Report::new(job.id, prepared.events, prepared.damaged);
    if report.events == 0 {
        return report;
    }
    let (permitted_at, has_left) = (Cell::new(clock::monotonic()), Cell::new(false));
    if let Err(why) = permit(transport, call) {
        report.disposition = Disposition::Retry { why, after: None, pace: Pace::Unreachable };
        return report;
    }
    let body = &prepared.content.body;
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
        body,
        content_type: wire.content_type(),
        gzip: wire.gzip(),
        headers: &prepared.content.headers,
        timeout: job.timeout,
        may: &may,
    };
    let outcome = transport.post(call, &request);
    report.disposition = within(disposition(wire.format, &outcome), report.events);
    if has_left.get() {
        report.manifest = prepared.manifest;
    }
    report.answer = outcome.ok().map(|answer| (answer.status, answer.excerpt()));
    report
}

/// Reads the events for a program, whose is what they are made of, too.
fn read(job: &Job) -> Prepared<Vec<BatchEvent>> {
    let (content, Readout { events, damaged, manifest }) = program::read(&job.parcels);
    Prepared { content, events, damaged, manifest }
}

/// Has the program deliver, whose events they are that were leased.
fn hand_over(
    program: &dyn Deliver,
    transport: &Transport,
    permit: &Permit,
    call: &Call,
    job: &Job,
    prepared: Prepared<Vec<BatchEvent>>,
) -> Report {
    let mut report = Report::new(job.id, prepared.events, prepared.damaged);
    if report.events == 0 {
        return report;
    }
    let is_theirs = || job.identity.clone().is_none_or(|mut identity| identity.holds());
    let no = || Err("somebody said meanwhile that nothing is to be sent".to_owned());
    if let Err(why) = permit(transport, call).and_then(|()| if is_theirs() { Ok(()) } else { no() }) {
        report.disposition = Disposition::Retry { why, after: None, pace: Pace::Unreachable };
        return report;
    }
    let batch = Batch::new(&job.parcels, prepared.content, call, job.timeout);
    let disposition = program::deliver(program, &batch);
    let mut answer = disposition.why().unwrap_or_default().as_bytes().to_vec();
    answer.truncate(DEAD_ANSWER_BYTES_MAX);
    report.disposition = within(disposition, report.events);
    report.manifest = prepared.manifest;
    report.answer = Some((0, answer));
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
    Report { disposition, ..Report::new(id, 0, Vec::new()) }
}

#[cfg(test)]
mod tests;
