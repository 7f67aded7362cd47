//! The product file: a [`Product`] in TOML.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::product::{
    Declared, Destination, Drops, Exit, Mode, Network, Product, Profiles, ProjectFile, Quota, RouteRule,
    Server,
};

/// Largest product file that is read.
const BYTES_MAX: u64 = 1 << 20;

const DAY: Duration = Duration::from_secs(24 * 3_600);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    version: String,
    home: Option<String>,
    home_env: Option<String>,
    folder: Option<String>,
    opt_out_env: Option<String>,
    setting: Option<String>,
    dotenv: Option<String>,
    local_file: Option<String>,
    project_file: Option<ProjectTable>,
    profiles: Option<ProfilesTable>,
    server: Option<ServerTable>,
    environment_env: Option<String>,
    events: Option<Events>,
    #[serde(default)]
    integrations: BTreeMap<String, Keys>,
    #[serde(default)]
    milestones: Vec<String>,
    notice: Option<String>,
    #[serde(default)]
    interactive_milestones: bool,
    #[serde(default)]
    used_before: Vec<String>,
    endpoint: Option<String>,
    format: Option<String>,
    #[serde(default)]
    network: Network,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    otel_environment: bool,
    #[serde(default, rename = "destination", skip_serializing_if = "Vec::is_empty")]
    destinations: Vec<DestinationTable>,
    #[serde(default, rename = "route", skip_serializing_if = "Vec::is_empty")]
    routes: Vec<RouteTable>,
    mode: Option<Mode>,
    free_disk_min: Option<u64>,
    spread_seconds: Option<f64>,
    quota: Option<QuotaTable>,
    exit: Option<ExitEntry>,
    #[serde(default)]
    runtime: String,
    #[serde(default)]
    runtime_version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfilesTable {
    file: String,
    default: String,
    path_env: Option<String>,
    name_env: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerTable {
    url_env: String,
    path: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DestinationTable {
    name: String,
    endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    by_program: bool,
    format: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    network: Network,
    events_max: Option<usize>,
    timeout_seconds: Option<f64>,
    max_age_seconds: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectTable {
    file: String,
    table: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    events: String,
    to: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaTable {
    bytes: Option<u64>,
    events: Option<u64>,
    age_days: Option<u32>,
    files: Option<usize>,
    drop: Option<Drops>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ExitEntry {
    Leave,
    SpendSeconds(f64),
    Spawn(PathBuf),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "\"any\", or a table of events, each with keys = [...]")]
enum Events {
    Word(Any),
    Tables(BTreeMap<String, Keys>),
}

#[derive(Serialize, Deserialize)]
enum Any {
    #[serde(rename = "any")]
    Any,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default)]
    keys: BTreeSet<String>,
}

impl Product {
    /// Reads a product file.
    ///
    /// ```toml
    /// name = "acme-worker"            # service.name on the wire
    /// version = "1.4.0"
    /// home = "~/.acme-worker"         # defaults to ~/.<name>
    /// home_env = "ACME_WORKER_HOME"   # overrides home
    /// folder = "telemetry"            # the telemetry directory is <home>/<folder>
    /// opt_out_env = "ACME_TELEMETRY"  # its false words refuse
    /// environment_env = "ACME_ENV"    # optional: what heartbeats say as their environment, else "production"
    /// events = "any"                  # or [events.NAME] tables with keys = [...]: only these are taken, and
    ///                                 # the events INTEGRATION:... of [integrations.INTEGRATION] tables alike
    /// milestones = ["first_job"]
    /// interactive_milestones = false  # true: they count from an interactive terminal alone
    /// used_before = ["config.toml"]   # any of these in the home: an old user, whose milestones count as reached
    /// notice = "Acme collects ..."    # optional, as all below; told once, in an interactive terminal
    /// runtime = "python"
    /// runtime_version = "3.12.1"
    /// endpoint = "http://127.0.0.1:4318/v1/logs"
    /// format = "otlp"                 # or another: see `Format`
    /// network = { ca_file = "/etc/acme/ca.pem", proxy = "none" }   # see `Network`
    /// otel_environment = false        # true: the variables of OpenTelemetry's exporters count, too
    /// mode = "on"
    /// free_disk_min = 67108864        # bytes that are left to others
    /// spread_seconds = 10.0           # the first delivery of what waited is put off by a random part of this
    /// quota = { bytes = 67108864, events = 1000000, age_days = 90, files = 4096, drop = "oldest" }
    /// setting = "telemetry.enabled"   # what the opt-out is called in the files below
    /// local_file = "acme.toml"        # in the working directory, for the processes started there
    /// dotenv = ".env"                 # the same: lines NAME=VALUE, of which opt_out_env counts
    /// project_file = { file = "pyproject.toml", table = "tool.acme" }   # the same: a file of many programs
    /// profiles = { file = "profiles.toml", default = "main", path_env = "ACME_PROFILES", name_env = "ACME_PROFILE" }
    /// server = { url_env = "ACME_URL", path = "settings" }   # asked before the first delivery
    /// exit = "leave"                  # or { spend_seconds = 2.0 }, or { spawn = "/usr/bin/milepost" }
    ///
    /// [[destination]]                 # several, instead of endpoint and format above: see `Destination`
    /// name = "usage"                  # the first is the one that MILEPOST_ENDPOINT speaks of
    /// endpoint = "https://otel.example.com/v1/logs"
    /// format = "otlp"
    /// headers = { Authorization = "Bearer ..." }
    /// events_max = 100                # a request, at most
    /// timeout_seconds = 30.0          # for a request as a whole
    /// max_age_seconds = 604800        # what is older is dropped
    /// by_program = false              # true: the program delivers by its own means, and there is no endpoint
    ///
    /// [[route]]                       # which events go to whom; without any, all go to everybody
    /// events = "job_*"                # a name, the start of one and *, or *; the first that fits counts
    /// to = ["usage"]
    /// ```
    ///
    /// # Errors
    ///
    /// Names the file and, where TOML knows it, the line of what cannot be used.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let unread = |error: std::io::Error| {
            Error::invalid(format!("cannot read the product file {}", path.display())).with_source(error)
        };
        let found = std::fs::metadata(path).map_err(unread)?;
        if !found.is_file() || found.len() > BYTES_MAX {
            let path = path.display();
            return Err(Error::invalid(format!(
                "the product file {path} is no regular file of at most 1 MiB"
            )));
        }
        let text = std::fs::read_to_string(path).map_err(unread)?;
        let wrong = || format!("the product file {} cannot be used", path.display());
        Self::from_toml(&text).map_err(|error| Error::new(ErrorKind::Invalid, wrong()).with_source(error))
    }

    /// Reads the text of a product file.
    ///
    /// # Errors
    ///
    /// Names, where TOML knows it, the line of what cannot be used.
    pub fn from_toml(text: &str) -> Result<Self> {
        let wrong = |error: toml_edit::de::Error| Error::invalid(error.to_string().trim_end());
        let file: File = toml_edit::de::from_str(text).map_err(wrong)?;
        let product = Product::try_from(file)?;
        product.validate()?;
        Ok(product)
    }

    /// The product as a product file: what lets the program `milepost` speak for a product that is written in
    /// Rust. That it takes the events of integrations which it does not know has no place in it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] names what TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        toml_edit::ser::to_string(&File::from(self)).map_err(|error| {
            Error::invalid(format!("the product {:?} cannot be written as TOML", self.name))
                .with_source(error)
        })
    }
}

