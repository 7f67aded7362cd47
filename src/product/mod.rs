//! Whose usage this is: a product's name, its places, what it declares.
//!
//! Naming a product touches no disk but the product file itself, and reads nothing of the environment but
//! the variable that moves its home.

mod check;
mod declared;
mod destination;
mod exit;
mod file;
mod files;
mod heartbeat;
mod mode;
mod network;
mod places;
mod prefect;
mod quota;

use std::time::Duration;

use crate::limits::{FREE_DISK_BYTES_MIN, SPREAD};

pub(crate) use declared::{Declared, Integrations, Keys};
pub use destination::Destination;
pub(crate) use destination::{RouteRule, Routing};
pub use exit::Exit;
pub(crate) use files::{Profiles, ProjectFile, Server, SettingsFiles};
pub use heartbeat::ServerInfo;
pub(crate) use heartbeat::{HEARTBEAT, Pulse, SESSION_ID, SESSION_START};
pub use mode::Mode;
pub(crate) use mode::{DEFAULT, JOURNALS, LOCAL};
pub use network::Network;
pub(crate) use quota::{Drops, Quota};

/// The product whose usage is reported: its name on the wire, its telemetry directory, what it declares.
///
/// ```
/// use milepost::Product;
/// let product = Product::new("acme-worker", "1.4.0")
///     .home("~/.acme-worker")
///     .home_env("ACME_WORKER_HOME")
///     .opt_out_env("ACME_TELEMETRY")
///     .milestone("first_job")
///     .event("job_finished", ["rows", "ok", "region"]);
/// ```
///
/// Nothing is checked until [`crate::ClientBuilder::build`], which names what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) runtime: String,
    pub(crate) runtime_version: String,
    pub(crate) home: String,
    pub(crate) home_env: Option<String>,
    pub(crate) folder: String,
    pub(crate) opt_out_env: Option<String>,
    pub(crate) files: SettingsFiles,
    pub(crate) environment_env: Option<String>,
    pub(crate) declared: Declared,
    /// In the order in which they were declared.
    pub(crate) milestones: Vec<String>,
    pub(crate) notice: Option<String>,
    /// Whether milestones count from an interactive terminal alone.
    pub(crate) interactive: bool,
    /// Names in the home of which any shows that the product was used before.
    pub(crate) traces: Vec<String>,
    /// Of the first destination, where that has none of its own.
    pub(crate) endpoint: Option<String>,
    pub(crate) format: Option<String>,
    pub(crate) network: Network,
    /// None where there is one alone, which needs no name.
    destinations: Vec<Destination>,
    pub(crate) otel_environment: bool,
    routes: Vec<RouteRule>,
    pub(crate) mode: Mode,
    pub(crate) free_disk_min: u64,
    pub(crate) quota: Quota,
    pub(crate) spread: Duration,
    pub(crate) exit: Exit,
}

