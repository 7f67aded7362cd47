//! Where the events of each destination go.
//!
//! Of the first destination, most often the only one, flag or builder say it, then `MILEPOST_ENDPOINT`,
//! `MILEPOST_FORMAT` and `MILEPOST_HEADERS`, then `settings.toml`, then the product; of the others the product alone.

use std::time::Duration;

use uuid::Uuid;

use super::headers;
use super::settings::Choices;
use crate::consent::{FileSettings, Watch};
use crate::delivery::{Endpoint, Format, Permit, Transport, Wire};
use crate::error::{Error, ErrorKind, Result};
use crate::product::{Destination, Product, Routing};

/// Which event goes to whom, and by what way.
#[derive(Clone)]
pub(crate) struct Ways {
    pub(crate) routing: Routing,
    /// The destinations that can be delivered to from here.
    pub(crate) routes: Vec<Route>,
}

/// Where the events of a destination go.
#[derive(Clone)]
pub(crate) struct Route {
    /// The destination's name.
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) format: Format,
    headers: Vec<(String, String)>,
    /// Most events that a request has.
    pub(crate) events_max: usize,
    /// What is older is not sent.
    pub(crate) max_age: Option<Duration>,
    /// Asked before each request.
    pub(crate) permit: Permit,
}

impl Ways {
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] names the setting that cannot be used.
    pub(super) fn resolve(
        product: &Product,
        choices: &Choices,
        set: &FileSettings,
        watch: &Watch,
        permit: &Permit,
    ) -> Result<Self> {
        let mut routes = Vec::new();
        for (place, mut destination) in product.destinations().into_iter().enumerate() {
            if place == 0 {
                override_first(&mut destination, choices, set, watch)?;
            }
            routes.extend(Route::of(destination, choices.plain_http, permit)?);
        }
        Ok(Self { routing: product.routing(), routes })
    }

    /// Whether there is anybody to deliver to.
    pub(crate) fn is_open(&self) -> bool {
        !self.routes.is_empty()
    }

    /// What says in the environment where the first destination is, for a program that is told the product.
    pub(super) fn first_in_environment(&self) -> Vec<(&'static str, String)> {
        let Some(first) = self.routes.iter().find(|route| route.name == self.routing.names()[0]) else {
            return Vec::new();
        };
        vec![
            ("MILEPOST_ENDPOINT", first.endpoint.url()),
            ("MILEPOST_FORMAT", first.format.to_string()),
            ("MILEPOST_HEADERS", headers::format(&first.headers)),
        ]
    }

    /// Most events that a request in this format has for a destination.
    pub(super) fn events_max(&self, name: &str, format: Format) -> usize {
        let route = self.routes.iter().find(|route| route.name == name);
        route.map_or(usize::MAX, |route| route.events_max).min(format.events_max())
    }

    /// The same where nothing is delivered.
    pub(crate) fn closed(&self) -> Self {
        Self { routing: self.routing.clone(), routes: Vec::new() }
    }

    /// The same where nothing is delivered but to this destination.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] where it cannot be delivered to, with those that can.
    pub(super) fn to(&self, name: &str) -> Result<Self> {
        let routes: Vec<_> = self.routes.iter().filter(|route| route.name == name).cloned().collect();
        if routes.is_empty() {
            let names: Vec<_> = self.routes.iter().map(|route| route.name.as_str()).collect();
            let there = if names.is_empty() { "none" } else { &names.join(", ") };
            return Err(Error::invalid(format!(
                "there is no destination {name:?} with an endpoint: {there}"
            )));
        }
        Ok(Self { routing: self.routing.clone(), routes })
    }
}

/// Puts in the first destination's place what others than the product say of it.
fn override_first(
    first: &mut Destination,
    choices: &Choices,
    set: &FileSettings,
    watch: &Watch,
) -> Result<()> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    // What a person wrote into a file is looked at here: a host is not to fail for it, nothing is collected then.
    let or_object = |object: Result<()>| match object {
        Ok(()) => true,
        Err(error) => {
            watch.object(format!("settings.toml: {error}"));
            false
        }
    };
    if let Some(format) = choices.format {
        first.format = Some(format.to_string());
    } else if let Some(word) = variable("MILEPOST_FORMAT") {
        word.parse::<Format>().map_err(|error| cannot_be_used("MILEPOST_FORMAT", error))?;
        first.format = Some(word);
    } else if let Some(word) = &set.format {
        let is_one = or_object(word.parse::<Format>().map(drop));
        first.format = is_one.then(|| word.clone());
    }
    let parse = |url: &str| Endpoint::parse(url, choices.plain_http).map(drop);
    if let Some(url) = &choices.endpoint {
        parse(url).map_err(|error| cannot_be_used("the endpoint", error))?;
        first.endpoint = Some(url.clone());
    } else if let Some(url) = variable("MILEPOST_ENDPOINT") {
        parse(&url).map_err(|error| cannot_be_used("MILEPOST_ENDPOINT", error))?;
        first.endpoint = Some(url);
    } else if let Some(url) = &set.endpoint {
        let is_one = or_object(parse(url));
        first.endpoint = is_one.then(|| url.clone());
    }
    if !choices.headers.is_empty() {
        first.headers.clone_from(&choices.headers);
    } else if let Some(text) = variable("MILEPOST_HEADERS") {
        first.headers = headers::parse(&text).map_err(|error| cannot_be_used("MILEPOST_HEADERS", error))?;
    }
    Ok(())
}

fn cannot_be_used(what: &str, error: Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("{what} cannot be used")).with_source(error)
}

impl Route {
    /// The way to a destination; `None` where nobody named its endpoint.
    fn of(destination: Destination, plain_http: bool, permit: &Permit) -> Result<Option<Self>> {
        let Destination { name, endpoint, format, headers, events_max, max_age } = destination;
        let wrong = |what: &str| {
            let what = format!("the {what} of the product's destination {name:?}");
            move |error| cannot_be_used(&what, error)
        };
        let format = format.map_or(Ok(Format::default()), |word| word.parse().map_err(wrong("format")))?;
        let Some(url) = endpoint else { return Ok(None) };
        let endpoint = Endpoint::parse(&url, plain_http).map_err(wrong("endpoint"))?;
        let events_max = events_max.unwrap_or(usize::MAX).min(format.events_max());
        let route = Self { name, endpoint, format, headers, events_max, max_age, permit: permit.clone() };
        route.transport()?;
        Ok(Some(route))
    }

    pub(crate) fn transport(&self) -> Result<Transport> {
        let mut headers = self.headers.clone();
        let _ = Wire::new(self.format, &mut headers);
        Transport::new(&self.endpoint, headers)
    }

    /// The format, and what the headers say about it.
    pub(crate) fn wire(&self) -> Wire {
        Wire::new(self.format, &mut self.headers.clone())
    }

    /// What tells these settings from others, without giving a key away.
    pub(crate) fn fingerprint(&self) -> String {
        let text = format!("{} {} {:?}", self.format, self.endpoint.url(), self.headers);
        Uuid::new_v5(&Uuid::NAMESPACE_URL, text.as_bytes()).simple().to_string()
    }
}
