//! What receivers of OTLP answer: `ExportLogsServiceResponse` for a batch that they took, `google.rpc.Status`
//! for one that they did not, each in protobuf or JSON.
//!
//! ```json
//! {"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too old"}}
//! {"code":7,"message":"the key may not write"}
//! ```

use prost::Message;
use serde_json::Value;

use crate::delivery::Answer;
use crate::delivery::answer::one_line;
use crate::delivery::wire::Verdict;

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_log_records: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
}

/// How a body is written.
enum Kind {
    Empty,
    Protobuf,
    Json,
    /// What servers that know nothing of OTLP write.
    Text,
    Foreign,
}

/// What a receiver says about a batch that it took; nothing when the answer cannot be that of a receiver.
///
/// `partialSuccess` may be absent, null or empty, and so may the whole body. One that is cut short or makes no
/// sense is none: the status has said what counts.
pub(in crate::delivery::wire) fn verdict(answer: &Answer) -> Option<Verdict> {
    if answer.status == 204 {
        return Some(Verdict::default());
    }
    let partial = match kind(answer) {
        Kind::Empty => PartialSuccess::default(),
        Kind::Protobuf => Response::decode(&answer.body[..])
            .ok()
            .and_then(|response| response.partial_success)
            .unwrap_or_default(),
        Kind::Json => serde_json::from_slice(&answer.body).map(partial_success).unwrap_or_default(),
        Kind::Text | Kind::Foreign => return None,
    };
    Some(Verdict {
        rejected: u64::try_from(partial.rejected_log_records).unwrap_or(0),
        message: some_line(&partial.error_message),
    })
}

/// Why a receiver did not take a batch, in its own words.
pub(in crate::delivery::wire) fn complaint(answer: &Answer) -> Option<String> {
    match kind(answer) {
        Kind::Protobuf => some_line(&Status::decode(&answer.body[..]).ok()?.message),
        Kind::Json => {
            let status: Value = serde_json::from_slice(&answer.body).ok()?;
            let words = ["message", "error", "detail"].iter().find_map(|key| status.get(key)?.as_str());
            some_line(words?)
        }
        Kind::Text => some_line(&String::from_utf8_lossy(&answer.body)),
        Kind::Empty | Kind::Foreign => None,
    }
}

/// Told by the media type; without one, by the first byte.
fn kind(answer: &Answer) -> Kind {
    let media_type = answer.media_type();
    match media_type.as_deref() {
        // Even without a body: this is a login page's or a proxy's, and a cut connection may have lost it.
        Some("text/html" | "application/xhtml+xml") => Kind::Foreign,
        _ if answer.body.is_empty() => Kind::Empty,
        Some("application/x-protobuf" | "application/protobuf" | "application/vnd.google.protobuf") => {
            Kind::Protobuf
        }
        Some("application/json") => Kind::Json,
        Some(other) if other.ends_with("+json") => Kind::Json,
        Some("text/plain") => Kind::Text,
        Some(_) => Kind::Foreign,
        None => match answer.body[0] {
            b'{' => Kind::Json,
            // The tag of `partial_success`.
            0x0a => Kind::Protobuf,
            _ => Kind::Foreign,
        },
    }
}

/// By hand, since what receivers write here varies: numbers for strings, null for nothing.
fn partial_success(response: Value) -> PartialSuccess {
    let partial = &response["partialSuccess"];
    let rejected = &partial["rejectedLogRecords"];
    PartialSuccess {
        rejected_log_records: rejected.as_i64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or(0),
        error_message: partial["errorMessage"].as_str().unwrap_or_default().to_owned(),
    }
}

fn some_line(text: &str) -> Option<String> {
    Some(one_line(text)).filter(|line| !line.is_empty())
}
