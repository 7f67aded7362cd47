//! The settings that hold for this process, from everybody who has a word in them.
//!
//! Where events go: flag or builder, then `MILEPOST_ENDPOINT` and `MILEPOST_FORMAT`, then `settings.toml`, then the
//! product. How far they go: of all modes that somebody named the most restrictive.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use super::{headers, permit};
use crate::block::Origin;
use crate::consent::{Environment, Sources, Watch};
use crate::delivery::{Endpoint, Format, Permit, Transport, Wire};
use crate::error::{Error, ErrorKind, Result};
use crate::installation::{Host, Installation, is_container, is_device_id, is_ephemeral};
use crate::journal::Greeting;
use crate::limits::DEVICE_ID_BYTES_MAX;
use crate::product::{Mode, Network, Product, Pulse};

/// What a builder or a command line chose.
#[derive(Clone, Default)]
pub(crate) struct Choices {
    pub(crate) home: Option<PathBuf>,
    pub(crate) endpoint: Option<String>,
    pub(crate) format: Option<Format>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) network: Network,
    pub(crate) mode: Option<Mode>,
    pub(crate) plain_http: bool,
    pub(crate) interactive: Option<bool>,
    pub(crate) device_id: Option<String>,
}

/// What holds.
pub(crate) struct Settings {
    pub(crate) product: Product,
    /// Whether anything is collected, and how far it goes.
    pub(crate) watch: Arc<Watch>,
    /// `None` where there is no place to collect in; consent then says why.
    pub(crate) installation: Option<Installation>,
    pub(crate) route: Option<Route>,
    /// Whether somebody sits at a terminal.
    pub(crate) interactive: bool,
    /// What is done once for an installation.
    pub(crate) greeting: Greeting,
    /// What heartbeats say; `None` where the product declares none.
    pub(crate) pulse: Option<Pulse>,
}

