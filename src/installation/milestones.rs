//! `milestones.json`: which milestones were reached, for the product's own code to read and write.
//!
//! Prefect's format: a JSON object, name -> `true`, indented by two spaces, without a newline at the end. Whatever
//! else stands in it keeps its value, to the byte, and its place.

use std::fmt;
use std::io;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fs;
use crate::limits::MILESTONES_BYTES_MAX;

/// What stands in the file.
#[derive(Debug, Default)]
pub(crate) struct Milestones {
    entries: Vec<(String, Box<RawValue>)>,
}

/// Why it cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MilestonesError {
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// Whoever writes it in place may be at it just now.
    #[error("it is no JSON object")]
    Unparsable,
}

impl Milestones {
    /// Reads the file; one that is not there is empty.
    pub(crate) fn read(path: &Path) -> Result<Self, MilestonesError> {
        let bytes = match fs::read_to_limit(path, MILESTONES_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(MilestonesError::Unparsable);
            }
            bytes => bytes?,
        };
        serde_json::from_slice(&bytes).map_err(|_| MilestonesError::Unparsable)
    }

    /// The same, and of a file that is no JSON what can still be read.
    pub(crate) fn read_legible(path: &Path) -> io::Result<Self> {
        match Self::read(path) {
            Ok(file) => Ok(file),
            Err(MilestonesError::Io(error)) => Err(error),
            Err(MilestonesError::Unparsable) => match fs::read_to_limit(path, MILESTONES_BYTES_MAX) {
                // Too large to be one.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Self::default()),
                bytes => bytes.map(|bytes| Self::legible(&bytes)),
            },
        }
    }

    /// What can still be read in what is no JSON: entries as they stand, up to the first place that makes no sense, and
    /// behind it names with the value `true`.
    pub(crate) fn legible(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut file = Self::default();
        // What was read before an error stays read.
        let _ = serde_json::Deserializer::from_str(&text).deserialize_map(Entries(&mut file.entries));
        let is_cut =
            |value: &str| text.ends_with(value) && value.ends_with(|last: char| last.is_ascii_digit());
        if file.entries.last().is_some_and(|(_, value)| is_cut(value.get())) {
            file.entries.pop();
        }
        for name in legible_names(&text) {
            file.reach(name);
        }
        file
    }

    /// The names that count as reached: those whose value Python takes for true.
    pub(crate) fn reached(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|(_, value)| is_true(value.get())).map(|(name, _)| name.as_str())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.reached().any(|reached| reached == name)
    }

    /// Marks `name` as reached. `false` where it was.
    pub(crate) fn reach(&mut self, name: &str) -> bool {
        if self.has(name) {
            return false;
        }
        let Ok(reached) = RawValue::from_string("true".into()) else { return false };
        match self.entries.iter_mut().find(|(known, _)| known == name) {
            Some((_, value)) => *value = reached,
            None => self.entries.push((name.to_owned(), reached)),
        }
        true
    }

    /// Replaces the file, durably, if it still is as it was when it was read: whoever reads it sees the old text or the
    /// new one. `false` where somebody wrote it meanwhile.
    pub(crate) fn write(&self, path: &Path, is_as_read: impl FnOnce() -> bool) -> io::Result<bool> {
        fs::replace_if(path, self.to_string().as_bytes(), is_as_read)
    }
}

fn legible_names(text: &str) -> impl Iterator<Item = &str> {
    // A name stands between two quotes, and its value in the piece behind.
    let pieces: Vec<_> = text.split('"').collect();
    let is_true = |rest: &str| {
        rest.trim_start().strip_prefix(':').is_some_and(|value| value.trim_start().starts_with("true"))
    };
    let behind = pieces.clone().into_iter().skip(2);
    let named = pieces.into_iter().skip(1).zip(behind).filter(move |(_, rest)| is_true(rest));
    named.map(|(name, _)| name).filter(|name| crate::event::is_name(name))
}

fn is_true(value: &str) -> bool {
    let is_zero = || value.parse::<f64>().is_ok_and(|number| number == 0.0);
    !(matches!(value, "false" | "null" | "\"\"") || is_empty(value) || is_zero())
}

/// Whether it is an object or a list with nothing in it.
fn is_empty(value: &str) -> bool {
    let inner = value.strip_prefix(['{', '[']).and_then(|value| value.strip_suffix(['}', ']']));
    inner.is_some_and(|inner| inner.trim().is_empty())
}

impl fmt::Display for Milestones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.entries.is_empty() {
            return f.write_str("{}");
        }
        for (at, (name, value)) in self.entries.iter().enumerate() {
            let before = if at == 0 { "{" } else { "," };
            write!(f, "{before}\n  {}: {}", quoted(name), value.get())?;
        }
        f.write_str("\n}")
    }
}

/// A JSON string as Python writes it: in ASCII alone.
fn quoted(name: &str) -> String {
    let mut text = String::new();
    for part in serde_json::Value::from(name).to_string().chars() {
        match part {
            ' '..='\x7e' => text.push(part),
            _ => part.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text += &format!("\\u{unit:04x}")),
        }
    }
    text
}

