//! `milepost enqueue`.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use std::time::{Duration, SystemTime};

use clap::Args;
use milepost::{Client, EnqueueError, Event, Value};
use serde::Deserialize;

use super::Common;
use super::output::{DONE, FAILED, Objection, print_json, print_line, thousands};

/// How long the disk may take.
const SYNC_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest line of standard input: far above the largest event.
const LINE_BYTES_MAX: u64 = 64 * 1024;

#[derive(Args)]
pub(super) struct Enqueue {
    /// The event's name
    #[arg(required_unless_present = "stdin")]
    name: Option<String>,
    /// Properties. What reads as a JSON bool, number or quoted string is that, anything else is text
    #[arg(value_name = "KEY=VALUE", value_parser = property)]
    properties: Vec<(String, Value<'static>)>,
    /// Read lines of {"name", "properties", "time"?} from standard input
    #[arg(long, conflicts_with_all = ["name", "properties"])]
    stdin: bool,
}

/// A line of standard input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    #[serde(default)]
    properties: serde_json::Map<String, serde_json::Value>,
    /// RFC 3339.
    time: Option<String>,
}

impl Enqueue {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let builder = common.builder()?;
        let admin = builder.clone().admin()?;
        let is_declared = |name: &str| match admin.is_declared(name) {
            _ if admin.is_milestone(name) => Err(Objection::Usage(format!(
                "{name} is a milestone: `milepost milestone {name}` reaches it"
            ))),
            true => Ok(()),
            false => Err(Objection::Usage(format!("the product declares no event {name:?}"))),
        };
        let event = self.name.as_ref().map(|name| {
            let properties = self.properties.iter();
            properties.fold(Event::new(name), |event, (key, value)| event.with(key, value.clone()))
        });
        // A call that makes no sense is to leave nothing behind, so this comes before there is a client.
        if let (Some(name), Some(event)) = (&self.name, &event) {
            fits(event)?;
            is_declared(name)?;
        }
        if let Some(reason) = admin.heed_refusal()? {
            return Err(Objection::Refused(reason).into());
        }
        let client = builder.build()?;
        let mut bad_lines = 0;
        match event {
            Some(event) => put(&client, event, None)?,
            None => {
                for (number, line) in (1u64..).zip(lines()).filter(|(_, line)| !is_blank(line)) {
                    let event = line.and_then(|line| parse(&line));
                    let taken = event.and_then(|(name, event, time)| {
                        fits(&event)?;
                        is_declared(&name)?;
                        put(&client, event, time)
                    });
                    if let Err(error) = taken {
                        eprintln!("milepost: line {number}: {error:#}");
                        bad_lines += 1;
                    }
                }
            }
        }
        let durable = client.sync(SYNC_TIMEOUT).and_then(|()| client.shutdown(SYNC_TIMEOUT));
        let stats = client.stats();
        for (rule, properties) in &stats.redacted {
            eprintln!("milepost: {} properties were left out ({rule})", thousands(*properties));
        }
        if common.json {
            let refused: BTreeMap<&str, u64> =
                stats.refused.iter().map(|(reason, events)| (reason.as_str(), *events)).collect();
            print_json(&serde_json::json!({ "accepted": stats.accepted, "refused": refused }))?;
        } else if durable.is_ok() {
            print_line(&format!("{} events are durable", thousands(stats.accepted)))?;
        }
        durable?;
        let lost: u64 = stats.refused.values().sum();
        Ok(if bad_lines == 0 && lost == 0 { DONE } else { FAILED })
    }
}

fn fits(event: &Event) -> Result<(), Objection> {
    match event.broken_limit() {
        Some(limit) => Err(Objection::Usage(format!("the event cannot be taken: {limit}"))),
        None => Ok(()),
    }
}

/// Enqueues one event, and waits for room where the channel is full: a pipe is patient.
fn put(client: &Client, mut event: Event, time: Option<SystemTime>) -> anyhow::Result<()> {
    let time = time.unwrap_or_else(SystemTime::now);
    loop {
        match client.try_enqueue_at(event, time) {
            Ok(()) => return Ok(()),
            Err(EnqueueError::Full(back)) => {
                event = back;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(refused) => anyhow::bail!("{refused}"),
        }
    }
}

/// The lines of standard input.
fn lines() -> impl Iterator<Item = anyhow::Result<Vec<u8>>> {
    let mut input = std::io::stdin().lock();
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        match input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(read) if read as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') => {
                let skipped = input.skip_until(b'\n');
                Some(
                    skipped.map_err(Into::into).and_then(|_| anyhow::bail!("the line is longer than 64 KiB")),
                )
            }
            Ok(_) => Some(Ok(line)),
            Err(error) => Some(Err(error.into())),
        }
    })
}

fn is_blank(line: &anyhow::Result<Vec<u8>>) -> bool {
    line.as_ref().is_ok_and(|line| line.trim_ascii().is_empty())
}

fn parse(line: &[u8]) -> anyhow::Result<(String, Event, Option<SystemTime>)> {
    let line: Line = serde_json::from_slice(line)?;
    let mut event = Event::new(&line.name);
    for (key, value) in line.properties {
        let value = from_json(value)
            .ok_or_else(|| anyhow::anyhow!("property {key:?} is no bool, number or string"))?;
        event = event.with(key, value);
    }
    let time = line.time.map(|time| SystemTime::try_from(time.parse::<jiff::Timestamp>()?)).transpose()?;
    anyhow::ensure!(
        time.is_none_or(|time| time >= SystemTime::UNIX_EPOCH),
        "a time before 1970 has no place"
    );
    Ok((line.name, event, time))
}

/// Reads `KEY=VALUE`.
fn property(text: &str) -> Result<(String, Value<'static>), String> {
    let (key, value) = text.split_once('=').ok_or("a property is KEY=VALUE")?;
    let read = serde_json::from_str(value).ok().and_then(from_json);
    Ok((key.to_owned(), read.unwrap_or_else(|| value.to_owned().into())))
}

/// A JSON scalar as a value: whole numbers that fit are whole, others are floats.
fn from_json(value: serde_json::Value) -> Option<Value<'static>> {
    match value {
        serde_json::Value::Bool(flag) => Some(flag.into()),
        serde_json::Value::String(text) => Some(text.into()),
        serde_json::Value::Number(number) => number
            .as_i64()
            .map(Value::from)
            .or_else(|| number.as_f64().filter(|float| float.is_finite()).map(Value::from)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_it_reads_as() {
        let cases: [(&str, Value<'_>); 10] = [
            ("k=true", true.into()),
            ("k=10", 10.into()),
            ("k=-1.5", (-1.5).into()),
            ("k=\"10\"", "10".into()),
            ("k=01234", "01234".into()),
            ("k=eu", "eu".into()),
            ("k=", "".into()),
            ("k=a=b", "a=b".into()),
            ("k=null", "null".into()),
            ("k=18446744073709551615", 18_446_744_073_709_551_615_f64.into()),
        ];
        for (text, value) in cases {
            assert_eq!(property(text).unwrap(), ("k".to_owned(), value), "{text}");
        }
        assert!(property("k").is_err());
    }
}