/// Where the events of a destination go.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    pub(crate) format: Format,
    headers: Vec<(String, String)>,
    pub(super) network: Network,
    /// Asked before each request.
    pub(crate) permit: Permit,
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
        let modes = [
            choices.mode.map(|mode| (mode, "the builder".to_owned())),
            mode_said.map(|mode| (mode, format!("MILEPOST_MODE={} in the environment", mode.as_str()))),
            Some((product.mode, "the product".to_owned())),
        ];
        // Of equals the first is named.
        let mode = modes.into_iter().flatten().rev().max_by_key(|(mode, _)| *mode as u8).unwrap_or_default();

        let home = product.home_directory(choices.home.as_deref());
        let directory = home.as_ref().ok().map(|home| product.directory_in(home));
        let places = (home.as_deref().ok(), directory.as_deref());
        let sources =
            Environment::of_this_process(|environment| Sources::of(&product, environment, places, mode));
        let set = sources.other_settings();
        let watch = Arc::new(Watch::new(sources));
        if let Err(reason) = home {
            watch.object(reason);
        }
        let installation = directory.map(Installation::new);

        let from_env = variable("MILEPOST_FORMAT").map(|word| ("MILEPOST_FORMAT", word));
        let from_product = product.format.clone().map(|word| ("the product's format", word));
        let format = match (choices.format, from_env) {
            (Some(format), _) => format,
            (None, Some((name, word))) => word.parse().map_err(|error| named(name, error))?,
            (None, None) => match (set.format.map(|word| word.parse()), from_product) {
                (Some(Ok(format)), _) => format,
                // A host is not to fail for what a person wrote into a file: nothing is collected then.
                (Some(Err(error)), _) => {
                    watch.object(format!("settings.toml: {error}"));
                    Format::default()
                }
                (None, Some((name, word))) => word.parse().map_err(|error| named(name, error))?,
                (None, None) => Format::default(),
            },
        };
        let parse = |url: &str| Endpoint::parse(url, choices.plain_http);
        let chosen = choices.endpoint.map(|url| ("the endpoint", url));
        let from_env = || variable("MILEPOST_ENDPOINT").map(|url| ("MILEPOST_ENDPOINT", url));
        let from_product = || product.endpoint.clone().map(|url| ("the product's endpoint", url));
        let headers = match variable("MILEPOST_HEADERS").filter(|_| choices.headers.is_empty()) {
            Some(text) => headers::parse(&text).map_err(|error| named("MILEPOST_HEADERS", error))?,
            None => choices.headers,
        };
        let endpoint = match chosen.or_else(from_env) {
            Some((name, url)) => Some(parse(&url).map_err(|error| named(name, error))?),
            None => match (set.endpoint.map(|url| parse(&url)), from_product()) {
                (Some(Ok(endpoint)), _) => Some(endpoint),
                (Some(Err(error)), _) => {
                    watch.object(format!("settings.toml: {error}"));
                    None
                }
                (None, Some((name, url))) => Some(parse(&url).map_err(|error| named(name, error))?),
                (None, None) => None,
            },
        };
        let route = match endpoint {
            Some(endpoint) => {
                let permit = permit::of(watch.clone());
                let network = choices.network.over(&product.network);
                let route = Route { endpoint, format, headers, network, permit };
                route.transport()?;
                Some(route)
            }
            None => None,
        };

        let chosen = choices.device_id.map(|id| ("the device id", id));
        let from_env = || variable("MILEPOST_DEVICE_ID").map(|id| ("MILEPOST_DEVICE_ID", id));
        let device_id = match chosen.or_else(from_env) {
            Some((_, id)) if is_device_id(&id) => Some(id.trim().to_owned()),
            Some((name, id)) => {
                return Err(Error::invalid(format!(
                    "{name} cannot be used: {id:?} is no text of 1 to {DEVICE_ID_BYTES_MAX} bytes in one line"
                )));
            }
            None => None,
        };
        let interactive = choices
            .interactive
            .unwrap_or_else(|| std::io::stdout().is_terminal() || std::io::stderr().is_terminal());
        let greeting = Greeting {
            traces: product.traces(choices.home.as_deref()),
            milestones: product.milestones.iter().cloned().collect(),
            device_id,
            notice: product.notice.clone().filter(|_| interactive),
        };
        let pulse = product.pulse();
        Ok(Self { product, watch, installation, route, interactive, greeting, pulse })
    }

    /// Why a milestone does not count here, if so.
    pub(crate) fn milestones_objection(&self) -> Option<&'static str> {
        let is_missed = self.product.interactive && !self.interactive;
        is_missed.then_some("neither standard output nor standard error is an interactive terminal")
    }

    /// Where events may be delivered to by this process now: nowhere in mode `local`, or when somebody refused.
    pub(crate) fn deliverable(&self) -> Option<&Route> {
        let state = self.watch.state();
        self.route.as_ref().filter(|_| state.mode == Mode::On && state.is_yes())
    }

    /// Makes the origin of this process's events, once the device id is known.
    pub(crate) fn origin(&self) -> impl Fn(String, Mode) -> Origin + Send + 'static {
        let (product, ephemeral) = (self.product.clone(), is_ephemeral());
        move |device_id, mode| {
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
        }
    }
}

impl Route {
    pub(super) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    pub(crate) fn transport(&self) -> Result<Transport> {
        let mut headers = self.headers.clone();
        let _ = Wire::new(self.format, &mut headers, true);
        Transport::new(&self.endpoint, headers, &self.network)
    }

    /// The format, and what the headers say about it.
    pub(crate) fn wire(&self) -> Wire {
        Wire::new(self.format, &mut self.headers.clone(), self.network.gzip != Some(false))
    }

    /// What tells these settings from others, without giving a key away.
    pub(crate) fn fingerprint(&self) -> String {
        let text =
            format!("{} {} {:?} {:?}", self.format, self.endpoint.url(), self.headers, self.network.proxy);
        Uuid::new_v5(&Uuid::NAMESPACE_URL, text.as_bytes()).simple().to_string()
    }
}
