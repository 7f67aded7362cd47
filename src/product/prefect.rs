//! Prefect's telemetry as a product: <https://docs.prefect.io/concepts/telemetry>.

use crate::product::{DEFAULT, Declared, Destination, HEARTBEAT, Integrations, Product};

/// The milestones of Prefect's quick start, in the page's order.
const MILESTONES: [&str; 5] = [
    "first_sdk_import",
    "first_flow_defined",
    "first_flow_run",
    "first_deployment_created",
    "first_schedule_created",
];

/// What a home that was used before the telemetry came holds any of.
const TRACES: [&str; 4] = ["profiles.toml", ".prefect.db", "prefect.db", "storage"];

/// Where heartbeats go, once somebody says where that is.
const HEARTBEATS: &str = "heartbeats";

const NOTICE: &str = "Prefect collects anonymous usage data to improve the product.
To opt out: PREFECT_SERVER_ANALYTICS_ENABLED=false or DO_NOT_TRACK=1
Learn more: https://docs.prefect.io/concepts/telemetry";

impl Product {
    /// Prefect's own telemetry, in the version given: its directory, its opt-outs, its milestones.
    ///
    /// It names no endpoint. One alone, by whatever means, is that of the destination `default`, and gets everything.
    /// Prefect's server sends its heartbeats elsewhere than its SDK sends its events, and so does whoever gives the
    /// destination `heartbeats` an endpoint, too: then heartbeats go there alone, as webhooks in Prefect's own words.
    ///
    /// ```
    /// use milepost::{Destination, Product};
    /// let heartbeats = Destination::new("heartbeats").format("webhook").endpoint("https://example.com/beats");
    /// let product = Product::prefect("3.8.8").destination(heartbeats);
    /// ```
    pub fn prefect(version: impl Into<String>) -> Self {
        let mut product = Product::new("prefect", version)
            .home("~/.prefect")
            .home_env("PREFECT_HOME")
            .folder(".sdk_telemetry")
            .opt_out_env("PREFECT_SERVER_ANALYTICS_ENABLED")
            .setting("server.analytics_enabled")
            .dotenv(".env")
            .local_file("prefect.toml")
            .project_file("pyproject.toml", "tool.prefect")
            .profiles("profiles.toml", "ephemeral")
            .profiles_env("PREFECT_PROFILES_PATH", "PREFECT_PROFILE")
            .server("PREFECT_API_URL", "admin/settings")
            .environment_env("PREFECT_API_TELEMETRY_ENVIRONMENT")
            .notice(NOTICE)
            .interactive_milestones()
            .destination(Destination::new(DEFAULT))
            .destination(Destination::new(HEARTBEATS).format("webhook"))
            .route(HEARTBEAT, [HEARTBEATS])
            .route("*", [DEFAULT]);
        product.traces = TRACES.map(String::from).into();
        product.runtime = "python".into();
        product.milestones = MILESTONES.map(String::from).into();
        let milestones = MILESTONES.map(|name| (name.to_owned(), [].into()));
        let heartbeat = (HEARTBEAT.to_owned(), product.heartbeat_keys().into());
        product.declared = Declared::Only {
            events: milestones.into_iter().chain([heartbeat]).collect(),
            integrations: Integrations::any(),
        };
        product
    }
}
