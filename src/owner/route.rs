//! Where the events of each destination go.
//!
//! Of the first destination, most often the only one, flag or builder say it, then `MILEPOST_ENDPOINT`,
//! `MILEPOST_FORMAT`, `MILEPOST_HEADERS` and those of the way there, then the variables of OpenTelemetry where the product asks for them, then
//! `settings.toml`, then the product; of the others the product alone.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::choices::Choices;
use super::headers;
use super::network;
use super::otel::Otel;
use crate::block::Origin;
use crate::consent::{FileSettings, Watch};
use crate::delivery::{Checked, Deliver, Endpoint, Format, Means, Permit, Transport, Wire, check};
use crate::error::{Error, ErrorKind, Result};
use crate::installation::{Host, is_container, is_ephemeral};
use crate::journal::MakeOrigin;
use crate::limits::{BATCH_EVENTS_MAX, REQUEST_TIMEOUT};
use crate::product::{Destination, Network, Product, Routing};

/// Which event goes to whom, and by what way.
#[derive(Clone)]
pub(crate) struct Ways {
    pub(crate) routing: Routing,
    /// The destinations that can be delivered to from here.
    pub(crate) routes: Vec<Route>,
    /// Whose what milepost itself has to say is.
    pub(crate) origin: MakeOrigin,
}

/// Where the events of a destination go.
#[derive(Clone)]
pub(crate) struct Route {
    /// The destination's name.
    pub(crate) name: String,
    by: By,
    /// Most events that a request has.
    pub(crate) events_max: usize,
    /// For a request as a whole.
    pub(crate) timeout: Duration,
    /// What is older is not sent.
    pub(crate) max_age: Option<Duration>,
    /// Asked before each request.
    pub(crate) permit: Permit,
}

/// By what means.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "there are a handful in a process")]
enum By {
    Http { endpoint: Endpoint, format: Format, headers: Vec<(String, String)>, network: Network },
    Program(Arc<dyn Deliver>),
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
        let mut programs = choices.programs.clone();
        for (place, mut destination) in product.destinations().into_iter().enumerate() {
            if place == 0 {
                let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
                let otel = if product.otel_environment { Otel::read(variable)? } else { Otel::default() };
                override_first(&mut destination, choices, otel, set, watch)?;
            }
            let program = programs.remove(&destination.name).filter(|_| destination.is_programs);
            routes.extend(Route::of(destination, program, choices.plain_http, permit)?);
        }
        if let Some(name) = programs.keys().next() {
            return Err(Error::invalid(format!("the product has no destination {name:?} to deliver to")));
        }
        Ok(Self { routing: product.routing(), routes, origin: origin_maker(product) })
    }

    /// Whether there is anybody to deliver to.
    pub(crate) fn is_open(&self) -> bool {
        !self.routes.is_empty()
    }

    /// What says in the environment where the first destination is, for a program that is told the product.
    pub(super) fn first_in_environment(&self) -> Vec<(&'static str, String)> {
        match self.first() {
            Some(By::Http { endpoint, format, headers, .. }) => vec![
                ("MILEPOST_ENDPOINT", endpoint.url()),
                ("MILEPOST_FORMAT", format.to_string()),
                ("MILEPOST_HEADERS", headers::format(headers)),
            ],
            Some(By::Program(_)) | None => Vec::new(),
        }
    }

    /// How the first destination is reached.
    pub(super) fn first_network(&self) -> Option<&Network> {
        match self.first()? {
            By::Http { network, .. } => Some(network),
            By::Program(_) => None,
        }
    }

    fn first(&self) -> Option<&By> {
        let mut routes = self.routes.iter();
        routes.find(|route| route.name == self.routing.names()[0]).map(|route| &route.by)
    }

    /// Whether somebody allowed a way on which others can read and change what is sent.
    pub(super) fn is_plain_to_others(&self) -> bool {
        let mut ways = self.routes.iter().map(|route| &route.by);
        ways.any(|by| matches!(by, By::Http { endpoint, .. } if endpoint.is_plain_to_others()))
    }

    /// Most events that a request in this format has for a destination.
    pub(super) fn events_max(&self, name: &str, format: Format) -> usize {
        let route = self.routes.iter().find(|route| route.name == name);
        route.map_or(usize::MAX, |route| route.events_max).min(format.events_max())
    }

    /// The same where nothing is delivered.
    pub(crate) fn closed(&self) -> Self {
        Self { routes: Vec::new(), ..self.clone() }
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
        Ok(Self { routes, ..self.clone() })
    }
}

