//! What the standard variables of OpenTelemetry's exporters say, for a program that asks for them by name:
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>. Those of logs count before those of all signals.

use std::path::PathBuf;
use std::time::Duration;

use super::headers;
use crate::delivery::Format;
use crate::error::{Error, ErrorKind, Result};
use crate::product::Network;

/// What they say of the first destination.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Otel {
    pub(super) endpoint: Option<String>,
    pub(super) format: Option<Format>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) network: Network,
    pub(super) timeout: Option<Duration>,
}

impl Otel {
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] names the variable that makes no sense, and never what stands in it where that may be a
    /// key.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let find = |name: &str| {
            let names =
                ["OTEL_EXPORTER_OTLP_LOGS_", "OTEL_EXPORTER_OTLP_"].map(|start| format!("{start}{name}"));
            names.into_iter().find_map(|name| variable(&name).map(|text| (name, text)))
        };
        let wrong = |name: &str, why: String| Error::invalid(format!("{name} cannot be used: {why}"));
        let format = match find("PROTOCOL") {
            Some((name, word)) => Some(match word.as_str() {
                "http/protobuf" => Format::Otlp,
                "http/json" => Format::OtlpJson,
                _ => return Err(wrong(&name, format!("{word:?} is neither http/protobuf nor http/json"))),
            }),
            None => None,
        };
        let headers = match find("HEADERS") {
            Some((name, text)) => headers::parse(&text).map_err(|error| {
                Error::new(ErrorKind::Invalid, format!("{name} cannot be used")).with_source(error)
            })?,
            None => Vec::new(),
        };
        let timeout = match find("TIMEOUT") {
            Some((name, text)) => {
                let millis =
                    text.trim().parse().map_err(|_| wrong(&name, format!("{text:?} is no number of ms")))?;
                // Zero is no limit, and milepost's own is that.
                Some(Duration::from_millis(millis)).filter(|timeout| !timeout.is_zero())
            }
            None => None,
        };
        let path = |name: &str| find(name).map(|(_, path)| PathBuf::from(path));
        let gzip = match find("COMPRESSION") {
            Some((name, word)) => Some(match word.as_str() {
                "gzip" => true,
                "none" => false,
                _ => return Err(wrong(&name, format!("{word:?} is neither gzip nor none"))),
            }),
            None => None,
        };
        let network = Network {
            ca_file: path("CERTIFICATE"),
            client_certificate: path("CLIENT_CERTIFICATE"),
            client_key: path("CLIENT_KEY"),
            proxy: None,
            gzip,
        };
        let general = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
        let general = general.map(|base| format!("{}/v1/logs", base.trim().trim_end_matches('/')));
        let endpoint = variable("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT").or(general);
        Ok(Self { endpoint, format, headers, network, timeout })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(said: &[(&str, &str)]) -> Result<Otel> {
        Otel::read(|name| said.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn the_general_endpoint_gets_a_path_and_that_of_logs_is_used_as_it_is() {
        for (base, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/logs"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/logs"),
            ("https://h/otlp", "https://h/otlp/v1/logs"),
        ] {
            let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", base);
            assert_eq!(read(&[general]).unwrap().endpoint.as_deref(), Some(url));
            let logs = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://logs/x");
            assert_eq!(read(&[general, logs]).unwrap().endpoint.as_deref(), Some("https://logs/x"));
        }
        assert_eq!(read(&[]).unwrap(), Otel::default());
    }

    #[test]
    fn what_is_said_of_logs_counts_before_what_is_said_of_all_signals() {
        let otel = read(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
            ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "authorization=Bearer%20x,b=2"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
            ("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "/ca.pem"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/other.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/c.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k.pem"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "1500"),
        ])
        .unwrap();
        let headers = [("authorization", "Bearer x"), ("b", "2")];
        let expected = Otel {
            endpoint: None,
            format: Some(Format::OtlpJson),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            network: Network::new()
                .ca_file("/ca.pem")
                .client_certificate("/c.pem")
                .client_key("/k.pem")
                .gzip(false),
            timeout: Some(Duration::from_millis(1_500)),
        };
        assert_eq!(otel, expected);
    }

    #[test]
    fn what_makes_no_sense_is_named_and_no_key_repeated() {
        for (name, text) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "sesame"),
        ] {
            let error = read(&[(name, text)]).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("sesame"), "{error}");
        }
    }
}
