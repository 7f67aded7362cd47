//! Whether a request may be made: asked right before each, on the thread that makes it.
//!
//! Between the look of whoever leased a batch and its first byte the process may have been stopped for a day.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::clock;
use crate::consent::Watch;
use crate::delivery::{Call, Permit, Transport};
use crate::limits::{SERVER_ANSWER_WAIT, SERVER_ASK_EVERY};
use crate::product::Mode;

/// Makes a permit from what holds in this process.
pub(super) fn of(watch: Arc<Watch>) -> Permit {
    let server = watch.sources().server().map(|url| Server {
        url: url.to_owned(),
        setting: watch.sources().setting().to_owned(),
        asked_at: Mutex::new(None),
    });
    Arc::new(move |transport, call| {
        let state = watch.look_closely();
        if !state.is_yes() || state.mode != Mode::On {
            return Err(watch.consent().reason);
        }
        match &server {
            Some(server) => server.ask(&watch, transport, call),
            None => Ok(()),
        }
    })
}

/// The product's server, whose settings count for this process.
struct Server {
    url: String,
    /// The setting in its answer, in parts.
    setting: String,
    /// When it last agreed.
    asked_at: Mutex<Option<Instant>>,
}

impl Server {
    /// Asks the server, unless it agreed within the last hour.
    fn ask(&self, watch: &Watch, transport: &Transport, call: &Call) -> Result<(), String> {
        let mut asked_at = self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::monotonic();
        if asked_at.is_some_and(|at| now.duration_since(at) < SERVER_ASK_EVERY) {
            return Ok(());
        }
        *asked_at = None;
        let unclear =
            |why: &str| Err(format!("{} did not say whether anything may be sent: {why}", self.url));
        let answer = match transport.ask(call, &self.url, SERVER_ANSWER_WAIT) {
            Ok(answer) => answer,
            Err(error) => return unclear(&error.to_string()),
        };
        if answer.status != 200 {
            return unclear(&format!("it answered {}", answer.status));
        }
        match setting_in(&answer.body, &self.setting) {
            Some(true) => {
                *asked_at = Some(now);
                Ok(())
            }
            Some(false) => {
                let why = format!("{} says {} = false", self.url, self.setting);
                watch.object(why.clone());
                Err(why)
            }
            None => unclear(&format!("there is no {} in its answer", self.setting)),
        }
    }
}

/// The boolean at `a.b.c` of a JSON object.
fn setting_in(body: &[u8], setting: &str) -> Option<bool> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    value.pointer(&format!("/{}", setting.replace('.', "/")))?.as_bool()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_boolean_in_its_place_counts() {
        let said = |body: &str| setting_in(body.as_bytes(), "server.analytics_enabled");
        assert_eq!(said(r#"{"server": {"analytics_enabled": true}}"#), Some(true));
        assert_eq!(said(r#"{"server": {"analytics_enabled": false, "x": 1}}"#), Some(false));
        for none in ["", "[]", "{}", r#"{"server": true}"#, r#"{"server": {"analytics_enabled": "false"}}"#] {
            assert_eq!(said(none), None, "{none}");
        }
    }
}