impl<'de> Deserialize<'de> for Milestones {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut file = Self::default();
        deserializer.deserialize_map(Entries(&mut file.entries))?;
        Ok(file)
    }
}

/// Where the entries of an object go, one by one.
struct Entries<'a>(&'a mut Vec<(String, Box<RawValue>)>);

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            match self.0.iter_mut().find(|(known, _)| *known == name) {
                // Of a name that stands there twice Python takes the last value.
                Some((_, known)) => *known = value,
                None => self.0.push((name, value)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Milestones {
        serde_json::from_str(text).unwrap()
    }

    /// What `json.dumps(marks, indent=2)` writes.
    #[test]
    fn the_text_is_prefects_byte_for_byte() {
        let mut marks = Milestones::default();
        assert_eq!(marks.to_string(), "{}");
        assert!(marks.reach("first_flow_run"));
        assert_eq!(marks.to_string(), "{\n  \"first_flow_run\": true\n}");
        assert!(!marks.reach("first_flow_run"));
        assert!(marks.reach("first_sdk_import"));
        assert_eq!(marks.to_string(), "{\n  \"first_flow_run\": true,\n  \"first_sdk_import\": true\n}");
        assert_eq!(parse(&marks.to_string()).to_string(), marks.to_string());
    }

    #[test]
    fn what_else_stands_there_keeps_its_value_and_its_place() {
        let text = "{\n  \"z\": 1.50,\n  \"a\": {\n    \"b\": [\n      1e400\n    ]\n  },\n  \"\\u00fc\\ud83d\\ude00\": \"\\u00e9\"\n}";
        let mut marks = parse(text);
        assert_eq!(marks.to_string(), text);
        marks.reach("first_flow_run");
        let before = text.strip_suffix("\n}").unwrap();
        assert_eq!(marks.to_string(), format!("{before},\n  \"first_flow_run\": true\n}}"));
    }

    #[test]
    fn a_name_counts_as_reached_where_python_takes_its_value_for_true() {
        let marks = parse(
            r#"{"a": true, "b": false, "c": null, "d": 0, "e": 0.0, "f": "", "g": [], "h": { }, "i": 1, "j": "x",
                "k": [0], "l": false, "l": true}"#,
        );
        assert_eq!(marks.reached().collect::<Vec<_>>(), ["a", "i", "j", "k", "l"]);
        let mut marks = parse("{\"a\": false, \"b\": true}");
        assert!(marks.reach("a"));
        assert_eq!(marks.to_string(), "{\n  \"a\": true,\n  \"b\": true\n}");
    }

    #[test]
    fn what_can_still_be_read_in_half_a_file_counts() {
        let whole = "{\n  \"first_sdk_import\": true,\n  \"first_flow_run\": true,\n  \"no\": false\n}";
        let reached =
            |bytes: &[u8]| Milestones::legible(bytes).reached().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(reached(whole.as_bytes()), ["first_sdk_import", "first_flow_run"]);
        assert_eq!(reached(&whole.as_bytes()[..50]), ["first_sdk_import"]);
        assert_eq!(reached(b"\xff\xfe\"a\": true \"b c\": true"), ["a"]);
        assert_eq!(reached(b""), Vec::<String>::new());
        for end in 0..whole.len() {
            let read: Result<Milestones, _> = serde_json::from_slice(&whole.as_bytes()[..end]);
            assert!(read.is_err(), "half a file is no file");
            assert!(reached(&whole.as_bytes()[..end]).len() <= 2);
        }
    }

    #[test]
    fn what_else_can_be_read_in_half_a_file_keeps_its_value_and_its_place() {
        let whole =
            "{\n  \"z\": 1.50,\n  \"one\": true,\n  \"a\": {\n    \"b\": 12\n  },\n  \"two\": true\n}";
        let legible = |text: &str| Milestones::legible(text.as_bytes()).to_string();
        assert_eq!(legible(whole.strip_suffix("\n}").unwrap()), whole);
        let torn = whole.replace("\"a\": {", "\"a\": \0\0");
        assert_eq!(legible(&torn), "{\n  \"z\": 1.50,\n  \"one\": true,\n  \"two\": true\n}");
        // Of a number that ends with the file nobody knows whether it is whole.
        assert_eq!(legible("{\"one\": true, \"z\": 1.5"), "{\n  \"one\": true\n}");
        assert_eq!(legible("{\"one\": true, \"z\": 1.5 "), "{\n  \"one\": true,\n  \"z\": 1.5\n}");
        assert_eq!(legible("[]"), "{}");
    }

    #[test]
    fn a_file_that_is_missing_is_empty_and_one_that_is_no_object_is_unparsable() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("milestones.json");
        assert_eq!(Milestones::read(&path).unwrap().reached().count(), 0);
        let large = " ".repeat(MILESTONES_BYTES_MAX as usize + 1);
        for text in ["", "[]", "true", "{\"a\": tru", "{} {}", &large] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(Milestones::read(&path), Err(MilestonesError::Unparsable)), "{text:.10}");
        }
    }
}
