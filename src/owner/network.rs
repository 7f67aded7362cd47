//! What `MILEPOST_CA_FILE` and its like say of the way to the first destination.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::product::Network;

/// # Errors
///
/// [`crate::ErrorKind::Invalid`] names the variable that makes no sense.
pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Network> {
    let path = |name: &str| variable(name).map(PathBuf::from);
    let gzip = match variable("MILEPOST_GZIP").as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(word) => {
            return Err(Error::invalid(format!(
                "MILEPOST_GZIP cannot be used: {word:?} is neither true nor false"
            )));
        }
    };
    Ok(Network {
        ca_file: path("MILEPOST_CA_FILE"),
        client_certificate: path("MILEPOST_CLIENT_CERTIFICATE"),
        client_key: path("MILEPOST_CLIENT_KEY"),
        proxy: variable("MILEPOST_PROXY"),
        gzip,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(said: &[(&str, &str)]) -> Result<Network> {
        read(|name| said.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn each_key_has_its_variable() {
        assert_eq!(of(&[]).unwrap(), Network::new());
        let all = of(&[
            ("MILEPOST_CA_FILE", "/ca.pem"),
            ("MILEPOST_CLIENT_CERTIFICATE", "/c.pem"),
            ("MILEPOST_CLIENT_KEY", "/k.pem"),
            ("MILEPOST_PROXY", "none"),
            ("MILEPOST_GZIP", "false"),
        ]);
        let network = Network::new().ca_file("/ca.pem").client_certificate("/c.pem").client_key("/k.pem");
        assert_eq!(all.unwrap(), network.proxy("none").gzip(false));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let error = of(&[("MILEPOST_GZIP", "1")]).unwrap_err().to_string();
        assert!(error.contains("MILEPOST_GZIP"), "{error}");
    }
}
