//! `milepost export`.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use clap::Args;
use milepost::{Admin, Exported, LineFormat, Selection};

use super::Common;
use super::flush::{progress_bar, stop_on_ctrl_c};
use super::output::{DONE, Objection, print_json, print_line, thousands};

#[derive(Args)]
pub(super) struct Export {
    /// The file to write
    #[arg(required_unless_present_any = ["cancel", "remove"])]
    file: Option<PathBuf>,
    /// None that was enqueued before: a time as 2026-11-24T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<SystemTime>,
    /// None that was enqueued then or later
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<SystemTime>,
    /// Several files, FILE.001 and so on, none of which is larger
    #[arg(long, value_name = "BYTES", conflicts_with = "format")]
    max_bytes: Option<u64>,
    /// A copy for whoever knows nothing of milepost, instead of a bundle: otlp-json-lines, ndjson or
    /// cloudevents-jsonl. The events wait and are sent as before, and no receipt will come
    #[arg(long, value_parser = str::parse::<LineFormat>)]
    format: Option<LineFormat>,
    /// A bundle, or its id, that went lost: its events are sent from here again
    #[arg(long, value_name = "BUNDLE", conflicts_with_all = ["file", "remove"])]
    cancel: Option<String>,
    /// A bundle, or its id, that arrived and for which no receipt will come: its events are deleted here
    #[arg(long, value_name = "BUNDLE", conflicts_with = "file")]
    remove: Option<String>,
}

impl Export {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let admin = common.builder()?.admin()?;
        if let Some(bundle) = &self.cancel {
            let events = admin.cancel_export(bundle)?;
            return said(common, "cancelled", events, "wait for a receiver again");
        }
        if let Some(bundle) = &self.remove {
            let events = admin.remove_export(bundle)?;
            return said(common, "removed", events, "were deleted here");
        }
        let Some(file) = &self.file else { return Err(Objection::Usage("a file is needed".into()).into()) };
        let selection = Selection { since: self.since, until: self.until, bytes_max: self.max_bytes };
        match self.format {
            Some(format) => {
                let events = admin.export_lines(file, format, &selection)?;
                said(common, "written", events, "were copied, and wait as before")
            }
            None => write(common, &admin, file, &selection),
        }
    }
}

fn write(
    common: &Common,
    admin: &Admin,
    file: &std::path::Path,
    selection: &Selection,
) -> anyhow::Result<u8> {
    let (stop, bar) = (stop_on_ctrl_c()?, progress_bar(common.json));
    bar.set_length(admin.status().waiting.events);
    let exported = admin.export(file, selection, &mut |events| {
        bar.set_position(events);
        !stop.load(Ordering::Relaxed)
    });
    bar.finish_and_clear();
    print(&exported?, common.json)
}

fn print(exported: &[Exported], json: bool) -> anyhow::Result<u8> {
    let events: u64 = exported.iter().map(|exported| exported.bundle.events).sum();
    if json {
        print_json(&serde_json::json!({ "events": events, "bundles": exported }))?;
        return Ok(DONE);
    }
    if exported.is_empty() {
        print_line("nothing waits that is not on a bundle; no file was written")?;
    }
    for Exported { file, bundle, sha256, .. } in exported {
        print_line(&format!(
            "{}: {} events, bundle {}, sha256 {sha256}",
            file.display(),
            thousands(bundle.events),
            bundle.bundle,
        ))?;
    }
    if !exported.is_empty() {
        print_line("they wait here, and are not sent, until a receipt comes: milepost acknowledge")?;
    }
    Ok(DONE)
}

fn said(common: &Common, key: &str, events: u64, what: &str) -> anyhow::Result<u8> {
    match common.json {
        true => print_json(&serde_json::json!({ key: events }))?,
        false => print_line(&format!("{} events {what}", thousands(events)))?,
    }
    Ok(DONE)
}

fn time(text: &str) -> Result<SystemTime, String> {
    let time: jiff::Timestamp = text.parse().map_err(|_| "a time is written as 2026-11-24T09:00:00Z")?;
    let micros = u64::try_from(time.as_microsecond()).map_err(|_| "a time before 1970")?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_micros(micros))
}