impl TryFrom<File> for Product {
    type Error = Error;

    fn try_from(file: File) -> Result<Self> {
        let mut product = Product::new(file.name, file.version).runtime(file.runtime, file.runtime_version);
        product.home = file.home.unwrap_or(product.home);
        product.folder = file.folder.unwrap_or(product.folder);
        product.home_env = file.home_env;
        product.opt_out_env = file.opt_out_env;
        product.files.setting = file.setting;
        product.files.dotenv = file.dotenv;
        product.files.local_file = file.local_file;
        product.files.project_file =
            file.project_file.map(|ProjectTable { file, table }| ProjectFile { file, table });
        product.files.profiles = file.profiles.map(|table| {
            let ProfilesTable { file, default, path_env, name_env } = table;
            Profiles { file, default, path_env, name_env }
        });
        product.files.server = file.server.map(|ServerTable { url_env, path }| Server { url_env, path });
        product.environment_env = file.environment_env;
        product = file.milestones.into_iter().fold(product, Product::milestone);
        product.notice = file.notice;
        product.interactive = file.interactive_milestones;
        product.traces = file.used_before;
        if !file.destinations.is_empty() && (file.endpoint.is_some() || file.format.is_some()) {
            return Err(Error::invalid(
                "endpoint or format stands beside [[destination]], which is instead of them: say them in the first \
                 [[destination]]",
            ));
        }
        product.endpoint = file.endpoint;
        product.format = file.format;
        product.network = file.network;
        product.destinations =
            file.destinations.into_iter().map(Destination::try_from).collect::<Result<_>>()?;
        product.otel_environment = file.otel_environment;
        let rule = |RouteTable { events, to }| RouteRule { events, to };
        product.routes = file.routes.into_iter().map(rule).collect();
        product.mode = file.mode.unwrap_or_default();
        product.free_disk_min = file.free_disk_min.unwrap_or(product.free_disk_min);
        if let Some(seconds) = file.spread_seconds {
            let wrong = |_| Error::invalid(format!("spread_seconds = {seconds} is no length of time"));
            product.spread = Duration::try_from_secs_f64(seconds).map_err(wrong)?;
        }
        if let Some(table) = file.quota {
            let quota = &mut product.quota;
            quota.bytes = table.bytes.unwrap_or(quota.bytes);
            quota.events = table.events.unwrap_or(quota.events);
            quota.age = table.age_days.map_or(quota.age, |days| DAY * days);
            quota.files = table.files.unwrap_or(quota.files);
            quota.drops = table.drop.unwrap_or(quota.drops);
        }
        let takes_any = matches!(file.events, Some(Events::Word(Any::Any)));
        if let Some(Events::Tables(events)) = file.events {
            *product.declared.only().0 =
                events.into_iter().map(|(name, Keys { keys })| (name, keys)).collect();
        }
        for (name, Keys { keys }) in file.integrations.into_iter().filter(|_| !takes_any) {
            product.declared.only().1.add(name, keys);
        }
        product.exit = match file.exit {
            None | Some(ExitEntry::Leave) => Exit::Leave,
            Some(ExitEntry::Spawn(program)) => Exit::Spawn(program),
            Some(ExitEntry::SpendSeconds(seconds)) => {
                let wrong = |_| Error::invalid(format!("spend_seconds = {seconds} is no length of time"));
                Exit::Spend(Duration::try_from_secs_f64(seconds).map_err(wrong)?)
            }
        };
        Ok(product)
    }
}

