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

/// The product's server, whose settings count for this process: it is asked before the first request and every hour.
///
/// Its refusal is final for this process, which asks nobody any more: whoever is refused uses no network, Prefect's own
/// process keeps to one answer, and a later process asks anew.
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
            |why: &str| Err(format!("{} did not say whether anything may be sent: {why}", shown(&self.url)));
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
                let why = format!("{} says {} = false", shown(&self.url), self.setting);
                watch.object(why.clone());
                Err(why)
            }
            None => unclear(&format!("there is no {} in its answer", self.setting)),
        }
    }
}

/// A URL without what may be somebody's key: user, password and query.
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}/{path}")
}

/// The boolean at `a.b.c` of a JSON object.
fn setting_in(body: &[u8], setting: &str) -> Option<bool> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    value.pointer(&format!("/{}", setting.replace('.', "/")))?.as_bool()
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;
    use crate::clock::fast;
    use crate::delivery::receiver::{Receiver, Reply};
    use crate::{Client, Event, Format, Product};

    #[test]
    fn only_a_boolean_in_its_place_counts() {
        let said = |body: &str| setting_in(body.as_bytes(), "server.analytics_enabled");
        assert_eq!(said(r#"{"server": {"analytics_enabled": true}}"#), Some(true));
        assert_eq!(said(r#"{"server": {"analytics_enabled": false, "x": 1}}"#), Some(false));
        for none in ["", "[]", "{}", r#"{"server": true}"#, r#"{"server": {"analytics_enabled": "false"}}"#] {
            assert_eq!(said(none), None, "{none}");
        }
    }

    #[test]
    fn a_servers_url_is_shown_without_user_password_or_query() {
        for url in [
            "http://me:secret@10.0.0.1:4200/api/settings?key=secret",
            "http://secret@10.0.0.1:4200/api/settings#secret",
        ] {
            assert_eq!(shown(url), "http://10.0.0.1:4200/api/settings");
        }
    }

    /// How many times as fast the clock of a process goes whose server says something else an hour later.
    const SPEED: u32 = 1_440;

    const A_DAY: Duration = Duration::from_secs(24 * 3_600);

    fn says(yes: bool) -> Reply {
        Reply::ok(&format!(r#"{{"server": {{"telemetry": {yes}}}}}"#))
    }

    /// Delivers an event, and tries another an hour later. Then the server is well again.
    #[test]
    #[ignore = "a process that other tests start"]
    fn worker() {
        let variable = |name| std::env::var(name).ok();
        let Some(home) = variable("WORKER_HOME") else { return };
        fast::run(SPEED);
        let product = Product::new("acme", "1").setting("server.telemetry").server("ACME_URL", "settings");
        let builder = Client::builder(product).home(home).endpoint(variable("WORKER_ENDPOINT").unwrap());
        let client = builder.format(Format::Webhook).build().unwrap();
        let an_hour_passes = || std::thread::sleep(clock::wait(SERVER_ASK_EVERY));
        client.enqueue(Event::new("first"));
        assert_eq!(client.flush(A_DAY).unwrap().delivered, 1);
        an_hour_passes();
        client.enqueue(Event::new("second"));
        match variable("WORKER_REFUSED") {
            None => {
                let report = client.flush(A_DAY).unwrap();
                assert!(report.delivered == 0 && client.is_collecting(), "{report:?}");
                // Its owner tries again by itself, and may be first.
                assert_eq!(client.flush(A_DAY).unwrap().waiting, 0);
            }
            Some(_) => {
                assert!(
                    client.flush(A_DAY).is_err_and(|error| error.is_refused()) || !client.is_collecting()
                );
                assert!(client.reason().contains("server.telemetry = false"), "{}", client.reason());
                an_hour_passes();
                assert!(client.flush(A_DAY).unwrap_err().is_refused());
                assert!(client.try_enqueue(Event::new("third")).is_err());
            }
        }
        client.shutdown(A_DAY).unwrap();
    }

    /// Whom a worker asked, and what it sent.
    fn an_hour_later(second_answer: Reply, is_refused: bool) -> Vec<String> {
        let home = tempfile::tempdir().unwrap();
        let taken = || Reply::new(204, "", "");
        let receiver = Receiver::start([says(true), taken(), second_answer, says(true), taken()]);
        let done = Command::new(std::env::current_exe().unwrap())
            .args(["owner::permit::tests::worker", "--exact", "--ignored", "--nocapture"])
            .env_clear()
            .env("WORKER_HOME", home.path())
            .env("WORKER_ENDPOINT", receiver.url("/hook"))
            .env("ACME_URL", receiver.url("/api"))
            .envs(is_refused.then_some(("WORKER_REFUSED", "1")))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && said.contains("1 passed"), "{said}");
        let line = |head: &str| head.split(" HTTP").next().unwrap_or_default().to_owned();
        receiver.requests().iter().map(|request| line(&request.head)).collect()
    }

    const ASKED: &str = "GET /api/settings";

    const SENT: &str = "POST /hook";

    #[test]
    fn a_server_that_says_no_an_hour_later_silences_the_process_for_good() {
        assert_eq!(an_hour_later(says(false), true), [ASKED, SENT, ASKED]);
    }

    #[test]
    fn a_server_that_does_not_answer_an_hour_later_is_asked_again_and_what_waits_waits() {
        assert_eq!(an_hour_later(Reply::new(500, "", ""), false), [ASKED, SENT, ASKED, ASKED, SENT]);
    }
}
