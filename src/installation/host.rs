//! What is said of the host: what `uname` prints, and whether it is a container.

use std::ffi::OsString;
use std::path::Path;

use crate::consent::is_ci;

/// The host's platform and architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// `Linux`, `Darwin`.
    pub(crate) platform: String,
    /// `x86_64`, `arm64`.
    pub(crate) architecture: String,
}

impl Host {
    #[cfg(unix)]
    pub(crate) fn this() -> Self {
        let uname = rustix::system::uname();
        Self {
            platform: uname.sysname().to_string_lossy().into_owned(),
            architecture: uname.machine().to_string_lossy().into_owned(),
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn this() -> Self {
        Self { platform: std::env::consts::OS.into(), architecture: std::env::consts::ARCH.into() }
    }
}

/// The name by which the machine calls itself, if it has one.
pub(crate) fn node_name() -> Option<String> {
    #[cfg(unix)]
    return Some(rustix::system::uname().nodename().to_string_lossy().into_owned());
    #[cfg(not(unix))]
    None
}

/// Variables of hosts that live no longer than what runs on them, each as its provider documents it.
const EPHEMERAL: [&str; 13] = [
    // AWS Lambda; ECS and Fargate.
    "AWS_LAMBDA_FUNCTION_NAME",
    "ECS_CONTAINER_METADATA_URI_V4",
    // Google Cloud Run: services and functions, jobs.
    "K_SERVICE",
    "CLOUD_RUN_JOB",
    // Azure Functions; Container Apps.
    "FUNCTIONS_WORKER_RUNTIME",
    "CONTAINER_APP_NAME",
    // Heroku, Vercel, Netlify.
    "DYNO",
    "VERCEL",
    "NETLIFY",
    // Workspaces in a browser: Codespaces, Gitpod, Binder, Cloud Shell.
    "CODESPACES",
    "GITPOD_WORKSPACE_ID",
    "BINDER_SERVICE_HOST",
    "CLOUD_SHELL",
];

/// Whether this is a host that lives no longer than what runs on it: by documented variables alone, those of CI hosts
/// among them. The machine itself is never looked at.
pub(crate) fn is_ephemeral() -> bool {
    is_ci() || has_any(&EPHEMERAL, |name| std::env::var_os(name))
}

fn has_any(names: &[&str], variable: impl Fn(&str) -> Option<OsString>) -> bool {
    names.iter().any(|name| variable(name).is_some_and(|value| !value.is_empty()))
}

/// Whether this is a container, by the markers that Docker, Podman and Kubernetes document.
pub(crate) fn is_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|marker| Path::new(marker).exists())
        || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_documented_variable_alone_says_that_a_host_is_ephemeral() {
        for name in EPHEMERAL {
            assert!(has_any(&EPHEMERAL, |asked| (asked == name).then(|| "x".into())), "{name}");
            assert!(!has_any(&EPHEMERAL, |asked| (asked == name).then(OsString::new)), "{name}, empty");
        }
        assert!(!has_any(&EPHEMERAL, |_| None));
    }
}
