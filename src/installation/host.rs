//! What is said of the host: what `uname` prints, and whether it is a container.

use std::path::Path;

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

/// Whether this is a container, by the markers that Docker, Podman and Kubernetes document.
pub(crate) fn is_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|marker| Path::new(marker).exists())
        || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}
