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

impl Courier {
    /// Has a job prepared, and sent at once.
    fn deliver(&self, job: Job) -> Result<(), Job> {
        self.prepare(job).map(Go::send)
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
        courier.deliver(job(id, 3)).unwrap();
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
    courier.deliver(job(1, 1)).unwrap();
    let report = incoming.recv_timeout(LONG).unwrap();
    assert!(format!("{:?}", report.disposition).starts_with("Retry { why: \"nobody may\""), "{report:?}");
    // Nor is what belongs to nobody any more, though its head may be on its way.
    let (courier, incoming) = self::courier(&receiver);
    let directory = tempfile::tempdir().unwrap();
    let installation = crate::installation::Installation::new(directory.path().into());
    let identity = Some(Box::new(installation.identity(Some("of before".into()))));
    courier.deliver(Job { identity, ..job(2, 1) }).unwrap();
    let report = incoming.recv_timeout(LONG).unwrap();
    assert!(format!("{:?}", report.disposition).contains("nothing is to be sent"), "{report:?}");
    assert!(receiver.requests().is_empty());
}

#[test]
fn a_dead_letter_gets_the_status_and_the_start_of_the_body() {
    let receiver = Receiver::start([Reply::new(400, "", "x".repeat(9_999))]);
    let (courier, reports) = courier(&receiver);
    courier.deliver(job(1, 1)).unwrap();
    let (status, body) = reports.recv_timeout(LONG).unwrap().answer.unwrap();
    assert_eq!((status, body.len()), (400, crate::limits::DEAD_ANSWER_BYTES_MAX));
}

#[test]
fn a_job_of_nothing_readable_sends_nothing() {
    let receiver = Receiver::start([]);
    let (courier, reports) = courier(&receiver);
    let mut job = job(1, 3);
    job.parcels[0].block[70] ^= 1;
    courier.deliver(job).unwrap();
    let report = reports.recv_timeout(LONG).unwrap();
    assert!(matches!(report.disposition, Disposition::Ack { rejected: 0, .. }));
    assert_eq!(report.damaged, [Damage { parcel: 0, events: 0b111 }]);
    assert!(receiver.requests().is_empty());
}

#[test]
fn an_interrupt_reports_what_was_sent_before_and_spares_what_comes_after() {
    let receiver = Receiver::start([Reply::Never, Reply::ok("")]);
    let (courier, reports) = courier(&receiver);
    courier.deliver(job(1, 1)).unwrap();
    receiver.wait_for_request();
    let go = courier.prepare(job(2, 1)).unwrap();
    courier.interrupt();
    go.send();
    let interrupted = [1, 2].map(|_| reports.recv_timeout(LONG).unwrap());
    for report in &interrupted {
        assert!(format!("{:?}", report.disposition).contains("interrupted"), "{report:?}");
    }
    assert_eq!(interrupted.iter().map(|report| report.id).sum::<u64>(), 1 + 2);
    assert_eq!(receiver.requests().len(), 1);
    courier.deliver(job(3, 1)).unwrap();
    assert!(matches!(reports.recv_timeout(LONG).unwrap().disposition, Disposition::Ack { .. }));
}

#[test]
fn what_is_prepared_waits_for_its_word_and_goes_by_the_same_connection() {
    let receiver = Receiver::start([Reply::ok(""), Reply::ok("")]);
    let (courier, reports) = courier(&receiver);
    let (first, forgotten) = (courier.prepare(job(1, 1)).unwrap(), courier.prepare(job(2, 1)).unwrap());
    first.send();
    assert_eq!(reports.recv_timeout(LONG).unwrap().id, 1);
    drop(forgotten);
    courier.deliver(job(3, 2)).unwrap();
    assert_eq!(reports.recv_timeout(LONG).unwrap().id, 3, "nobody hears of what was forgotten");
    let requests = receiver.requests();
    assert_eq!(requests.iter().map(|request| request.connection).collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn a_courier_has_no_more_jobs_than_it_has_room_for() {
    let receiver = Receiver::start([]);
    let (courier, _reports) = courier(&receiver);
    let mut taken = Vec::new();
    while let Ok(go) = courier.prepare(job(1, 1)) {
        taken.push(go);
    }
    assert!((COURIER_JOBS_MAX..=2 * COURIER_JOBS_MAX).contains(&taken.len()), "{}", taken.len());
    drop(taken);
    drop(courier);
    assert!(receiver.requests().is_empty());
}

#[test]
fn a_dropped_courier_ends_its_request_and_its_thread() {
    let receiver = Receiver::start([Reply::Never]);
    let (courier, reports) = courier(&receiver);
    courier.deliver(job(1, 1)).unwrap();
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
    let (tasks, queue) = crossbeam_channel::unbounded();
    let (reports, incoming) = crossbeam_channel::unbounded();
    for id in [1, 2, 3] {
        let (sender, go) = bounded(1);
        // The last one is forgotten.
        (id < 3).then(|| sender.send(()).unwrap());
        tasks.send(Task { call: transport.call(), job: job(id, 1), go }).unwrap();
    }
    drop(tasks);
    let prepare = |job: &mut Job| match job.id {
        2 => Prepared { content: job.id, events: 1, damaged: Vec::new(), manifest: Manifest::new() },
        id => panic!("number {id}"),
    };
    run(&queue, &reports, prepare, |_, _, prepared| panic!("number {}", prepared.content));
    drop(reports);
    for id in [1, 2] {
        let report = incoming.try_recv().unwrap();
        assert_eq!(report.id, id);
        let Disposition::Retry { why, .. } = report.disposition else { panic!("no retry") };
        assert!(why.contains(&format!("panicked: number {id}")), "{why}");
    }
    assert!(incoming.try_recv().is_err(), "nobody hears of what was forgotten");
}
