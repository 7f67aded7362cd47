//! Where a product keeps what a person set, beside the environment and the telemetry directory.

/// The settings files and the server of a product, as far as they have a word in consent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SettingsFiles {
    /// What the opt-out is called in files, in parts: `server.analytics_enabled`.
    pub(crate) setting: Option<String>,
    /// Files of the working directory, in the order in which they are asked. They speak for the process alone: one
    /// with variables, one of the product's own, one of the project's.
    pub(crate) dotenv: Option<String>,
    pub(crate) local_file: Option<String>,
    pub(crate) project_file: Option<ProjectFile>,
    pub(crate) profiles: Option<Profiles>,
    pub(crate) server: Option<Server>,
}

/// A file with settings of many programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProjectFile {
    pub(crate) file: String,
    /// The table in which the product's stand, in parts: `tool.acme`.
    pub(crate) table: String,
}

/// A file with a table of settings for each of several profiles, one of which is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profiles {
    /// In the product's home.
    pub(crate) file: String,
    /// The profile that is active where nobody named one.
    pub(crate) default: String,
    /// The variable that names another file, for the process alone.
    pub(crate) path_env: Option<String>,
    /// The variable that names the profile, for the process alone.
    pub(crate) name_env: Option<String>,
}

/// A server of the product's own, whose settings count for the processes that talk to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// The variable, or the profile's entry, that names it.
    pub(crate) url_env: String,
    /// Where it answers with its settings, below its URL.
    pub(crate) path: String,
}
