//! Where a destination is, checked before anything is sent there.

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;

use crate::{Error, Result};

/// The URL of a receiver: `https`, or plain `http` where it cannot be overheard or somebody allowed it.
///
/// Printed without its query, which is where receivers expect keys.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    uri: Uri,
    loopback: bool,
}

impl Endpoint {
    /// Reads a whole URL, the path included: `https://otel.example.com/v1/logs`.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Invalid`], with what to write instead. The message never repeats the URL, which may
    /// hold a key.
    pub(crate) fn parse(url: &str, plain_http_allowed: bool) -> Result<Self> {
        let form = "write it as https://HOST/PATH, for example https://otel.example.com/v1/logs";
        let uri: Uri = url
            .trim()
            .parse()
            .map_err(|err| Error::invalid(format!("the endpoint is not a URL: {form}")).with_source(err))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(Error::invalid(format!("the endpoint has no scheme or no host: {form}")));
        };
        if authority.as_str().contains('@') {
            return Err(Error::invalid(
                "the endpoint holds a user or password before its host: send them as a header instead, \
                 for example Authorization",
            ));
        }
        if authority.host().is_empty() || (authority.as_str() != authority.host() && uri.port_u16().is_none())
        {
            return Err(Error::invalid(format!("the endpoint's host or port makes no sense: {form}")));
        }
        let loopback = is_loopback(authority.host());
        match scheme {
            "https" if cfg!(feature = "tls") => {}
            "https" => {
                return Err(Error::invalid(
                    "the endpoint is https, and this build has no TLS: build milepost with its feature `tls`",
                ));
            }
            "http" if loopback || plain_http_allowed => {}
            "http" => {
                return Err(Error::invalid(
                    "the endpoint is plain http, which anybody on the way can read and change: use https, or \
                     allow plain http by name where the network is your own",
                ));
            }
            other => {
                return Err(Error::invalid(format!(
                    "the endpoint's scheme {other:?} is not https or http: {form}"
                )));
            }
        }
        Ok(Self { uri, loopback })
    }

    /// Whether the receiver is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// Whether nobody on the way can read what is sent.
    pub(crate) fn is_secure(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Whether others on the way can read and change what is sent, which somebody allowed.
    pub(crate) fn is_plain_to_others(&self) -> bool {
        !self.loopback && self.uri.scheme_str() == Some("http")
    }

    pub(super) fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// An address of IPv6 without its brackets, and the scheme's port where none is named.
    pub(super) fn host_and_port(&self) -> (&str, u16) {
        let host = self.uri.host().unwrap_or_default();
        let port = self.uri.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 });
        (host.trim_start_matches('[').trim_end_matches(']'), port)
    }

    /// The whole URL, which may hold a key: to tell endpoints apart, never to be printed.
    pub(crate) fn url(&self) -> String {
        self.uri.to_string()
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let authority = self.uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        write!(f, "{scheme}://{authority}{}", self.uri.path())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_refused_with_what_to_write_instead() {
        let cases = [
            ("", "not a URL"),
            ("otel example", "not a URL"),
            ("/v1/logs", "no scheme"),
            ("otel.example.com", "no scheme"),
            ("otel.example.com:4318", "no scheme"),
            ("ftp://otel.example.com/", "\"ftp\" is not https or http"),
            ("http://otel.example.com/v1/logs", "allow plain http by name"),
            ("http://127.0.0.1.example.com/", "allow plain http by name"),
            ("http://localhost.example.com/", "allow plain http by name"),
            ("http://127.0.0.1:99999/", "port makes no sense"),
            ("http://127.0.0.1:/", "port makes no sense"),
            ("http://user:s3cret@127.0.0.1/", "as a header instead"),
        ];
        for (url, words) in cases {
            let message = Endpoint::parse(url, false).unwrap_err().to_string();
            assert!(message.contains(words), "{url}: {message}");
            assert!(!message.contains("s3cret"));
        }
    }

    #[test]
    fn plain_http_goes_to_this_machine_or_where_it_is_allowed() {
        for url in
            ["http://127.0.0.1:4318/v1/logs", "http://127.8.9.1", "http://[::1]:1/", "http://LOCALHOST/"]
        {
            assert!(Endpoint::parse(url, false).unwrap().is_loopback(), "{url}");
        }
        let allowed = Endpoint::parse("http://otel.example.com:4318/v1/logs", true).unwrap();
        assert!(!allowed.is_loopback());
    }

    #[test]
    fn https_needs_the_feature() {
        let parsed = Endpoint::parse("https://otel.example.com/v1/logs", false);
        assert_eq!(parsed.is_ok(), cfg!(feature = "tls"));
        if let Err(err) = parsed {
            assert!(err.to_string().contains("feature `tls`"));
        }
    }

    #[test]
    fn a_printed_endpoint_has_no_query() {
        let endpoint = Endpoint::parse("http://127.0.0.1:8123/in?key=s3cret#part", false).unwrap();
        assert_eq!(format!("{endpoint} {endpoint:?}"), "http://127.0.0.1:8123/in http://127.0.0.1:8123/in");
    }
}
