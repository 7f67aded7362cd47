//! `milepost flush`.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use milepost::{ClientBuilder, FlushReport, Format};

use super::Common;
use super::network::NetworkArgs;
use super::output::{DONE, UNDELIVERED, print_json, print_line, thousands};

#[derive(Args)]
pub(super) struct Flush {
    #[command(flatten)]
    target: Target,
    /// How long it may take
    #[arg(long, default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

/// Where events are delivered to, and how.
#[derive(Args)]
pub(super) struct Target {
    /// Where to: the whole URL. Defaults to MILEPOST_ENDPOINT, then to the product's
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// One of otlp, otlp-json, prefect-events, ndjson, amplitude, webhook, cloudevents. Defaults to
    /// MILEPOST_FORMAT, then to the product's, then to otlp
    #[arg(long, value_parser = str::parse::<Format>)]
    format: Option<Format>,
    /// A header of every request, as 'NAME: VALUE'; it is never printed
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    #[command(flatten)]
    network: NetworkArgs,
    /// Send over plain http to other hosts than this one
    #[arg(long)]
    allow_plain_http: bool,
}

impl Target {
    /// A builder for the product that was named, and this target.
    pub(super) fn builder(&self, common: &Common) -> anyhow::Result<ClientBuilder> {
        let mut builder = common.builder()?.network(self.network.network());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.endpoint(endpoint);
        }
        if let Some(format) = self.format {
            builder = builder.format(format);
        }
        if self.allow_plain_http {
            builder = builder.allow_plain_http();
        }
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        Ok(builder)
    }
}

impl Flush {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let builder = self.target.builder(common)?;
        let stop = stop_on_ctrl_c()?;
        let bar = progress_bar(common.json);
        let report = builder.admin()?.flush(self.timeout, &mut |so_far| {
            bar.set_length(so_far.delivered + so_far.dead + so_far.dropped + so_far.waiting);
            bar.set_position(so_far.delivered + so_far.dead + so_far.dropped);
            !stop.load(Ordering::Relaxed)
        });
        bar.finish_and_clear();
        let report = report?;
        print(&report, common.json)?;
        Ok(if report.is_complete() { DONE } else { UNDELIVERED })
    }
}

pub(super) fn print(report: &FlushReport, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&serde_json::json!({
            "delivered": report.delivered,
            "waiting": report.waiting,
            "dead": report.dead,
            "dropped": report.dropped,
            "held_journals": report.held_journals,
            "requests": report.requests,
            "bytes": report.bytes,
            "seconds": report.elapsed.as_secs_f64(),
            "reason": report.reason,
        }));
    }
    let mut text = format!(
        "{} delivered in {} requests of {} bytes, {:.1} s",
        thousands(report.delivered),
        thousands(report.requests),
        thousands(report.bytes),
        report.elapsed.as_secs_f64(),
    );
    for (events, what) in [
        (report.waiting, "still wait"),
        (report.dead, "were refused for good: see milepost dead list"),
        (report.dropped, "were dropped: see milepost status"),
    ] {
        if events > 0 {
            text += &format!("; {} {what}", thousands(events));
        }
    }
    if let Some(reason) = &report.reason {
        text += &format!("\n{reason}");
    }
    print_line(&text)
}

/// A bar on a terminal, nothing elsewhere.
pub(super) fn progress_bar(json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    // The template is a constant that is shown in a test.
    bar.set_style(ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

const TEMPLATE: &str = "{bar:30} {human_pos} of {human_len} events, {per_sec}, {eta} left";

/// A flag that Ctrl-C and SIGTERM set: what is under way is put in order, and it is said what is left.
pub(super) fn stop_on_ctrl_c() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))?;
    Ok(stop)
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is 'NAME: VALUE'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|_| "a time is written as 30s, 500ms or 2m")?;
    Duration::try_from(span).map_err(|_| "a time cannot be negative".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_can_be_drawn_and_times_are_read() {
        ProgressStyle::with_template(TEMPLATE).unwrap();
        assert_eq!(duration("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert!(duration("soon").is_err());
        assert!(duration("-1s").is_err());
    }
}