impl Product {
    /// A product of one's own: every event is taken, the directory is `~/.<name>/telemetry`.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            home: format!("~/.{name}"),
            name,
            version: version.into(),
            runtime: String::new(),
            runtime_version: String::new(),
            home_env: None,
            folder: "telemetry".into(),
            opt_out_env: None,
            files: SettingsFiles::default(),
            environment_env: None,
            declared: Declared::Any,
            milestones: Vec::new(),
            notice: None,
            interactive: false,
            traces: Vec::new(),
            endpoint: None,
            format: None,
            network: Network::new(),
            destinations: Vec::new(),
            otel_environment: false,
            routes: Vec::new(),
            mode: Mode::On,
            free_disk_min: FREE_DISK_BYTES_MIN,
            quota: Quota::default(),
            spread: SPREAD,
            exit: Exit::Leave,
        }
    }

    /// The product's version, where it was not known before.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// The runtime that the product runs on, as `process.runtime.name` and `process.runtime.version`.
    #[must_use]
    pub fn runtime(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        (self.runtime, self.runtime_version) = (name.into(), version.into());
        self
    }

    /// The product's home; `~` stands for the person's. Defaults to `~/.<name>`.
    #[must_use]
    pub fn home(mut self, home: impl Into<String>) -> Self {
        self.home = home.into();
        self
    }

    /// The environment variable that overrides the home. None by default.
    #[must_use]
    pub fn home_env(mut self, variable: impl Into<String>) -> Self {
        self.home_env = Some(variable.into());
        self
    }

    /// The telemetry directory within the home. Defaults to `telemetry`.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<String>) -> Self {
        self.folder = folder.into();
        self
    }

    /// The environment variable whose false words (`0 false f no n off`) refuse. None by default.
    #[must_use]
    pub fn opt_out_env(mut self, variable: impl Into<String>) -> Self {
        self.opt_out_env = Some(variable.into());
        self
    }

    /// What the opt-out is called in the product's own settings, in parts: `telemetry.enabled`. In profiles the
    /// name of [`Product::opt_out_env`] counts, too, and before it. None by default.
    #[must_use]
    pub fn setting(mut self, path: impl Into<String>) -> Self {
        self.files.setting = Some(path.into());
        self
    }

    /// A settings file of the product's own in the working directory, TOML, with [`Product::setting`] in it. It
    /// speaks for the processes that are started there. None by default.
    #[must_use]
    pub fn local_file(mut self, name: impl Into<String>) -> Self {
        self.files.local_file = Some(name.into());
        self
    }

    /// A file with variables in the working directory, a line `NAME=VALUE` each, which the product reads beside its
    /// environment; [`Product::opt_out_env`] counts in it, before what is in [`Product::local_file`]. It speaks for the
    /// processes that are started there. None by default.
    #[must_use]
    pub fn dotenv(mut self, name: impl Into<String>) -> Self {
        self.files.dotenv = Some(name.into());
        self
    }

    /// A file of the project in the working directory, TOML, in which the product has a table, `tool.acme`, with
    /// [`Product::setting`] in it; it is asked after [`Product::local_file`]. It speaks for the processes that are
    /// started there. None by default.
    #[must_use]
    pub fn project_file(mut self, name: impl Into<String>, table: impl Into<String>) -> Self {
        self.files.project_file = Some(files::ProjectFile { file: name.into(), table: table.into() });
        self
    }

    /// A settings file of the product's own in its home, TOML: `active = "NAME"`, and a table `[profiles.NAME]`
    /// each. The active profile's entry speaks for the whole installation, and `milepost config set` writes it.
    /// `default` is active where nobody named one. Without such a file, `settings.toml` in the telemetry directory
    /// is where a person's word stands.
    #[must_use]
    pub fn profiles(mut self, file: impl Into<String>, default: impl Into<String>) -> Self {
        let (path_env, name_env) = (None, None);
        self.files.profiles =
            Some(Profiles { file: file.into(), default: default.into(), path_env, name_env });
        self
    }

    /// The variables that name another file of profiles, and another profile, for one process. None by default;
    /// they mean nothing without [`Product::profiles`].
    #[must_use]
    pub fn profiles_env(mut self, path: impl Into<String>, name: impl Into<String>) -> Self {
        if let Some(profiles) = &mut self.files.profiles {
            (profiles.path_env, profiles.name_env) = (Some(path.into()), Some(name.into()));
        }
        self
    }

    /// A server of the product's own: where `url_env` names one, `GET {url}/{path}` is asked before the first
    /// delivery and every hour, and [`Product::setting`] in its JSON decides for the process that asked. None by
    /// default.
    #[must_use]
    pub fn server(mut self, url_env: impl Into<String>, path: impl Into<String>) -> Self {
        self.files.server = Some(Server { url_env: url_env.into(), path: path.into() });
        self
    }

    /// The environment variable that says which environment a server runs in, for its heartbeats. None by default:
    /// they say `production`.
    #[must_use]
    pub fn environment_env(mut self, variable: impl Into<String>) -> Self {
        self.environment_env = Some(variable.into());
        self
    }

    /// Declares an event and its keys. Once one is declared, only what is declared is taken.
    #[must_use]
    pub fn event<K: Into<String>>(
        mut self,
        name: impl Into<String>,
        keys: impl IntoIterator<Item = K>,
    ) -> Self {
        let keys = keys.into_iter().map(Into::into).collect();
        self.declared.only().0.insert(name.into(), keys);
        self
    }

    /// Declares an integration and its keys: its events are named `<integration>:<event>`, and may carry these
    /// keys and `integration`, which says who it is. Once one is declared, only what is declared is taken;
    /// Prefect takes events of any integration, and from those that declare nothing no key but `integration`.
    ///
    /// ```
    /// use milepost::Product;
    /// let product = Product::prefect("3.8.8").integration("prefect-aws", ["service"]);
    /// ```
    #[must_use]
    pub fn integration<K: Into<String>>(
        mut self,
        name: impl Into<String>,
        keys: impl IntoIterator<Item = K>,
    ) -> Self {
        self.declared.only().1.add(name.into(), keys);
        self
    }

    /// Declares a milestone.
    #[must_use]
    pub fn milestone(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        if !self.milestones.contains(&name) {
            self.milestones.push(name);
        }
        self
    }

    /// Counts milestones from an interactive terminal alone: where standard output or standard error is one. By
    /// default they count anywhere.
    #[must_use]
    pub fn interactive_milestones(mut self) -> Self {
        self.interactive = true;
        self
    }

    /// A name in the home that shows that the product was used before: for such a person all milestones count as
    /// reached from the start, without events, and no notice is shown. None by default.
    #[must_use]
    pub fn used_before(mut self, name: impl Into<String>) -> Self {
        self.traces.push(name.into());
        self
    }

    /// What a person is told once, on standard error, in an interactive terminal. None by default.
    #[must_use]
    pub fn notice(mut self, notice: impl Into<String>) -> Self {
        self.notice = Some(notice.into());
        self
    }

    /// Where events go unless somebody says otherwise: the whole URL. None by default: nothing is ever sent
    /// anywhere that nobody named.
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// How the receiver is reached, as far as nobody says otherwise.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Adds a destination, or replaces the one of its name. Whoever has one alone needs none: [`Product::endpoint`]
    /// is enough, and the destination is then named `default`; so is one in a list that is to go on with what waits for
    /// it. Without routes, each gets every event. One that is added gets what is taken into the spool from then on;
    /// what waits for one that is left out is kept until [`Product::quota_age`], or until a person deals with it by
    /// `milepost purge`.
    #[must_use]
    pub fn destination(mut self, destination: Destination) -> Self {
        match self.destinations.iter_mut().find(|known| known.name == destination.name) {
            Some(known) => *known = destination,
            None => self.destinations.push(destination),
        }
        self
    }

    /// Has events go to these destinations alone: those whose name is `events`, or begins with it where that ends in
    /// `*`. Of several routes the first that takes a name counts, and what none takes goes nowhere: it is dropped,
    /// counted as [`crate::DropReason::Unrouted`].
    #[must_use]
    pub fn route<D: Into<String>>(
        mut self,
        events: impl Into<String>,
        to: impl IntoIterator<Item = D>,
    ) -> Self {
        self.routes.push(RouteRule { events: events.into(), to: to.into_iter().map(Into::into).collect() });
        self
    }

    /// Has the standard variables of OpenTelemetry's exporters count for the first destination, below `MILEPOST_ENDPOINT`
    /// and its kin and above all files: `OTEL_EXPORTER_OTLP_LOGS_ENDPOINT` as it is, `OTEL_EXPORTER_OTLP_ENDPOINT` with
    /// `/v1/logs`, and `_PROTOCOL`, `_HEADERS`, `_TIMEOUT` of either. By default they mean nothing: they were said of
    /// the host's telemetry, not of the product's.
    #[must_use]
    pub fn otel_environment(mut self) -> Self {
        self.otel_environment = true;
        self
    }

    /// How far events go unless somebody says otherwise. Defaults to [`Mode::On`].
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// How many bytes of the disk are left to others: with less free, events are refused, and taken again once
    /// there is room. Defaults to 64 MiB.
    #[must_use]
    pub fn free_disk_min(mut self, bytes: u64) -> Self {
        self.free_disk_min = bytes;
        self
    }

    /// Over how long the first deliveries of workers are spread that start together and find something that waited: each
    /// puts it off by a random part of this. A flush puts nothing off. Defaults to 10 s.
    #[must_use]
    pub fn spread(mut self, time: Duration) -> Self {
        self.spread = time;
        self
    }

    /// How many bytes the telemetry directory may take: where it takes more, the oldest events are dropped,
    /// and counted; but first those of a name that holds more than half, so that one loop cannot evict
    /// everybody else. Milestones stay. Defaults to 64 MiB; whatever else is there, half of it is for events.
    #[must_use]
    pub fn quota_bytes(mut self, bytes: u64) -> Self {
        self.quota.bytes = bytes;
        self
    }

    /// How many events may wait. Defaults to as many as there is room for.
    #[must_use]
    pub fn quota_events(mut self, events: u64) -> Self {
        self.quota.events = events;
        self
    }

    /// How many files the events that wait may lie in. Defaults to 4,096.
    #[must_use]
    pub fn quota_files(mut self, files: usize) -> Self {
        self.quota.files = files;
        self
    }

    /// Drops the newest events where the quota is used up, instead of the oldest: they are refused for
    /// [`crate::Refusal::Quota`] until there is room again.
    #[must_use]
    pub fn quota_drops_newest(mut self) -> Self {
        self.quota.drops = Drops::Newest;
        self
    }

    /// How long an event may wait before it is dropped, and counted. Defaults to 90 days.
    #[must_use]
    pub fn quota_age(mut self, age: Duration) -> Self {
        self.quota.age = age;
        self
    }

    /// What a process that ends does about events that wait. Defaults to [`Exit::Leave`].
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// All destinations, the first one first, with what the product says of them.
    pub(crate) fn destinations(&self) -> Vec<Destination> {
        let mut destinations = self.destinations.clone();
        if destinations.is_empty() {
            destinations.push(Destination::new(DEFAULT));
        }
        let first = &mut destinations[0];
        first.endpoint = first.endpoint.take().or_else(|| self.endpoint.clone());
        first.format = first.format.take().or_else(|| self.format.clone());
        first.network = std::mem::take(&mut first.network).over(&self.network);
        destinations
    }

    /// The same where the first destination is reached like this, whatever else the product says.
    pub(crate) fn reached_by(mut self, network: Network) -> Self {
        match self.destinations.first_mut() {
            Some(first) => first.network = network,
            None => self.network = network,
        }
        self
    }

    /// Which event goes to which destination.
    pub(crate) fn routing(&self) -> Routing {
        Routing::of(&self.destinations(), &self.routes)
    }
}