impl From<&Product> for File {
    fn from(product: &Product) -> Self {
        let mut product = product.clone();
        if let Some(first) = product.destinations.first_mut() {
            // In a file they do not stand beside the list.
            first.endpoint = first.endpoint.take().or(product.endpoint.take());
            first.format = first.format.take().or(product.format.take());
        }
        let tables = |declared: BTreeMap<String, BTreeSet<String>>| {
            declared.into_iter().map(|(name, keys)| (name, Keys { keys })).collect()
        };
        let (events, integrations) = match product.declared {
            Declared::Any => (Events::Word(Any::Any), BTreeMap::new()),
            Declared::Only { events, integrations } => {
                (Events::Tables(tables(events)), tables(integrations.keys))
            }
        };
        let Quota { bytes, events: events_max, age, files, drops } = product.quota;
        Self {
            name: product.name,
            version: product.version,
            home: Some(product.home),
            home_env: product.home_env,
            folder: Some(product.folder),
            opt_out_env: product.opt_out_env,
            setting: product.files.setting,
            dotenv: product.files.dotenv,
            local_file: product.files.local_file,
            project_file: product
                .files
                .project_file
                .map(|ProjectFile { file, table }| ProjectTable { file, table }),
            profiles: product.files.profiles.map(|profiles| {
                let Profiles { file, default, path_env, name_env } = profiles;
                ProfilesTable { file, default, path_env, name_env }
            }),
            server: product.files.server.map(|Server { url_env, path }| ServerTable { url_env, path }),
            environment_env: product.environment_env,
            events: Some(events),
            integrations,
            milestones: product.milestones,
            notice: product.notice,
            interactive_milestones: product.interactive,
            used_before: product.traces,
            endpoint: product.endpoint,
            format: product.format,
            network: product.network,
            otel_environment: product.otel_environment,
            destinations: product.destinations.into_iter().map(DestinationTable::from).collect(),
            routes: product
                .routes
                .into_iter()
                .map(|RouteRule { events, to }| RouteTable { events, to })
                .collect(),
            mode: Some(product.mode),
            free_disk_min: Some(product.free_disk_min),
            spread_seconds: Some(product.spread.as_secs_f64()),
            quota: Some(QuotaTable {
                bytes: Some(bytes),
                // More than TOML counts to is as many as there is room for.
                events: i64::try_from(events_max).is_ok().then_some(events_max),
                age_days: Some((age.as_secs() / DAY.as_secs()) as u32),
                files: Some(files),
                drop: Some(drops),
            }),
            exit: Some(match product.exit {
                Exit::Leave => ExitEntry::Leave,
                Exit::Spend(time) => ExitEntry::SpendSeconds(time.as_secs_f64()),
                Exit::Spawn(program) => ExitEntry::Spawn(program),
            }),
            runtime: product.runtime,
            runtime_version: product.runtime_version,
        }
    }
}

