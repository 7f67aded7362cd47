//! What the formats in JSON have in common: names, properties, times.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::read::Owed;
use crate::block::{Class, Origin};
use crate::clock::rfc3339_short;
use crate::event::Value;

/// What the versions are called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// `product_version`, `runtime_version`.
    Common,
    /// Those that Prefect's own telemetry has, for Prefect's events.
    Own,
}

/// An event's properties behind what its origin says, as one object. A property whose name is taken stands under
/// `properties.<name>`.
pub(super) struct Properties<'a>(pub(super) &'a Owed<'a>, pub(super) Names);

/// A value as JSON has it.
struct Json<'a>(&'a Value<'a>);

/// A list of objects that grows behind what stands in `body`.
pub(super) struct List {
    body: Vec<u8>,
    is_empty: bool,
}

impl List {
    pub(super) fn new(head: Vec<u8>) -> Self {
        Self { body: [head, b"[".to_vec()].concat(), is_empty: true }
    }

    pub(super) fn push(&mut self, object: &impl Serialize) {
        if !std::mem::take(&mut self.is_empty) {
            self.body.push(b',');
        }
        put(object, &mut self.body);
    }

    pub(super) fn end(mut self, tail: &[u8]) -> Vec<u8> {
        self.body.push(b']');
        self.body.extend_from_slice(tail);
        self.body
    }
}

impl Names {
    fn versions(self, origin: &Origin) -> [&'static str; 2] {
        match self {
            Names::Own if origin.product == "prefect" => ["prefect_version", "python_version"],
            Names::Own | Names::Common => ["product_version", "runtime_version"],
        }
    }
}

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        put_properties(&mut object, self.0, self.1, &[])?;
        object.end()
    }
}

/// Appends what an origin says, without what it does not know, and an event's own properties to an object that has
/// the keys `taken`.
pub(super) fn put_properties<M: SerializeMap>(
    object: &mut M,
    owed: &Owed<'_>,
    names: Names,
    taken: &[&str],
) -> Result<(), M::Error> {
    let origin = owed.origin;
    let [product, runtime] = names.versions(origin);
    let carried = origin.carried.as_ref();
    let [exported, imported] =
        [carried.map(|carried| carried.exported), carried.map(|carried| carried.imported)]
            .map(|time| time.map(rfc3339_short).unwrap_or_default());
    let about = [
        (product, &origin.product_version),
        (runtime, &origin.runtime_version),
        ("platform", &origin.platform),
        ("architecture", &origin.architecture),
        ("bundle_exported_at", &exported),
        ("bundle_imported_at", &imported),
    ];
    // The last two are said of what a bundle brought alone.
    let about = if carried.is_some() { &about[..] } else { &about[..4] };
    for (key, value) in about.iter().filter(|(_, value)| !value.is_empty()) {
        object.serialize_entry(key, value)?;
    }
    let is_taken = |key: &str| taken.contains(&key) || about.iter().any(|(name, _)| *name == key);
    for (key, value) in owed.properties {
        match is_taken(key) {
            false => object.serialize_entry(key, &Json(value))?,
            true => {
                let other = format!("properties.{key}");
                if !owed.properties.iter().any(|(key, _)| *key == other) {
                    object.serialize_entry(&other, &Json(value))?;
                }
            }
        }
    }
    Ok(())
}

/// A property of the event, or null where it has none of this name.
pub(super) fn property(owed: &Owed<'_>, key: &str) -> impl Serialize {
    let found = owed.properties.iter().find(|(name, _)| *name == key);
    found.map(|(_, value)| serde_json::to_value(Json(value)).unwrap_or_default())
}

/// Milestones are told from other events by their name, where a format has no other place for it.
pub(super) fn kind(owed: &Owed<'_>) -> String {
    let prefix = if owed.class == Class::Milestone { "milestone." } else { "" };
    format!("{prefix}{}", owed.name)
}

/// Appends an object. Its structs have no map with keys that are not strings, and no serializer that fails.
pub(super) fn put(object: &impl Serialize, body: &mut Vec<u8>) {
    let written = serde_json::to_writer(&mut *body, object);
    debug_assert!(written.is_ok(), "{written:?}");
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Text(text) => serializer.serialize_str(text),
        }
    }
}
