//! The outcome, as Markdown.

use std::fs;
use std::process::Command;

use crate::child::{Call, Rate};
use crate::peer::{NOTHING, Result};
use crate::trial::{Kept, Row, Second};

/// What the figures depend on.
pub fn print_machine() -> Result<()> {
    let date = Command::new("date").args(["-u", "+%e %B %Y, %H:%M UTC"]).output()?.stdout;
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    let cores = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    println!(
        "{}: {cores} cores of {}, Linux {}, load before the run {}\n",
        String::from_utf8_lossy(&date).trim(),
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default(),
    );
    Ok(())
}

pub fn print(rows: &[Row]) {
    println!(
        "| | every 20 us: p50 | p99 | p99.9 | mean | back to back: p50 | p99 | p99.9 | mean \
         | events/s to the OS | durable | bytes an event | kill -9 loses | second process |"
    );
    println!("|{}", " --- |".repeat(14));
    for row in rows {
        let waits = if row.kind.name == NOTHING { "-" } else { "what waits" };
        let kept = row.kept.as_ref().map_or_else(|| ["-", "-", "-", waits, "-"].map(String::from), kept);
        let (paced, bursts, kept) = (call(&row.paced), call(&row.bursts), kept.join(" | "));
        println!("| {} | {paced} | {bursts} | {kept} |", row.kind.name);
    }
    println!();
    for row in rows {
        println!("- {}: {}{}", row.kind.name, row.kind.does, remarks(row));
    }
}

fn call(call: &Call) -> String {
    [call.p50, call.p99, call.p999, call.mean as u64].map(nanos).join(" | ")
}

fn kept(kept: &Kept) -> [String; 5] {
    let lost = match (&kept.lost.unreadable, kept.lost.events) {
        (Some(_), _) => "all: unreadable".to_owned(),
        (None, 0) => "0".to_owned(),
        (None, events) => format!("{} of {}", count(events as f64), count(kept.lost.of as f64)),
    };
    let second = match &kept.second {
        Second::Works => "yes".to_owned(),
        Second::Refused(_) => "no".to_owned(),
        Second::Loses(events) => format!("opens, loses {events} of 300"),
    };
    let rate = |rate: &Rate| count(rate.events as f64 / rate.seconds);
    let synced = kept.synced.as_ref().map_or("-".to_owned(), rate);
    [rate(&kept.flushed), synced, format!("{:.0}", kept.bytes_an_event), lost, second]
}

/// What does not fit a column.
fn remarks(row: &Row) -> String {
    let mut remarks = String::new();
    for (pace, call) in [("every 20 us", &row.paced), ("back to back", &row.bursts)] {
        if call.refused > 0 {
            remarks +=
                &format!("; {pace} it refused {} of {} calls", call.refused, call.calls + call.refused);
        }
    }
    if let Some(kept) = &row.kept {
        if let Second::Refused(why) = &kept.second {
            remarks += &format!("; a second process: {why}");
        }
        if let Some(why) = &kept.lost.unreadable {
            remarks += &format!("; after a kill: {why}");
        }
    }
    remarks
}

pub fn nanos(nanos: u64) -> String {
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{} us", digits(nanos as f64 / 1e3)),
        _ => format!("{} ms", digits(nanos as f64 / 1e6)),
    }
}

fn count(count: f64) -> String {
    match count {
        ..1e3 => format!("{count:.0}"),
        1e3..1e6 => format!("{} k", digits(count / 1e3)),
        _ => format!("{} M", digits(count / 1e6)),
    }
}

/// Two or three that mean something.
fn digits(value: f64) -> String {
    format!("{value:.*}", if value < 10.0 { 1 } else { 0 })
}
