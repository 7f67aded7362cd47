//! Who events are delivered to, and which event goes to whom.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::{DEFAULT, JOURNALS, LOCAL, Network};
use crate::error::{Error, Result};
use crate::event::is_name;
use crate::limits::DESTINATIONS_MAX;

/// A receiver of a product's events, with its own settings. Each is delivered to by a thread of its own, with its own
/// patience, dead letters and counters, so that one that is down for a month delays no other.
///
/// ```
/// use milepost::{Destination, Product};
/// let product = Product::new("acme-worker", "1.4.0")
///     .destination(Destination::new("usage").endpoint("https://otel.example.com/v1/logs"))
///     .destination(Destination::new("alarms").endpoint("https://alarms.example.com/in").format("webhook"))
///     .route("job_failed", ["usage", "alarms"])
///     .route("*", ["usage"]);
/// ```
///
/// The first destination of a product is the one that [`crate::ClientBuilder::endpoint`], `MILEPOST_ENDPOINT` and
/// `milepost config set endpoint=URL` speak of. Another one without an endpoint is left out, as if it were not there.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    pub(crate) name: String,
    pub(crate) endpoint: Option<String>,
    /// Whether the program delivers to it by its own means.
    pub(crate) is_programs: bool,
    pub(crate) format: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) network: Network,
    pub(crate) events_max: Option<usize>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
}

/// Which event goes to whom: the first route counts whose pattern its name matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteRule {
    /// A name, the start of one and `*`, or `*`.
    pub(crate) events: String,
    /// Names of destinations.
    pub(crate) to: Vec<String>,
}

/// The destinations of a product that there are, and which event goes to which of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Routing {
    /// The first one first.
    names: Vec<String>,
    /// Without any, everybody gets everything.
    rules: Vec<RouteRule>,
}

impl Destination {
    /// A destination of this name, by which `status` and the command line know it, and what waits for it is kept:
    /// with another name it is another destination.
    pub fn new(name: impl Into<String>) -> Self {
        let (endpoint, format, headers, events_max, timeout, max_age) = Default::default();
        Self {
            name: name.into(),
            endpoint,
            is_programs: false,
            format,
            headers,
            network: Network::new(),
            events_max,
            timeout,
            max_age,
        }
    }

    /// Where it is: the whole URL.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// Has the program deliver to it by its own means: see [`crate::ClientBuilder::deliver`]. A process that was not
    /// told how, as the program `milepost`, has it wait for one that was, unless there is an endpoint, too.
    #[must_use]
    pub fn by_program(mut self) -> Self {
        self.is_programs = true;
        self
    }

    /// The word of its format: see [`crate::Format`]. Defaults to `otlp`.
    #[must_use]
    pub fn format(mut self, word: impl Into<String>) -> Self {
        self.format = Some(word.into());
        self
    }

    /// Adds an HTTP header to every request. It is never printed, and [`crate::Product::to_toml`] alone repeats it.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// How it is reached. What is not said here defaults, for the first destination, to what the product says.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Most events that a request has. Defaults to, and is never more than, what its format takes.
    #[must_use]
    pub fn events_max(mut self, events: usize) -> Self {
        self.events_max = Some(events);
        self
    }

    /// How long a request may take as a whole. Defaults to 30 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How old an event may be when it is sent: an older one is dropped, counted as
    /// [`crate::DropReason::TooOld`]. For receivers that refuse old events, or fold repeats only for some days. By
    /// default nothing is too old.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    fn validate(&self) -> Result<()> {
        // Under these names stands in `status` what no destination is owed.
        if !is_name(&self.name) || [LOCAL, JOURNALS].contains(&self.name.as_str()) {
            return Err(Error::invalid(format!("{:?} cannot be a destination's name", self.name)));
        }
        if self.events_max == Some(0) {
            return Err(Error::invalid(format!("the destination {} takes no events at all", self.name)));
        }
        Ok(())
    }
}

impl RouteRule {
    fn takes(&self, event: &str) -> bool {
        match self.events.strip_suffix('*') {
            Some(start) => event.starts_with(start),
            None => self.events == event,
        }
    }

    fn validate(&self, names: &BTreeSet<&str>) -> Result<()> {
        let pattern = self.events.strip_suffix('*').unwrap_or(&self.events);
        if self.events.is_empty() || pattern.contains('*') {
            let form = "a name, the start of one and *, or *";
            return Err(Error::invalid(format!("{:?} is no pattern of a route: {form}", self.events)));
        }
        match self.to.iter().find(|name| !names.contains(name.as_str())) {
            Some(name) => Err(Error::invalid(format!(
                "the route {:?} leads to {name:?}, and there is no such destination",
                self.events
            ))),
            None if self.to.is_empty() => {
                Err(Error::invalid(format!("the route {:?} leads nowhere", self.events)))
            }
            None => Ok(()),
        }
    }
}

/// Checks destinations and routes together.
pub(super) fn validate(destinations: &[Destination], rules: &[RouteRule]) -> Result<()> {
    if destinations.len() > DESTINATIONS_MAX {
        let count = destinations.len();
        return Err(Error::invalid(format!("{count} destinations: there may be {DESTINATIONS_MAX}")));
    }
    let mut names = BTreeSet::new();
    for destination in destinations {
        destination.validate()?;
        if !names.insert(destination.name.as_str()) {
            return Err(Error::invalid(format!("there are two destinations named {:?}", destination.name)));
        }
    }
    if names.is_empty() {
        names.insert(DEFAULT);
    }
    rules.iter().try_for_each(|rule| rule.validate(&names))
}

