//! What an attempt means. The only place that knows statuses.

use std::time::Duration;

use super::answer::{Answer, NoAnswer, one_line};
use super::backoff::Pace;
use super::wire::Objection;
use super::{Disposition, Format};
use crate::limits::RETRY_AFTER_MAX;

const KEY_ADVICE: &str = "set the header that carries the key: api-key";

/// What became of a batch in `format`, told from the answer or its absence alone.
///
/// | what came | what it means |
/// | --- | --- |
/// | 2xx of the receiver's own kind | ack |
/// | nothing; 408, 425, 429, 5xx | retry; but for 502, 503 and 504 and without a `Retry-After` an event may be the cause |
/// | 400, 413, 422 | split |
/// | 400 that names bad events, where the format has words for it | refuse these |
/// | 401, 403, 404, 415 and every other 4xx, a redirect, any other 2xx | hold |
///
/// Only an ack and a split can cost an event. So whatever is not known for certain is a hold: a wrong key or
/// URL must not cost data that took a month to collect.
pub(crate) fn disposition(format: Format, outcome: &Result<Answer, NoAnswer>) -> Disposition {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(none) => {
            let pace = match none {
                NoAnswer::TimedOut(_) => Pace::Slow,
                NoAnswer::Interrupted => Pace::Ended,
                _ => Pace::Unreachable,
            };
            return Disposition::Retry { why: none.to_string(), after: None, pace };
        }
    };
    match answer.status {
        200..=299 => success(format, answer),
        408 | 425 | 429 | 502..=504 => {
            Disposition::Retry { why: said(format, answer), after: wait(format, answer), pace: Pace::Refused }
        }
        500..=599 => {
            Disposition::Retry { why: said(format, answer), after: wait(format, answer), pace: Pace::Failed }
        }
        400 => match format.objection(answer) {
            Some(Objection::Events(events)) => Disposition::Refuse { events, why: said(format, answer) },
            Some(Objection::Key) => {
                Disposition::Hold { why: format!("{}: {KEY_ADVICE}", said(format, answer)) }
            }
            None => Disposition::Split { why: said(format, answer), is_too_large: false },
        },
        413 | 422 => Disposition::Split { why: said(format, answer), is_too_large: answer.status == 413 },
        _ => Disposition::Hold { why: format!("{}: {}", said(format, answer), advice(answer)) },
    }
}

/// What the receiver asks for, within reason.
fn wait(format: Format, answer: &Answer) -> Option<Duration> {
    let throttled = if answer.status == 429 { format.throttled() } else { None };
    answer.retry_after.or(throttled).map(|after| after.min(RETRY_AFTER_MAX))
}

fn success(format: Format, answer: &Answer) -> Disposition {
    if let Some(verdict) = format.verdict(answer) {
        return Disposition::Ack { rejected: verdict.rejected, warning: verdict.message };
    }
    let kind = answer.media_type().unwrap_or_else(|| "something unknown".to_owned());
    Disposition::Hold {
        why: format!(
            "answered {} with {}, which is not what a receiver of {format} answers: does the endpoint have the \
             right path, and does no login page or proxy stand before it?",
            answer.status,
            one_line(&kind)
        ),
    }
}

/// The status, and the receiver's own words where it had some.
fn said(format: Format, answer: &Answer) -> String {
    match format.complaint(answer) {
        Some(complaint) => format!("answered {} ({complaint})", answer.status),
        None => format!("answered {}", answer.status),
    }
}

