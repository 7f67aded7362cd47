//! Whether a receiver can be reached, and what it says: each step with its time, and what to do where it fails.

use std::fmt::Write;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::answer::{Answer, NoAnswer};
use super::http::{Request, Stage, Stages};
use super::{Disposition, Endpoint, Transport, Wire, disposition};
use crate::clock;
use crate::limits::{CLOCK_SKEW_MAX, REQUEST_TIMEOUT};

/// What came of [`crate::Admin::check`] for one receiver. As JSON it is what `milepost check --json` prints.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Checked {
    /// Its name among the product's destinations.
    pub destination: String,
    /// Where to, without a query.
    pub endpoint: String,
    /// Whether every step went well.
    pub ok: bool,
    /// The steps in their order, up to the first that failed.
    pub steps: Vec<CheckStep>,
}

/// One step on the way to a receiver.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CheckStep {
    /// `name`, `connection`, `tls`, `answer` or `clock`.
    pub step: &'static str,
    /// Whether it went well.
    pub ok: bool,
    /// How long it took.
    pub milliseconds: f64,
    /// What came of it; where it failed, what to do.
    pub said: String,
}

/// Goes the whole way to a receiver, with a batch that has no events.
pub(crate) fn check(name: &str, endpoint: &Endpoint, transport: &Transport, wire: &Wire) -> Checked {
    let empty = wire.encode(&[]);
    let request = Request {
        body: &empty.body,
        content_type: wire.content_type(),
        gzip: false,
        headers: &empty.headers,
        timeout: REQUEST_TIMEOUT,
        may: &|| true,
    };
    let began = clock::monotonic();
    let (stages, outcome) = transport.probe(wire.format.has_empty_batch().then_some(&request));
    let mut way = Way { began, steps: Vec::new() };
    way.go(&stages, endpoint.is_secure(), outcome, wire);
    Checked {
        destination: name.into(),
        endpoint: endpoint.to_string(),
        ok: way.steps.iter().all(|step| step.ok),
        steps: way.steps,
    }
}

struct Way {
    /// When the step began that is next.
    began: Instant,
    steps: Vec<CheckStep>,
}

impl Way {
    fn go(&mut self, stages: &Stages, is_secure: bool, outcome: Result<Answer, NoAnswer>, wire: &Wire) {
        let all = [("name", Stage::Resolved), ("connection", Stage::Connected), ("tls", Stage::Secured)];
        for (step, stage) in all {
            if stage == Stage::Secured && !is_secure {
                continue;
            }
            let over = stages.over.iter().find(|(over, _)| *over == stage);
            match (over, &outcome) {
                (Some((_, at)), _) => self.step(step, true, *at, done(stage, stages)),
                (None, Err(why)) => return self.step(step, false, clock::monotonic(), why.to_string()),
                // By a proxy the name is its business.
                (None, Ok(_)) => {}
            }
        }
        let now = clock::monotonic();
        match outcome {
            Ok(answer) => {
                let (ok, said) = judged(&answer, wire);
                self.step("answer", ok, now, said);
                self.clock(&answer, now);
            }
            Err(why) => self.step("answer", false, now, why.to_string()),
        }
    }

    fn step(&mut self, step: &'static str, ok: bool, at: Instant, said: String) {
        let took = at.saturating_duration_since(self.began);
        self.began = at;
        let milliseconds = (took.as_secs_f64() * 1e6).round() / 1e3;
        self.steps.push(CheckStep { step, ok, milliseconds, said });
    }

    fn clock(&mut self, answer: &Answer, now: Instant) {
        let Some(date) = answer.date else {
            return self.step("clock", true, now, "the answer has no Date to compare it with".into());
        };
        let here = (clock::wall_micros() / 1_000_000) as i64;
        let skew = Duration::from_secs(here.abs_diff(date));
        let way = if here > date { "ahead of" } else { "behind" };
        let (ok, said) = match skew.as_secs() {
            // A Date has whole seconds, and was written a moment ago.
            0..=1 => (true, "as the receiver's".into()),
            seconds if skew <= CLOCK_SKEW_MAX => (true, format!("{seconds} s {way} the receiver's")),
            seconds => {
                let advice = "one of the two is wrong: events carry this one's time, so set it by NTP";
                (false, format!("{seconds} s {way} the receiver's: {advice}"))
            }
        };
        self.step("clock", ok, now, said);
    }
}

/// What came of a stage that is over.
fn done(stage: Stage, stages: &Stages) -> String {
    match stage {
        Stage::Resolved => {
            let mut said = String::new();
            for (number, address) in stages.addresses.iter().enumerate() {
                // Writing into a String cannot fail.
                let _ = write!(said, "{}{}", if number > 0 { ", " } else { "" }, address.ip());
            }
            said
        }
        Stage::Connected => "stands".into(),
        Stage::Secured => "the certificate is valid for this host".into(),
    }
}

/// What the answer to no events says about one to events.
fn judged(answer: &Answer, wire: &Wire) -> (bool, String) {
    if !wire.format.has_empty_batch() {
        let said =
            format!("answered {} to HEAD; {} has no request without events", answer.status, wire.format);
        return (true, said);
    }
    match disposition(wire.format, &Ok(answer.clone())) {
        Disposition::Ack { .. } => (true, format!("answered {} to a batch without events", answer.status)),
        Disposition::Split { why, .. } | Disposition::Refuse { why, .. } => {
            (true, format!("{why}, which it may do to a batch without events"))
        }
        Disposition::Retry { why, .. } => (false, format!("{why}: it would be tried again later")),
        Disposition::Hold { why } => (false, why),
    }
}