impl Default for Routing {
    /// One destination, which gets everything.
    fn default() -> Self {
        Self { names: vec![DEFAULT.into()], rules: Vec::new() }
    }
}

impl Routing {
    /// Of these destinations and routes. The first destination is always there, since a person may name its endpoint at
    /// any time; of the others those that have one. A route that leads to nobody then is passed over.
    pub(super) fn of(destinations: &[Destination], rules: &[RouteRule]) -> Self {
        let is_there = |(place, destination): &(usize, &Destination)| {
            *place == 0 || destination.endpoint.is_some() || destination.is_programs
        };
        let names: Vec<String> =
            destinations.iter().enumerate().filter(is_there).map(|(_, found)| found.name.clone()).collect();
        if names.is_empty() {
            return Self { rules: rules.to_vec(), ..Self::default() };
        }
        let mut rules = rules.to_vec();
        rules.iter_mut().for_each(|rule| rule.to.retain(|name| names.contains(name)));
        rules.retain(|rule| !rule.to.is_empty());
        Self { names, rules }
    }

    /// The destinations, the first one first.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether every destination gets every event, so that no name has to be looked at.
    pub(crate) fn is_plain(&self) -> bool {
        self.rules.is_empty()
    }

    /// Who gets events of this name; nobody where there are routes and none of them takes it.
    pub(crate) fn of_event(&self, event: &str) -> &[String] {
        if self.is_plain() {
            return &self.names;
        }
        self.rules.iter().find(|rule| rule.takes(event)).map_or(&[], |rule| &rule.to)
    }
}

/// Never a header's value, nor the query of a URL, which is where receivers expect keys.
impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.as_deref().map(|url| url.split(['?', '#']).next().unwrap_or_default());
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Destination")
            .field("name", &self.name)
            .field("endpoint", &endpoint)
            .field("format", &self.format)
            .field("headers", &headers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(name: &str) -> Destination {
        Destination::new(name).endpoint("http://127.0.0.1/")
    }

    fn rule(events: &str, to: &[&str]) -> RouteRule {
        RouteRule { events: events.into(), to: to.iter().map(|name| (*name).into()).collect() }
    }

    #[test]
    fn the_first_route_that_takes_a_name_counts() {
        let all = [there("a"), there("b"), there("c")];
        let rules = [rule("job_failed", &["b", "a"]), rule("job_*", &["a"]), rule("*", &["c"])];
        validate(&all, &rules).unwrap();
        let routing = Routing::of(&all, &rules);
        for (event, to) in [
            ("job_failed", vec!["b", "a"]),
            ("job_failed_twice", vec!["a"]),
            ("job_", vec!["a"]),
            ("job", vec!["c"]),
        ] {
            assert_eq!(routing.of_event(event), to, "{event}");
        }
        let routing = Routing::of(&all, &rules[..2]);
        assert_eq!(routing.of_event("other"), [""; 0], "nobody wants it");
        assert_eq!(
            Routing::of(&all, &[]).of_event("other"),
            ["a", "b", "c"],
            "without routes everybody does"
        );
        assert_eq!(Routing::default().of_event("other"), [DEFAULT]);
    }

    #[test]
    fn one_without_an_endpoint_is_not_there_unless_it_is_the_first() {
        let all = [Destination::new("default"), Destination::new("beats")];
        let rules = [rule("heartbeat", &["beats"]), rule("*", &["default"])];
        assert_eq!(Routing::of(&all, &rules).of_event("heartbeat"), ["default"]);
        assert_eq!(Routing::of(&all, &[]).of_event("heartbeat"), ["default"]);
        let all = [Destination::new("default"), there("beats")];
        assert_eq!(Routing::of(&all, &rules).of_event("heartbeat"), ["beats"]);
        assert_eq!(Routing::of(&all, &rules).of_event("first_job"), ["default"]);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let says = |destinations: &[Destination], rules: &[RouteRule], words: &str| {
            let error = validate(destinations, rules).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        says(&[there("a b")], &[], "\"a b\"");
        says(&[there("local")], &[], "\"local\"");
        says(&[there("a"), there("a")], &[], "two destinations named \"a\"");
        says(&[there("a").events_max(0)], &[], "takes no events");
        says(&[there("a")], &[rule("*", &["b"])], "no such destination");
        says(&[there("a")], &[rule("*", &[])], "leads nowhere");
        says(&[there("a")], &[rule("a*b", &["a"])], "no pattern");
        let many: Vec<_> = (0..=DESTINATIONS_MAX).map(|number| there(&format!("d{number}"))).collect();
        says(&many, &[], "there may be");
        validate(&[], &[rule("*", &["default"])]).unwrap();
    }

    #[test]
    fn no_key_is_printed() {
        let destination = there("a").header("Authorization", "sesame").endpoint("https://h/in?key=sesame");
        let printed = format!("{destination:?}");
        assert!(!printed.contains("sesame") && printed.contains("Authorization"), "{printed}");
    }
}