impl TryFrom<DestinationTable> for Destination {
    type Error = Error;

    fn try_from(table: DestinationTable) -> Result<Self> {
        let wrong =
            |seconds: f64| Error::invalid(format!("timeout_seconds = {seconds} is no length of time"));
        let timeout = table
            .timeout_seconds
            .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(|_| wrong(seconds)));
        Ok(Self {
            name: table.name,
            endpoint: table.endpoint,
            is_programs: table.by_program,
            format: table.format,
            headers: table.headers.into_iter().collect(),
            network: table.network,
            events_max: table.events_max,
            timeout: timeout.transpose()?,
            max_age: table.max_age_seconds.map(Duration::from_secs),
        })
    }
}

impl From<Destination> for DestinationTable {
    fn from(destination: Destination) -> Self {
        Self {
            name: destination.name,
            endpoint: destination.endpoint,
            by_program: destination.is_programs,
            format: destination.format,
            headers: destination.headers.into_iter().collect(),
            network: destination.network,
            events_max: destination.events_max,
            timeout_seconds: destination.timeout.map(|timeout| timeout.as_secs_f64()),
            max_age_seconds: destination.max_age.map(|age| age.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::Quota;

    fn read(text: &str) -> Result<Product> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Product::from_file(file.path())
    }

    #[test]
    fn every_key_is_read() {
        let product = read(
            r#"
            name = "acme-worker"
            version = "1.4.0"
            home = "/srv/acme"
            home_env = "ACME_WORKER_HOME"
            folder = "usage"
            opt_out_env = "ACME_TELEMETRY"
            environment_env = "ACME_ENV"
            milestones = ["first_job"]
            notice = "Acme collects"
            interactive_milestones = true
            used_before = ["config.toml"]
            network = { ca_file = "ca.pem", client_certificate = "c", client_key = "k", proxy = "none", gzip = false }
            otel_environment = true
            mode = "local"
            free_disk_min = 1
            spread_seconds = 2.5
            quota = { bytes = 2, events = 5, age_days = 3, files = 4, drop = "newest" }
            setting = "telemetry.enabled"
            dotenv = ".env"
            local_file = "acme.toml"
            project_file = { file = "pyproject.toml", table = "tool.acme" }
            profiles = { file = "profiles.toml", default = "main", path_env = "ACME_PROFILES" }
            server = { url_env = "ACME_URL", path = "settings" }
            exit = { spend_seconds = 1.5 }
            runtime = "python"
            runtime_version = "3.12.1"
            [events.job_finished]
            keys = ["rows", "ok"]
            [integrations.aws]
            keys = ["service"]
            [[destination]]
            name = "usage"
            endpoint = "http://127.0.0.1:4318/v1/logs"
            format = "otlp"
            [[destination]]
            name = "alarms"
            endpoint = "https://alarms.example.com/in"
            format = "webhook"
            headers = { Authorization = "Bearer x" }
            events_max = 7
            timeout_seconds = 2.5
            max_age_seconds = 60
            [[destination]]
            name = "archive"
            by_program = true
            [[route]]
            events = "job_failed"
            to = ["usage", "alarms", "archive"]
            [[route]]
            events = "*"
            to = ["usage"]
            "#,
        )
        .unwrap();
        let home = product.home_directory(None).unwrap();
        assert_eq!(product.directory_in(&home), Path::new("/srv/acme/usage"));
        let profiles = Profiles {
            file: "profiles.toml".into(),
            default: "main".into(),
            path_env: Some("ACME_PROFILES".into()),
            name_env: None,
        };
        assert_eq!(product.files.profiles, Some(profiles));
        let server = Server { url_env: "ACME_URL".into(), path: "settings".into() };
        assert_eq!(product.files.server, Some(server));
        assert_eq!(product.files.setting.as_deref(), Some("telemetry.enabled"));
        assert_eq!(product.files.local_file.as_deref(), Some("acme.toml"));
        assert_eq!(product.files.dotenv.as_deref(), Some(".env"));
        let project = ProjectFile { file: "pyproject.toml".into(), table: "tool.acme".into() };
        assert_eq!(product.files.project_file, Some(project));
        assert_eq!((product.name.as_str(), product.version.as_str()), ("acme-worker", "1.4.0"));
        assert_eq!(product.opt_out_env.as_deref(), Some("ACME_TELEMETRY"));
        assert_eq!(product.environment_env.as_deref(), Some("ACME_ENV"));
        let network = Network::new().ca_file("ca.pem").client_certificate("c").client_key("k");
        let network = network.proxy("none").gzip(false);
        assert_eq!(product.network, network);
        let alarms = Destination::new("alarms")
            .endpoint("https://alarms.example.com/in")
            .format("webhook")
            .header("Authorization", "Bearer x")
            .events_max(7)
            .timeout(Duration::from_millis(2_500))
            .max_age(Duration::from_secs(60));
        // The first has what the product says beside the list.
        let usage = Destination::new("usage").endpoint("http://127.0.0.1:4318/v1/logs").format("otlp");
        let usage = usage.network(network);
        let archive = Destination::new("archive").by_program();
        assert_eq!(product.destinations(), [usage, alarms, archive]);
        assert_eq!(product.routing().of_event("job_failed"), ["usage", "alarms", "archive"]);
        assert!(product.otel_environment);
        assert_eq!(product.mode, Mode::Local);
        let age = Duration::from_secs(3 * 86_400);
        let quota = Quota { bytes: 2, events: 5, age, files: 4, drops: Drops::Newest };
        assert_eq!((product.free_disk_min, product.quota), (1, quota));
        assert_eq!(product.spread, Duration::from_millis(2_500));
        assert!(product.declared.has("job_finished") && !product.declared.has("job_started"));
        assert!(product.declared.has("aws:deployed") && !product.declared.has("gcp:deployed"));
        assert!(product.milestones.contains(&"first_job".to_owned()));
        assert!(product.interactive && product.traces == ["config.toml"]);
        assert_eq!(product.exit, Exit::Spend(Duration::from_millis(1_500)));
        // Whatever is read is written, and read again.
        assert_eq!(Product::from_toml(&product.to_toml().unwrap()).unwrap(), product);
    }

    #[test]
    fn a_product_is_written_as_the_file_that_it_could_have_been_read_from() {
        let spawning = Product::new("a", "1").exit(Exit::Spawn("/opt/a b/milepost".into()));
        for product in [Product::new("a", "1"), spawning] {
            assert_eq!(Product::from_toml(&product.to_toml().unwrap()).unwrap(), product);
        }
        // What stands beside the list in Rust is the first one's.
        let beside =
            Product::new("a", "1").endpoint("http://127.0.0.1:1/").destination(Destination::new("b"));
        let read = Product::from_toml(&beside.to_toml().unwrap()).unwrap();
        assert_eq!(read.destinations(), beside.destinations());
        let prefect = Product::from_toml(&Product::prefect("3.8.8").to_toml().unwrap()).unwrap();
        let directory = |product: &Product| product.directory_in(&product.home_directory(None).unwrap());
        assert_eq!(directory(&prefect), directory(&Product::prefect("3.8.8")));
        assert_eq!(prefect.files, Product::prefect("3.8.8").files);
    }

    #[test]
    fn any_takes_every_event() {
        assert!(read("name = 'a'\nversion = '1'\nevents = 'any'").unwrap().declared.has("whatever"));
    }

    #[test]
    fn a_wrong_file_is_named_with_its_line() {
        for (text, says) in [
            ("name = 'a'\nversion = 1", "line 2"),
            ("name = 'a'\nversion = '1'\ncolour = 'red'", "colour"),
            ("name = 'a'\nversion = '1'\nevents = 'all'", "\"any\""),
            ("name = 'a'\nversion = '1'\nmode = 'sometimes'", "sometimes"),
            ("name = 'a'\nversion = '1'\nexit = 'run'", "run"),
            ("name = 'a'\nversion = '1'\nexit = { spend_seconds = -1.0 }", "-1"),
            ("name = 'a'\nversion = '1'\nquota = { drop = 'all' }", "all"),
            ("name = 'a'\nversion = '1'\n[[route]]\nevents = '*'\nto = ['b']", "no such destination"),
            ("name = 'a'\nversion = '1'\n[[destination]]\nname = 'b'\ncolour = 1", "colour"),
            (
                "name = 'a'\nversion = '1'\nendpoint = 'http://127.0.0.1:1/'\n[[destination]]\nname = 'b'",
                "endpoint or format stands beside [[destination]]",
            ),
            ("name = 'a b'\nversion = '1'", "a b"),
            ("name = ", "line 1"),
        ] {
            let error = read(text).unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains(says), "{text}: {source}");
            assert!(error.to_string().contains("product file"));
        }
    }
}
