//! What receivers answer that have no format of their own for it.

use serde_json::Value;

use super::Verdict;
use crate::delivery::Answer;
use crate::delivery::answer::one_line;

/// A 2xx is the receiver's, whatever it says, unless a person was meant to read it: that is a login page's or a
/// proxy's.
pub(super) fn verdict(answer: &Answer) -> Option<Verdict> {
    let begins_page = answer.body.trim_ascii_start().starts_with(b"<");
    let is_page = match answer.media_type().as_deref() {
        Some("text/html" | "application/xhtml+xml") => answer.status != 204,
        Some("text/plain") | None => begins_page,
        Some(_) => false,
    };
    (!is_page).then(Verdict::default)
}

/// The same where the receiver answers in JSON or not at all.
pub(super) fn verdict_in_json(answer: &Answer) -> Option<Verdict> {
    let is_json = match answer.media_type().as_deref() {
        _ if answer.status == 204 || answer.body.is_empty() => return verdict(answer),
        Some(media_type) => media_type == "application/json" || media_type.ends_with("+json"),
        None => matches!(answer.body.trim_ascii_start().first(), Some(b'{' | b'[')),
    };
    is_json.then(Verdict::default)
}

/// Why a receiver did not take a batch, in its own words: a text, or a member of an object that says it.
pub(super) fn complaint(answer: &Answer) -> Option<String> {
    let words = match serde_json::from_slice(&answer.body) {
        Ok(Value::Object(said)) => {
            let keys = ["error", "message", "detail", "exception_message", "title"];
            keys.iter().find_map(|key| words(said.get(*key)?))?
        }
        _ if answer.media_type().as_deref() == Some("text/plain") => {
            String::from_utf8_lossy(&answer.body).into_owned()
        }
        _ => return None,
    };
    Some(one_line(&words)).filter(|line| !line.is_empty())
}

/// A text, or the first of a list of objections, as FastAPI has them.
fn words(said: &Value) -> Option<String> {
    match said {
        Value::String(words) => Some(words.clone()),
        Value::Array(list) => Some(list.first()?.get("msg")?.as_str()?.to_owned()),
        Value::Object(said) => Some(said.get("message")?.as_str()?.to_owned()),
        _ => None,
    }
}
