//! What came back, or why nothing did.

use std::any::Any;
use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;
use thiserror::Error;

use crate::limits::{DEAD_ANSWER_BYTES_MAX, SAID_CHARS_MAX};

/// What the receiver said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// As it was sent, parameters included.
    pub(crate) content_type: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    /// Where a redirect points.
    pub(crate) location: Option<String>,
    /// What the receiver's clock said, in seconds since the Unix epoch.
    pub(crate) date: Option<i64>,
    /// The first [`crate::limits::ANSWER_BYTES_MAX`] bytes; cut short where the connection was.
    pub(crate) body: Vec<u8>,
}

/// Why there was no answer. The events may have arrived all the same: that is what their ids are for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum NoAnswer {
    #[error("the connection was refused: nothing listens at this host and port; is the receiver running?")]
    Refused,
    #[error("there is no way to the host: is this machine online?")]
    NoRoute,
    #[error("the host's name could not be resolved: is it spelled right, and is this machine online?")]
    NoSuchHost,
    #[error("{0} took too long: is the receiver overloaded, or does a firewall drop what is sent?")]
    TimedOut(&'static str),
    #[error("the connection was closed before an answer came: does this port speak HTTP?")]
    Closed,
    #[error(
        "what answered does not speak HTTP ({0}): does the endpoint name the receiver's port, and does that want https?"
    )]
    NotHttp(String),
    #[error(
        "no secure connection ({0}): does the port speak TLS, is the certificate valid and known here (ca_file), is \
         this clock right?"
    )]
    Tls(String),
    #[error(
        "the proxy did not connect ({0}): look at the setting proxy, or at HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY"
    )]
    Proxy(String),
    #[error("the request was interrupted from this side")]
    Interrupted,
    /// What nobody expects.
    #[error("{0}")]
    Other(String),
}

impl Answer {
    /// The type alone, in lower case: `text/html` of `Text/HTML; charset=utf-8`.
    pub(crate) fn media_type(&self) -> Option<String> {
        let media_type = self.content_type.as_deref()?.split(';').next()?.trim();
        (!media_type.is_empty()).then(|| media_type.to_ascii_lowercase())
    }

    /// As much of the body as a dead letter keeps.
    pub(crate) fn excerpt(&self) -> Vec<u8> {
        self.body[..self.body.len().min(DEAD_ANSWER_BYTES_MAX)].to_vec()
    }
}

/// Reads a `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
///
/// A date is compared with the answer's own `Date`, so that a wrong clock on either side does no harm; `now`,
/// in microseconds since the Unix epoch, stands in for one that is missing. A date that has passed is zero.
pub(super) fn retry_after(value: &str, date: Option<&str>, now: u64) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(value)?;
    let from = date.and_then(http_date).unwrap_or((now / 1_000_000) as i64);
    Some(Duration::from_secs(u64::try_from(until.saturating_sub(from)).unwrap_or(0)))
}

/// Seconds since the Unix epoch of `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn http_date(text: &str) -> Option<i64> {
    let time = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text.trim()).ok()?;
    Some(time.as_second())
}

/// What a receiver wrote, made fit for one line on a terminal: it may be anything.
pub(super) fn one_line(text: &str) -> String {
    let tame = |char: char| if char.is_control() { ' ' } else { char };
    let mut line: String = text.trim().chars().map(tame).take(SAID_CHARS_MAX).collect();
    line.truncate(line.trim_end().len());
    line
}

/// What a panic says.
pub(super) fn words_of(panic: &(dyn Any + Send)) -> &str {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    words.or_else(|| panic.downcast_ref().copied()).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_after_is_read_in_both_forms() {
        let now = 784_111_777_000_000; // Sun, 06 Nov 1994 08:49:37 GMT
        let date = Some("Sun, 06 Nov 1994 08:49:30 GMT");
        let cases = [
            ("120", None, Some(120)),
            (" 0 ", None, Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", None, Some(60)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", date, Some(67)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some("nonsense"), Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", date, Some(0)),
            ("-5", None, None),
            ("1.5", None, None),
            ("soon", date, None),
            ("", None, None),
        ];
        for (value, date, seconds) in cases {
            assert_eq!(retry_after(value, date, now), seconds.map(Duration::from_secs), "{value:?} {date:?}");
        }
    }

    #[test]
    fn what_a_receiver_wrote_stays_one_short_line() {
        assert_eq!(one_line(" two\nlines \u{1b}[31m "), "two lines  [31m");
        assert_eq!(one_line(&"é".repeat(9_999)).chars().count(), SAID_CHARS_MAX);
    }

    #[test]
    fn a_media_type_loses_its_parameters() {
        let media_type =
            |text: &str| Answer { content_type: Some(text.into()), ..Answer::default() }.media_type();
        assert_eq!(media_type("Text/HTML; charset=utf-8").as_deref(), Some("text/html"));
        assert_eq!(media_type(" ; charset=utf-8"), None);
    }
}
