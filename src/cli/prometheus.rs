//! `milepost status --prometheus`: every counter in the text format that node_exporter's textfile collector reads
//! (Prometheus' exposition format 0.0.4).

use std::fmt::Write;

use milepost::Status;
use serde::Serialize;

/// How the value of a metric behaves.
#[derive(Clone, Copy)]
enum Kind {
    /// Only grows.
    Counter,
    Gauge,
}

/// Metrics as they are written, one family after the other.
struct Exposition<'a> {
    product: &'a str,
    text: String,
}

/// The whole text. `product` is a label of every metric, so that several products can stand in one directory of files.
pub(super) fn text(product: &str, status: &Status) -> String {
    let mut out = Exposition { product, text: String::new() };
    out.one("collecting", Kind::Gauge, "Whether events are collected.", status.collecting.into());
    out.one("accepted_events", Kind::Counter, "Events that ever reached the disk.", status.accepted);
    out.one("waiting_events", Kind::Gauge, "Events that wait.", status.waiting.events);
    let exported = "Those of them that are on bundles, and wait for a receipt.";
    out.one("exported_events", Kind::Gauge, exported, status.waiting.exported);
    out.one("waiting_bytes", Kind::Gauge, "Bytes of the blocks that wait.", status.waiting.bytes);
    if let Some(oldest) = seconds(status.waiting.oldest.as_deref()) {
        out.one(
            "oldest_waiting_timestamp_seconds",
            Kind::Gauge,
            "When the oldest that waits was enqueued.",
            oldest,
        );
    }
    let unreadable = status.waiting.unreadable_journals;
    out.one(
        "unreadable_journals",
        Kind::Gauge,
        "Journals of a newer version, which wait for it.",
        unreadable,
    );
    out.one("damages", Kind::Counter, "Places on disk where bytes were damaged.", status.damaged);
    out.one("failed_syncs", Kind::Counter, "Syncs that the disk did not do.", status.failed_syncs);
    out.one("disk_bytes", Kind::Gauge, "What the telemetry directory takes on the disk.", status.disk_bytes);
    let dropped = status.dropped.iter().map(|(reason, events)| (label("reason", &word(reason)), *events));
    out.many("dropped_events", Kind::Counter, "Accepted events that will never be delivered.", dropped);
    let refused = status.refused.iter().map(|(reason, events)| (label("reason", &word(reason)), *events));
    out.many("refused_events", Kind::Counter, "Events that never reached the disk.", refused);
    let redacted = status.redacted.iter().map(|(rule, properties)| (label("rule", rule), *properties));
    out.many("redacted_properties", Kind::Counter, "Properties that were left out.", redacted);

    let each = |value: fn(&milepost::DestinationStatus) -> Option<u64>| {
        let all = status.destinations.iter();
        all.filter_map(move |found| Some((label("destination", &found.name), value(found)?)))
    };
    let routed = each(|destination| Some(destination.accepted));
    out.many("routed_events", Kind::Counter, "Events that were for the receiver.", routed);
    let delivered = each(|destination| Some(destination.delivered));
    out.many("delivered_events", Kind::Counter, "Events that the receiver took.", delivered);
    let undelivered = status.destinations.iter().flat_map(|found| {
        let label_of = |reason| label("destination", &found.name) + "," + &label("reason", &word(reason));
        found.dropped.iter().map(move |(reason, events)| (label_of(reason), *events))
    });
    let help = "Events that the receiver will never get.";
    out.many("undelivered_events", Kind::Counter, help, undelivered);
    let owed = each(|destination| Some(destination.waiting));
    out.many("owed_events", Kind::Gauge, "Events that wait for the receiver.", owed);
    // One that is sent again is dead no longer.
    let dead = each(|destination| Some(destination.dead));
    out.many("dead_events", Kind::Gauge, "Events that the receiver refused for good.", dead);
    let held = each(|destination| Some(destination.held.is_some().into()));
    out.many("held", Kind::Gauge, "Whether delivery is held until somebody mends a setting.", held);
    let last = each(|destination| seconds(destination.last_delivery.as_deref()));
    out.many("last_delivery_timestamp_seconds", Kind::Gauge, "When the receiver last took any.", last);
    out.text
}

impl Exposition<'_> {
    fn one(&mut self, name: &str, kind: Kind, help: &str, value: u64) {
        let name = self.family(name, kind, help);
        let product = escaped(self.product);
        // Writing into a String cannot fail.
        let _ = writeln!(self.text, "{name}{{product=\"{product}\"}} {value}");
    }

    /// A value for each of several labels. A family without any is left out: there is nothing to say of it.
    fn many(&mut self, name: &str, kind: Kind, help: &str, values: impl Iterator<Item = (String, u64)>) {
        let mut values = values.peekable();
        if values.peek().is_none() {
            return;
        }
        let name = self.family(name, kind, help);
        let product = escaped(self.product);
        for (labels, value) in values {
            let _ = writeln!(self.text, "{name}{{product=\"{product}\",{labels}}} {value}");
        }
    }

    /// Writes what the family is, and returns its name.
    fn family(&mut self, name: &str, kind: Kind, help: &str) -> String {
        let (name, kind) = match kind {
            Kind::Counter => (format!("milepost_{name}_total"), "counter"),
            Kind::Gauge => (format!("milepost_{name}"), "gauge"),
        };
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        name
    }
}

fn label(name: &str, word: &str) -> String {
    format!("{name}=\"{}\"", escaped(word))
}

/// A reason's word, as `status --json` has it.
fn word(reason: &impl Serialize) -> String {
    let word = serde_json::to_value(reason).ok();
    word.as_ref().and_then(|word| word.as_str()).unwrap_or_default().to_owned()
}

fn escaped(label: &str) -> String {
    label.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// Seconds since the Unix epoch of an RFC 3339 time.
fn seconds(time: Option<&str>) -> Option<u64> {
    let time: jiff::Timestamp = time?.parse().ok()?;
    u64::try_from(time.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_may_be_any_text() {
        assert_eq!(escaped("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
