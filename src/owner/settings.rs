//! The settings that hold for this process, from everybody who has a word in them.
//!
//! Where events go, [`super::route`] says. How far they go: of all modes that somebody named the most restrictive.

use std::io::IsTerminal;
use std::sync::Arc;

use super::choices::Choices;
use super::permit;
use super::route::Ways;
use crate::bundle::PublicKey;
use crate::consent::{Environment, Sources, Watch};
use crate::error::{Error, ErrorKind, Result};
use crate::installation::{Installation, is_device_id};
use crate::journal::Greeting;
use crate::limits::DEVICE_ID_BYTES_MAX;
use crate::product::{Mode, Product, Pulse};

/// What holds.
pub(crate) struct Settings {
    pub(crate) product: Product,
    /// Whether anything is collected, and how far it goes.
    pub(crate) watch: Arc<Watch>,
    /// `None` where there is no place to collect in; consent then says why.
    pub(crate) installation: Option<Installation>,
    pub(crate) ways: Ways,
    /// Whether somebody sits at a terminal.
    pub(crate) interactive: bool,
    /// What is done once for an installation.
    pub(crate) greeting: Greeting,
    /// The keys one of which has to vouch for what comes over an air gap, if one has to. `Err` says why nobody knows.
    pub(crate) verify: Result<Vec<PublicKey>, String>,
    /// What heartbeats say; `None` where the product declares none.
    pub(crate) pulse: Option<Pulse>,
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
        let verify = set.as_ref().map_err(Clone::clone).and_then(|set| {
            let keys = PublicKey::list(set.verify.as_deref().unwrap_or_default());
            keys.map_err(|error| format!("verify in settings.toml: {error}"))
        });
        let set = set.unwrap_or_default();
        let watch = Arc::new(Watch::new(sources));
        if let Err(reason) = home {
            watch.object(reason);
        }
        let installation = directory.map(Installation::new);

        let ways = Ways::resolve(&product, &choices, &set, &watch, &permit::of(watch.clone()))?;

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
            milestones: product.milestones.clone(),
            device_id,
            notice: product.notice.clone().filter(|_| interactive),
        };
        let pulse = product.pulse();
        Ok(Self { product, watch, installation, ways, interactive, greeting, verify, pulse })
    }

    /// Why a milestone does not count here, if so.
    pub(crate) fn milestones_objection(&self) -> Option<&'static str> {
        let is_missed = self.product.interactive && !self.interactive;
        is_missed.then_some("neither standard output nor standard error is an interactive terminal")
    }

    /// Where events may be delivered to by this process now: nowhere in mode `local`, or when somebody refused.
    pub(crate) fn deliverable(&self) -> Option<&Ways> {
        let state = self.watch.state();
        Some(&self.ways).filter(|ways| ways.is_open() && state.mode == Mode::On && state.is_yes())
    }
}
