//! A server's heartbeat: what it says of itself every ten minutes.

use std::time::Duration;

use super::Product;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::limits::{HEARTBEAT_EVERY, HEARTBEAT_EVERY_MIN};

/// The event of a server's heartbeat.
pub(crate) const HEARTBEAT: &str = "heartbeat";

/// The keys that only whoever may touch files can fill in: the session is the installation's.
pub(crate) const SESSION_ID: &str = "session_id";
pub(crate) const SESSION_START: &str = "session_start_timestamp";

/// The environment that a server runs in where nobody said another.
const PRODUCTION: &str = "production";

/// What a server says of itself. See [`crate::Client::heartbeat`].
///
/// ```
/// use milepost::ServerInfo;
/// let server = ServerInfo::new("0.8.4").ephemeral(true).implementation("CPython");
/// assert_eq!(server.every.as_secs(), 600);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// The version of its API: `api_version`.
    pub api_version: String,
    /// Whether it lives only as long as what needs it: `ephemeral_server`. Defaults to no.
    pub ephemeral: bool,
    /// The runtime's implementation, `CPython`: for Prefect `python_implementation`. Left out where it is empty,
    /// as by default.
    pub implementation: String,
    /// How long from one heartbeat to the next. Defaults to 600 s, as Prefect's server does; a second at least.
    pub every: Duration,
}

/// What a product's heartbeats say beside what the server says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Pulse {
    implementation_key: String,
    environment: String,
}

impl ServerInfo {
    /// A server with this version of its API.
    pub fn new(api_version: impl Into<String>) -> Self {
        Self {
            api_version: api_version.into(),
            ephemeral: false,
            implementation: String::new(),
            every: HEARTBEAT_EVERY,
        }
    }

    /// Whether it lives only as long as what needs it.
    #[must_use]
    pub fn ephemeral(mut self, ephemeral: bool) -> Self {
        self.ephemeral = ephemeral;
        self
    }

    /// The runtime's implementation.
    #[must_use]
    pub fn implementation(mut self, name: impl Into<String>) -> Self {
        self.implementation = name.into();
        self
    }

    /// How long from one heartbeat to the next.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }
}

impl Product {
    /// The keys of a heartbeat, but for what each event says anyway.
    pub(super) fn heartbeat_keys(&self) -> [String; 6] {
        let implementation = self.implementation_key();
        let others = ["environment", "ephemeral_server", "api_version", SESSION_ID, SESSION_START];
        let [environment, ephemeral, api, session, start] = others.map(String::from);
        [implementation, environment, ephemeral, api, session, start]
    }

    fn implementation_key(&self) -> String {
        let runtime = if self.runtime.is_empty() { "runtime" } else { &self.runtime };
        format!("{runtime}_implementation")
    }

    /// What heartbeats say here. Reads the environment. `None` where the product declares none.
    pub(crate) fn pulse(&self) -> Option<Pulse> {
        let said = self.environment_env.as_ref().and_then(|name| std::env::var(name).ok());
        self.declared.has(HEARTBEAT).then(|| Pulse {
            implementation_key: self.implementation_key(),
            environment: said.filter(|value| !value.is_empty()).unwrap_or_else(|| PRODUCTION.into()),
        })
    }
}

impl Pulse {
    /// A heartbeat, but for its session.
    ///
    /// # Errors
    ///
    /// Where the server says what no event can hold, or would say it too often.
    pub(crate) fn event(&self, server: &ServerInfo) -> Result<Event> {
        if server.every < HEARTBEAT_EVERY_MIN {
            let every = server.every;
            return Err(Error::invalid(format!(
                "a heartbeat every {every:?}: {HEARTBEAT_EVERY_MIN:?} is the least"
            )));
        }
        let mut event = Event::new(HEARTBEAT);
        if !server.implementation.is_empty() {
            event = event.with(&self.implementation_key, &server.implementation);
        }
        let event = event
            .with("environment", &self.environment)
            .with("ephemeral_server", server.ephemeral)
            .with("api_version", &server.api_version);
        match event.broken_limit() {
            Some(limit) => Err(Error::invalid(format!("no heartbeat can say this: {limit}"))),
            None => Ok(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::Declared;

    #[test]
    fn a_heartbeat_has_the_keys_that_prefect_declares() {
        let product = Product::prefect("3.8.8");
        let Declared::Only { events, .. } = &product.declared else { panic!("prefect declares its events") };
        let keys = events[HEARTBEAT].iter().map(String::as_str).collect::<Vec<_>>();
        let expected = [
            "api_version",
            "environment",
            "ephemeral_server",
            "python_implementation",
            "session_id",
            "session_start_timestamp",
        ];
        assert_eq!(keys, expected);
        assert_eq!(product.environment_env.as_deref(), Some("PREFECT_API_TELEMETRY_ENVIRONMENT"));
    }

    #[test]
    fn what_cannot_be_a_heartbeat_is_named() {
        assert!(Product::new("acme", "1").event("job_finished", ["rows"]).pulse().is_none());
        let pulse = Product::new("acme", "1").pulse().unwrap();
        let server = ServerInfo::new("0.8.4");
        assert!(pulse.event(&server).is_ok());
        let often = pulse.event(&server.clone().every(Duration::from_millis(999))).unwrap_err();
        assert!(often.to_string().contains("999ms"), "{often}");
        let long = pulse.event(&ServerInfo::new("x".repeat(1_025))).unwrap_err();
        assert!(long.to_string().contains("1 KiB"), "{long}");
    }
}
