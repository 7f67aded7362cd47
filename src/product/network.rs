//! How a receiver is reached.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How a receiver is reached, where its URL does not say it all: whose certificates count, by which proxy, whether
/// requests are packed.
///
/// ```
/// use milepost::{Network, Product};
/// let network = Network::new().ca_file("/etc/acme/ca.pem").proxy("http://proxy.example.com:3128");
/// let product = Product::new("acme-worker", "1.4.0").network(network);
/// ```
///
/// As `network = { ca_file = "/etc/acme/ca.pem", proxy = "http://proxy.example.com:3128" }` in a product file.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) client_certificate: Option<PathBuf>,
    pub(crate) client_key: Option<PathBuf>,
    pub(crate) proxy: Option<String>,
    pub(crate) gzip: Option<bool>,
}

impl Network {
    /// Nothing but defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file of certificates in PEM: a receiver is trusted if one of these vouches for it, and nobody else counts.
    /// Defaults to Mozilla's, and with the feature `platform-verifier` to those that the system trusts.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// A file with a certificate in PEM, and those that vouch for it, by which a receiver knows who sends.
    #[must_use]
    pub fn client_certificate(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_certificate = Some(path.into());
        self
    }

    /// A file with that certificate's private key in PEM. Defaults to the file of the certificate.
    #[must_use]
    pub fn client_key(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_key = Some(path.into());
        self
    }

    /// The URL of a proxy (`http`, `https`, `socks4`, `socks4a`, `socks5`, `socks5h`), or `none`. It is never printed.
    /// Defaults to what `HTTPS_PROXY`, for plain HTTP `HTTP_PROXY`, or `ALL_PROXY` names, but for a receiver on this
    /// machine. Hosts of `NO_PROXY` are reached without it, whoever named it.
    #[must_use]
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// Whether requests are packed by gzip in formats whose receivers mostly take that. Defaults to yes.
    #[must_use]
    pub fn gzip(mut self, gzip: bool) -> Self {
        self.gzip = Some(gzip);
        self
    }

    /// What is said here, and for the rest what is said there. A certificate and its key go together.
    #[must_use]
    pub(crate) fn over(self, other: &Self) -> Self {
        let of_certificate = if self.client_certificate.is_some() { &self } else { other };
        Self {
            client_key: self.client_key.clone().or_else(|| of_certificate.client_key.clone()),
            client_certificate: of_certificate.client_certificate.clone(),
            ca_file: self.ca_file.or_else(|| other.ca_file.clone()),
            proxy: self.proxy.or_else(|| other.proxy.clone()),
            gzip: self.gzip.or(other.gzip),
        }
    }
}

/// Never the proxy, whose URL may hold a password.
impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("ca_file", &self.ca_file)
            .field("client_certificate", &self.client_certificate)
            .field("client_key", &self.client_key)
            .field("gzip", &self.gzip)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_flag_does_not_say_the_product_does() {
        let product = Network::new().ca_file("a").client_certificate("c").client_key("k").proxy("none");
        let flags = Network::new().ca_file("b").gzip(false);
        let both = flags.over(&product);
        assert_eq!(both, product.clone().ca_file("b").gzip(false));
        // The key of one certificate is none of another's.
        let both = Network::new().client_certificate("d").over(&product);
        assert_eq!(both, Network { client_key: None, ..product.client_certificate("d") });
    }

    #[test]
    fn no_password_is_printed() {
        let network = Network::new().proxy("http://user:sesame@proxy.example.com:3128");
        assert!(!format!("{network:?}").contains("sesame"));
    }
}
