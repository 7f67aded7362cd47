//! Headers as they are written down: in an environment variable as OpenTelemetry's exporters take them,
//! `name=value,name=value`, each value with whatever is not plain in it percent-encoded; and values that stand
//! elsewhere, where fewer can read them: `env:NAME`, `file:PATH`.

use std::path::Path;

use crate::error::{Error, Result};
use crate::installation::fs;
use crate::limits::HEADER_FILE_BYTES_MAX;

/// Fetches the values that stand elsewhere.
///
/// # Errors
///
/// [`crate::ErrorKind::Invalid`] names the header and the place that has nothing for it.
pub(super) fn fetched(headers: Vec<(String, String)>) -> Result<Vec<(String, String)>> {
    headers
        .into_iter()
        .map(|(name, value)| match fetch(&value) {
            Ok(Some(fetched)) => Ok((name, fetched)),
            Ok(None) => Ok((name, value)),
            Err(why) => Err(Error::invalid(format!("the header {name} has no value: {why}"))),
        })
        .collect()
}

fn fetch(value: &str) -> Result<Option<String>, String> {
    if let Some(name) = value.strip_prefix("env:") {
        return match std::env::var(name) {
            Ok(value) => Ok(Some(value.trim().to_owned())),
            Err(_) => Err(format!("the environment variable {name} is not set, or no text")),
        };
    }
    let Some(path) = value.strip_prefix("file:") else { return Ok(None) };
    let said = |why: &str| format!("the file {path} {why}");
    let bytes = fs::read_to_limit(Path::new(path), HEADER_FILE_BYTES_MAX)
        .map_err(|error| said(&format!("cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| said("is no text"))?;
    Ok(Some(text.trim().to_owned()))
}

/// # Errors
///
/// Says what is wrong, and never what stands there: it is most often a key.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>> {
    let wrong = || Error::invalid("it is no list of headers: name=value,name=value");
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
            Ok((name.trim().to_owned(), decode(value.trim()).ok_or_else(wrong)?))
        })
        .collect()
}

pub(super) fn format(headers: &[(String, String)]) -> String {
    let pairs: Vec<_> = headers.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    pairs.join(",")
}

fn decode(value: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), value.as_bytes());
    while let [first, more @ ..] = rest {
        let (byte, more) = match (first, more) {
            (b'%', [high, low, more @ ..]) => {
                let digits = [*high, *low];
                (u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?, more)
            }
            (b'%', _) => return None,
            (byte, more) => (*byte, more),
        };
        bytes.push(byte);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

fn encode(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
            _ => text += &format!("%{byte:02X}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_exporters_take_too() {
        let headers = [
            ("authorization".to_owned(), "Bearer a,b=c %41".to_owned()),
            ("x-key".to_owned(), "ß".to_owned()),
        ];
        assert_eq!(parse(&format(&headers)).unwrap(), headers);
        let plain = parse(" api-key=abc , other=Basic%20eDp5== ,").unwrap();
        assert_eq!(
            plain,
            [
                ("api-key".to_owned(), "abc".to_owned()),
                ("other".to_owned(), "Basic x:y==".replace("x:y", "eDp5"))
            ]
        );
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn a_value_is_fetched_from_where_it_stands() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, "Bearer of\n").unwrap();
        let header = |value: String| fetched(vec![("authorization".into(), value)]);
        let value = |of: String| header(of).map(|headers| headers[0].1.clone());
        assert_eq!(value(format!("file:{}", path.display())).unwrap(), "Bearer of");
        assert_eq!(value("env:CARGO_PKG_NAME".into()).unwrap(), "milepost");
        assert_eq!(value("Bearer plain".into()).unwrap(), "Bearer plain");
        for (place, named) in
            [("file:/nowhere/key", "/nowhere/key"), ("env:NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE")]
        {
            let error = header(place.into()).unwrap_err().to_string();
            assert!(error.contains("authorization") && error.contains(named), "{error}");
        }
        std::fs::write(&path, [0xff]).unwrap();
        let error = header(format!("file:{}", path.display())).unwrap_err().to_string();
        assert!(error.contains("is no text"), "{error}");
    }

    #[test]
    fn what_is_no_header_is_refused_without_a_word_of_it() {
        for text in ["secret", "a=%4", "a=%zz", "a=%ff"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret") && !error.contains('%'), "{error}");
        }
    }
}