fn advice(answer: &Answer) -> String {
    match answer.status {
        300..=399 => {
            // A query may hold a session or a key.
            let to = answer.location.as_deref().map(|to| one_line(to.split(['?', '#']).next().unwrap_or(to)));
            let to = to.filter(|to| !to.is_empty()).unwrap_or_else(|| "nowhere".to_owned());
            return format!(
                "it points to {to}, and no redirect is followed; set the endpoint itself to the right URL"
            );
        }
        401 => "set the header that carries the key, usually Authorization",
        403 => "the key is known and may not write here; ask for one that may",
        404 | 405 | 410 => "look at the endpoint's path, for OTLP usually /v1/logs",
        406 | 415 => "choose another format, or look at the endpoint's path",
        407 => "the proxy wants a user and password; put them into its URL in HTTPS_PROXY",
        _ => "look at the endpoint, its headers and the format",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, content_type: &str, body: impl AsRef<[u8]>) -> Answer {
        let content_type = (!content_type.is_empty()).then(|| content_type.to_owned());
        Answer { status, content_type, body: body.as_ref().to_vec(), ..Answer::default() }
    }

    fn of(answer: Answer) -> Disposition {
        disposition(Format::Otlp, &Ok(answer))
    }

    fn word(disposition: &Disposition) -> &'static str {
        match disposition {
            Disposition::Ack { .. } => "ack",
            Disposition::Retry { .. } => "retry",
            Disposition::Split { .. } => "split",
            Disposition::Refuse { .. } => "refuse",
            Disposition::Hold { .. } => "hold",
        }
    }

    #[test]
    fn every_status_has_its_disposition() {
        for status in 100..=999 {
            let expected = match status {
                200..=299 => "ack",
                400 | 413 | 422 => "split",
                408 | 425 | 429 | 500..=599 => "retry",
                _ => "hold",
            };
            assert_eq!(word(&of(answer(status, "application/json", "{}"))), expected, "{status}");
        }
    }

    #[test]
    fn a_success_counts_only_when_it_is_the_receivers_own() {
        let json = "application/json; charset=utf-8";
        let proto = "application/x-protobuf";
        let cases: &[(u16, &str, &[u8], &str)] = &[
            (200, "", b"", "ack"),
            (200, proto, b"", "ack"),
            (200, "application/octet-stream", b"", "ack"),
            (200, "text/plain", b"", "ack"),
            (204, "text/html", b"", "ack"),
            (202, json, b"{}", "ack"),
            (200, json, br#"{"partialSuccess":null}"#, "ack"),
            (200, json, br#"{"partialSuc"#, "ack"),
            (200, "application/vnd.api+json", b"{}", "ack"),
            (200, "", b"{}", "ack"),
            (200, "", b"\x0a\x00", "ack"),
            (200, "text/html", b"", "hold"),
            (200, "Text/HTML; charset=utf-8", b"<html>", "hold"),
            (200, "", b"<html>", "hold"),
            (200, "", b"OK", "hold"),
            (200, "text/plain", b"OK", "hold"),
        ];
        for (status, content_type, body, expected) in cases {
            let disposition = of(answer(*status, content_type, body));
            assert_eq!(word(&disposition), *expected, "{status} {content_type} {disposition:?}");
        }
    }

    #[test]
    fn a_partial_success_is_an_ack_that_says_how_much_was_rejected() {
        let ack = |rejected, warning: Option<&str>| Disposition::Ack {
            rejected,
            warning: warning.map(str::to_owned),
        };
        let json = |body| of(answer(200, "application/json", body));
        assert_eq!(
            json(r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too old"}}"#),
            ack(3, Some("too old"))
        );
        assert_eq!(json(r#"{"partialSuccess":{"rejectedLogRecords":3}}"#), ack(3, None));
        assert_eq!(json(r#"{"partialSuccess":{"errorMessage":"be quick"}}"#), ack(0, Some("be quick")));
        assert_eq!(json(r#"{"partialSuccess":{"rejectedLogRecords":-1,"errorMessage":""}}"#), ack(0, None));
        assert_eq!(of(answer(200, "application/x-protobuf", b"\x0a\x04\x08\x03\x12\x00")), ack(3, None));
    }

    #[test]
    fn amplitude_names_bad_events_and_bad_keys() {
        let of = |status, body: &str| {
            disposition(Format::Amplitude, &Ok(answer(status, "application/json", body)))
        };
        let bad = r#"{"code":400,"error":"Request has invalid fields","events_with_invalid_fields":{"time":[4,1]},
            "events_with_missing_fields":{"event_type":[2]},"silenced_events":[1,7],"eps_threshold":0}"#;
        let why = "answered 400 (Request has invalid fields)".to_owned();
        assert_eq!(of(400, bad), Disposition::Refuse { events: vec![1, 2, 4, 7], why });
        for key in [
            r#"{"code":400,"error":"Invalid API key: K"}"#,
            r#"{"code":400,"error":"Request missing required field","missing_field":"api_key"}"#,
        ] {
            assert_eq!(word(&of(400, key)), "hold", "{key}");
        }
        for other in [r#"{"code":400,"error":"Invalid request"}"#, r#"{"silenced_events":[]}"#, "", "<html>"]
        {
            assert_eq!(word(&of(400, other)), "split", "{other}");
        }
        assert_eq!(word(&of(200, r#"{"code":200,"events_ingested":2}"#)), "ack");
        let Disposition::Retry { after, .. } = of(429, r#"{"code":429,"throttled_events":[0]}"#) else {
            panic!("no retry")
        };
        assert_eq!(after, Some(Duration::from_secs(30)));
    }

    #[test]
    fn a_login_page_is_no_receiver_of_any_format() {
        for format in Format::ALL {
            let of = |status, content_type, body: &str| {
                word(&disposition(format, &Ok(answer(status, content_type, body))))
            };
            assert_eq!(of(200, "text/html", "<html>"), "hold", "{format}");
            assert_eq!(of(200, "", "<html>"), "hold", "{format}");
            assert_eq!(of(204, "", ""), "ack", "{format}");
            assert_eq!(of(200, "application/json", "{}"), "ack", "{format}");
        }
        // Receivers of lines answer whatever they like.
        assert_eq!(word(&disposition(Format::Ndjson, &Ok(answer(200, "text/plain", "ok")))), "ack");
        assert_eq!(word(&disposition(Format::PrefectEvents, &Ok(answer(200, "text/plain", "ok")))), "hold");
    }

    #[test]
    fn receivers_of_all_kinds_are_quoted() {
        let why = |format, content_type, body: &str| match disposition(
            format,
            &Ok(answer(422, content_type, body)),
        ) {
            Disposition::Split { why, .. } => why,
            other => panic!("{other:?}"),
        };
        let json = "application/json";
        let cases = [
            (
                Format::PrefectEvents,
                json,
                r#"{"detail":[{"loc":["body",0],"msg":"not a UUID"}]}"#,
                "(not a UUID)",
            ),
            (Format::Webhook, json, r#"{"error":{"message":"no"}}"#, "(no)"),
            (Format::CloudEvents, json, r#"{"title":"bad"}"#, "(bad)"),
            (Format::Ndjson, "text/plain; charset=UTF-8", "Code: 26,\n e", "(Code: 26,  e)"),
            (Format::Ndjson, "text/html", "<p>", "answered 422"),
        ];
        for (format, content_type, body, words) in cases {
            let why = why(format, content_type, body);
            assert!(why.ends_with(words), "{why}");
        }
    }

    #[test]
    fn no_answer_is_tried_again_and_says_what_to_look_at() {
        let outcome = Err(NoAnswer::Refused);
        let Disposition::Retry { why, after: None, pace: Pace::Unreachable } =
            disposition(Format::Otlp, &outcome)
        else {
            panic!("no retry")
        };
        assert!(why.contains("nothing listens"), "{why}");
    }

    #[test]
    fn a_retry_waits_as_long_as_was_asked_for_within_reason() {
        for (asked, kept) in
            [(None, None), (Some(30), Some(30)), (Some(u64::MAX), Some(RETRY_AFTER_MAX.as_secs()))]
        {
            let answer = Answer { retry_after: asked.map(Duration::from_secs), ..answer(429, "", "") };
            let Disposition::Retry { after, pace: Pace::Refused, .. } = of(answer) else {
                panic!("no retry")
            };
            assert_eq!(after, kept.map(Duration::from_secs));
        }
    }

    #[test]
    fn reasons_carry_the_receivers_words_and_what_to_do() {
        let status = b"\x08\x10\x12\x07bad key";
        let cases = [
            (answer(401, "application/x-protobuf", status), "answered 401 (bad key): set the header"),
            (answer(403, "application/json", r#"{"code":7,"message":"no"}"#), "answered 403 (no): the key"),
            (answer(400, "text/plain; charset=utf-8", "bad\nbody"), "answered 400 (bad body)"),
            (answer(404, "text/html", "<h1>Not Found"), "answered 404: look at the endpoint's path"),
            (answer(415, "", ""), "choose another format"),
            (answer(407, "", ""), "HTTPS_PROXY"),
            (answer(200, "text/html", "<html>"), "answered 200 with text/html"),
            (answer(304, "", ""), "points to nowhere"),
            (
                Answer {
                    location: Some("https://login.example.com/?t=s3cret".into()),
                    ..answer(302, "", "")
                },
                "points to https://login.example.com/, and",
            ),
        ];
        for (answer, words) in cases {
            let status = answer.status;
            let disposition = of(answer);
            let (Disposition::Hold { why } | Disposition::Split { why, .. }) = &disposition else {
                panic!("{status}: {disposition:?}")
            };
            assert!(why.contains(words), "{why}");
            assert!(!why.contains("s3cret"), "{why}");
        }
    }
}
