//! The settings that hold for this process, from everybody who has a word in them.
//!
//! Where events go: flag or builder, then `MILEPOST_ENDPOINT` and `MILEPOST_FORMAT`, then the product. How far
//! they go: of all modes that somebody named the most restrictive.

use std::io::IsTerminal;
use std::path::PathBuf;

use uuid::Uuid;

use super::headers;
use crate::block::Origin;
use crate::consent::{self, Consent};
use crate::delivery::{Endpoint, Format, Transport, Wire};
use crate::error::{Error, ErrorKind, Result};
use crate::installation::{Host, Installation, is_container};
use crate::journal::Greeting;
use crate::product::{Mode, Product};

/// What a builder or a command line chose.
#[derive(Clone, Default)]
pub(crate) struct Choices {
    pub(crate) home: Option<PathBuf>,
    pub(crate) endpoint: Option<String>,
    pub(crate) format: Option<Format>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) mode: Option<Mode>,
    pub(crate) plain_http: bool,
    pub(crate) interactive: Option<bool>,
}

/// What holds.
pub(crate) struct Settings {
    pub(crate) product: Product,
    pub(crate) mode: Mode,
    pub(crate) consent: Consent,
    /// `None` where there is no place to collect in; consent then says why.
    pub(crate) installation: Option<Installation>,
    pub(crate) route: Option<Route>,
    /// Whether somebody sits at a terminal.
    pub(crate) interactive: bool,
    /// What is done once for an installation.
    pub(crate) greeting: Greeting,
}

/// Where the events of a destination go.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    pub(crate) format: Format,
    headers: Vec<(String, String)>,
}

impl Settings {
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] names the setting that cannot be used. Nothing was written.
    pub(crate) fn resolve(product: Product, choices: Choices) -> Result<Self> {
        product.validate()?;
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let named = |name: &str, error: Error| {
            Error::new(ErrorKind::Invalid, format!("{name} cannot be used")).with_source(error)
        };
        let mode_said = match variable("MILEPOST_MODE") {
            Some(word) => Some(word.parse::<Mode>().map_err(|error| named("MILEPOST_MODE", error))?),
            None => None,
        };
        let modes = [choices.mode, mode_said, Some(product.mode)];
        let mode = modes.into_iter().flatten().max_by_key(|mode| *mode as u8).unwrap_or_default();

        let from_env = variable("MILEPOST_FORMAT").map(|word| ("MILEPOST_FORMAT", word));
        let from_product = product.format.clone().map(|word| ("the product's format", word));
        let format = match (choices.format, from_env.or(from_product)) {
            (Some(format), _) => format,
            (None, Some((name, word))) => word.parse().map_err(|error| named(name, error))?,
            (None, None) => Format::default(),
        };
        let chosen = choices.endpoint.map(|url| ("the endpoint", url));
        let from_env = || variable("MILEPOST_ENDPOINT").map(|url| ("MILEPOST_ENDPOINT", url));
        let from_product = || product.endpoint.clone().map(|url| ("the product's endpoint", url));
        let headers = match variable("MILEPOST_HEADERS").filter(|_| choices.headers.is_empty()) {
            Some(text) => headers::parse(&text).map_err(|error| named("MILEPOST_HEADERS", error))?,
            None => choices.headers,
        };
        let route = match chosen.or_else(from_env).or_else(from_product) {
            Some((name, url)) => {
                let endpoint =
                    Endpoint::parse(&url, choices.plain_http).map_err(|error| named(name, error))?;
                let route = Route { endpoint, format, headers };
                route.transport()?;
                Some(route)
            }
            None => None,
        };

        let mut consent = consent::of_this_process(&product, mode);
        let installation = match product.directory(choices.home.as_deref()) {
            Ok(directory) => Some(Installation::new(directory)),
            Err(reason) => {
                consent.object(reason);
                None
            }
        };
        let interactive = choices
            .interactive
            .unwrap_or_else(|| std::io::stdout().is_terminal() || std::io::stderr().is_terminal());
        let greeting = Greeting {
            traces: product.traces(choices.home.as_deref()),
            milestones: product.milestones.iter().cloned().collect(),
            notice: product.notice.clone().filter(|_| interactive),
        };
        Ok(Self { product, mode, consent, installation, route, interactive, greeting })
    }

    /// Why a milestone does not count here, if so.
    pub(crate) fn milestones_objection(&self) -> Option<&'static str> {
        let is_missed = self.product.interactive && !self.interactive;
        is_missed.then_some("neither standard output nor standard error is an interactive terminal")
    }

    /// Where events may be delivered to by this process: nowhere in mode `local`, or when somebody refused.
    pub(crate) fn deliverable(&self) -> Option<&Route> {
        self.route.as_ref().filter(|_| self.mode == Mode::On && self.consent.is_yes())
    }

    /// Makes the origin of this process's events, once the device id is known.
    pub(crate) fn origin(&self) -> impl Fn(String) -> Origin + Send + 'static {
        let (product, mode) = (self.product.clone(), self.mode);
        move |device_id| {
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
                ephemeral: false,
                container: is_container(),
                library: env!("CARGO_PKG_VERSION").into(),
                carried: None,
            }
        }
    }
}

impl Route {
    pub(super) fn headers(&self) -> &[(String, String)] {
        &self.headers
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