/// Puts in the first destination's place what others than the product say of it.
fn override_first(
    first: &mut Destination,
    choices: &Choices,
    otel: Otel,
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
    } else if let Some(format) = otel.format {
        first.format = Some(format.to_string());
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
    } else if let Some(url) = otel.endpoint {
        parse(&url).map_err(|error| cannot_be_used("OpenTelemetry's endpoint", error))?;
        first.endpoint = Some(url);
    } else if let Some(url) = &set.endpoint {
        let is_one = or_object(parse(url));
        first.endpoint = is_one.then(|| url.clone());
    }
    if !choices.headers.is_empty() {
        first.headers.clone_from(&choices.headers);
    } else if let Some(text) = variable("MILEPOST_HEADERS") {
        first.headers = headers::parse(&text).map_err(|error| cannot_be_used("MILEPOST_HEADERS", error))?;
    } else if !otel.headers.is_empty() {
        first.headers = otel.headers;
    }
    let of_variables = network::read(variable)?;
    first.network = choices.network.clone().over(&of_variables).over(&otel.network).over(&first.network);
    first.timeout = otel.timeout.or(first.timeout);
    Ok(())
}

fn cannot_be_used(what: &str, error: Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("{what} cannot be used")).with_source(error)
}

impl Route {
    /// The way to a destination; `None` where nobody named its endpoint, nor how the program delivers.
    fn of(
        destination: Destination,
        program: Option<Arc<dyn Deliver>>,
        plain_http: bool,
        permit: &Permit,
    ) -> Result<Option<Self>> {
        let Destination { name, endpoint, format, headers, network, events_max, timeout, max_age, .. } =
            destination;
        let wrong = |what: &str| {
            let what = format!("the {what} of the product's destination {name:?}");
            move |error| cannot_be_used(&what, error)
        };
        let format = format.map_or(Ok(Format::default()), |word| word.parse().map_err(wrong("format")))?;
        let (by, most) = match (program, endpoint) {
            (Some(program), _) => (By::Program(program), BATCH_EVENTS_MAX),
            (None, Some(url)) => {
                let endpoint = Endpoint::parse(&url, plain_http).map_err(wrong("endpoint"))?;
                let headers = headers::fetched(headers)?;
                (By::Http { endpoint, format, headers, network }, format.events_max())
            }
            (None, None) => return Ok(None),
        };
        let events_max = events_max.unwrap_or(usize::MAX).min(most);
        let timeout = timeout.unwrap_or(REQUEST_TIMEOUT);
        let route = Self { name, by, events_max, timeout, max_age, permit: permit.clone() };
        route.transport()?;
        Ok(Some(route))
    }

    /// How a courier delivers on it.
    pub(crate) fn means(&self) -> Means {
        match &self.by {
            By::Http { format, headers, network, .. } => wire(*format, &mut headers.clone(), network).into(),
            By::Program(program) => Means::Program(program.clone()),
        }
    }

    pub(crate) fn transport(&self) -> Result<Transport> {
        match &self.by {
            By::Http { endpoint, format, headers, network } => {
                let mut headers = headers.clone();
                let _ = wire(*format, &mut headers, network);
                Transport::new(endpoint, headers, network)
            }
            // Nothing is posted: the permit alone may have somebody to ask.
            By::Program(_) => {
                let nowhere = Endpoint::parse("http://milepost.invalid/", true)?;
                Transport::new(&nowhere, Vec::new(), &Network::new())
            }
        }
    }

    /// Goes the whole way with a batch that has no events; `None` where only the program knows it.
    ///
    /// # Errors
    ///
    /// As [`Route::transport`].
    pub(super) fn check(&self) -> Result<Option<Checked>> {
        let By::Http { endpoint, format, headers, network } = &self.by else { return Ok(None) };
        let wire = wire(*format, &mut headers.clone(), network);
        Ok(Some(check(&self.name, endpoint, &self.transport()?, &wire)))
    }

    /// What tells these settings from others, without giving a key away.
    pub(crate) fn fingerprint(&self) -> String {
        let text = match &self.by {
            By::Http { endpoint, format, headers, network } => {
                format!("{format} {} {headers:?} {:?}", endpoint.url(), network.proxy)
            }
            By::Program(_) => "program".into(),
        };
        Uuid::new_v5(&Uuid::NAMESPACE_URL, text.as_bytes()).simple().to_string()
    }
}

/// The format, and what the headers say about it, which it takes out of them.
fn wire(format: Format, headers: &mut Vec<(String, String)>, network: &Network) -> Wire {
    Wire::new(format, headers, network.gzip != Some(false))
}

/// Makes the origin of the events of this process.
fn origin_maker(product: &Product) -> MakeOrigin {
    let (product, ephemeral) = (product.clone(), is_ephemeral());
    Arc::new(move |device_id, mode| {
        let host = Host::this();
        Origin {
            device_id,
            product: product.name.clone(),
            product_version: product.version.clone(),
            runtime: product.runtime.clone(),
            runtime_version: product.runtime_version.clone(),
            platform: host.platform,
            architecture: host.architecture,
            mode,
            ephemeral,
            container: is_container(),
            library: env!("CARGO_PKG_VERSION").into(),
            carried: None,
        }
    })
}
