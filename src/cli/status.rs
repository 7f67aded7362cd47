//! `milepost status`.

use clap::Args;
use milepost::{OwnerStatus, Status};

use super::output::{DONE, print_json, print_line, thousands};
use super::{Common, prometheus};

#[derive(Args)]
pub(super) struct StatusCommand {
    /// Every counter in the text format that node_exporter's textfile collector reads
    #[arg(long, conflicts_with = "json")]
    prometheus: bool,
}

impl StatusCommand {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let admin = common.builder()?.admin()?;
        let status = admin.status();
        if self.prometheus {
            print_line(prometheus::text(&admin.privacy().product, &status).trim_end())?;
        } else if common.json {
            print_json(&status)?;
        } else {
            for (name, value) in rows(&status) {
                print_line(&format!("{name}: {value}"))?;
            }
        }
        Ok(DONE)
    }
}

fn owner(owner: &OwnerStatus) -> String {
    let pid = owner.pid.map_or_else(|| "one that ended".into(), |pid| format!("process {pid}"));
    match &owner.silent_since {
        Some(since) => format!("{pid}: lock held, no sign of life since {since}"),
        None => pid,
    }
}

fn rows(status: &Status) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    // Where nobody refused and nothing can be written, nothing is collected.
    let is_hindered = status.consent == "yes" && !status.collecting;
    row("collecting", format!("{} ({})", if is_hindered { "no" } else { status.consent }, status.reason));
    row("mode", status.mode.into());
    row("directory", format!("{} ({} bytes)", status.directory, thousands(status.disk_bytes)));
    row("device id", status.device_id.clone().unwrap_or_else(|| "none".into()));
    row("owner", status.owner.as_ref().map_or_else(|| "nobody".into(), owner));
    row("accepted", thousands(status.accepted));
    row("delivered", thousands(status.delivered));
    let waiting = &status.waiting;
    let oldest =
        waiting.oldest.as_ref().map(|oldest| format!(", the oldest of {oldest}")).unwrap_or_default();
    row("waiting", format!("{} ({} bytes{oldest})", thousands(waiting.events), thousands(waiting.bytes)));
    if waiting.exported > 0 {
        row("exported", format!("{} of them, which wait for a receipt", thousands(waiting.exported)));
    }
    if waiting.unreadable_journals > 0 {
        let journals = thousands(waiting.unreadable_journals);
        row("unreadable", format!("{journals} journals of a newer version, which wait for it"));
    }
    row("dead", thousands(status.dead));
    for (reason, events) in &status.dropped {
        row("dropped", format!("{} ({reason})", thousands(*events)));
    }
    for (reason, events) in &status.refused {
        row("refused", format!("{} ({reason})", thousands(*events)));
    }
    for (rule, properties) in &status.redacted {
        row("redacted", format!("{} ({rule})", thousands(*properties)));
    }
    row("damaged", thousands(status.damaged));
    if status.failed_syncs > 0 {
        row("failed syncs", thousands(status.failed_syncs));
    }
    for destination in &status.destinations {
        let mut words = vec![format!(
            "{} waiting, {} delivered",
            thousands(destination.waiting),
            thousands(destination.delivered)
        )];
        let purge = "no longer in the product: milepost purge --destination deletes or moves what waits";
        words.extend((!destination.in_product).then(|| purge.to_owned()));
        words.extend((destination.dead > 0).then(|| format!("{} dead", thousands(destination.dead))));
        words.extend(destination.last_delivery.as_ref().map(|time| format!("last delivery {time}")));
        words.extend(destination.held.as_ref().map(|why| format!("HELD: {why}")));
        let error = destination.last_error.as_ref().filter(|_| destination.held.is_none());
        words.extend(error.map(|why| format!("last error: {why}")));
        words.extend(destination.next_try.as_ref().map(|time| format!("next try {time}")));
        row(&format!("  {}", destination.name), words.join("; "));
    }
    if let Some(trouble) = &status.trouble {
        row("trouble", trouble.clone());
    }
    rows
}
