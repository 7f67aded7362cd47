//! The air gap: what waits goes out in a file, is delivered by another host, and its receipt comes back. Every step
//! may be repeated, interrupted or done with last month's file, and nothing is lost or counted twice.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::dice::Dice;
use crate::common::gap::{Gap, ids, waiting};
use crate::common::receiver::{Receiver, Reply, nobody_listens, url};
use crate::common::{Home, dice, finish};
use serde_json::{Value, json};

/// Out, imported twice, delivered, receipt back, acknowledged twice. The receiver refuses the event with this number,
/// if there is one.
fn round(events: u64, refused: Option<u64>) {
    let gap = Gap::new();
    gap.origin.enqueue(events);
    assert_eq!(gap.origin.milepost(&["milestone", "first_job"]).status, 0);
    // The importer's own milestone of the same name is another installation's.
    assert_eq!(gap.importer.milepost(&["milestone", "first_job"]).status, 0);
    let all = events + 1;
    let expected = gap.origin.ids();
    assert_eq!(expected.len() as u64, all);

    let bundle = gap.export();
    assert_eq!(waiting(&gap.origin), all, "exported events stay");
    assert_eq!(gap.origin.status()["waiting"]["exported"], all);
    assert_eq!(gap.origin.json(&["peek", "-n", "1"])["exported"], true);
    let again = gap.origin.json(&["export", &gap.on_stick("again.bundle")]);
    assert_eq!(again, json!({"events": 0, "bundles": []}), "nothing is on two bundles");
    let inspected = gap.origin.json(&["inspect", &bundle]);
    assert_eq!((&inspected["events"], &inspected["product"]), (&json!(all), &json!("acme-worker")));

    let first = gap.importer.json(&["import", &bundle]);
    assert_eq!((&first["imported"], &first["known"]), (&json!(all), &json!(0)));
    let second = gap.importer.json(&["import", &bundle]);
    assert_eq!((&second["imported"], &second["known"]), (&json!(0), &json!(all)));
    let (_, before) = gap.receipt(&bundle);
    assert_eq!((&before["delivered"], &before["waiting"]), (&json!(0), &json!(all)));

    let receiver = refused.map_or_else(Receiver::good, Receiver::refusing);
    let (status, report) = gap.importer.flush(&receiver.url(), &["--timeout", "120s"]);
    assert_eq!(status, 0, "{report}");
    let third = gap.importer.json(&["import", &bundle]);
    assert_eq!(third["imported"], json!(0), "what was delivered came before, too");
    let lost = refused.map_or(0, |_| 1);
    assert_eq!(ids(&receiver).intersection(&expected).count() as u64, all - lost);
    assert_eq!(ids(&receiver).len() as u64, all + 1 - lost, "and the importer's own milestone");
    let carried: Vec<_> = receiver.taken().into_iter().filter(|event| expected.contains(&event.id)).collect();
    for time in ["milepost.bundle.exported_at", "milepost.bundle.imported_at"] {
        assert!(carried.iter().all(|event| event.resource[time].is_string()), "{time}");
    }

    let (receipt, said) = gap.receipt(&bundle);
    assert_eq!(said["delivered"], json!(all - lost));
    assert_eq!((&said["refused"], &said["waiting"]), (&json!(lost), &json!(0)));
    let news = gap.origin.json(&["acknowledge", &receipt]);
    assert_eq!(news["is_news"], true);
    assert_eq!(gap.origin.json(&["acknowledge", &receipt])["is_news"], false);

    for home in [&gap.origin, &gap.importer] {
        let status = home.status();
        assert_eq!(status["waiting"]["events"], 0, "{status}");
        for directory in ["journals", "taken"] {
            let left = std::fs::read_dir(home.telemetry().join(directory)).unwrap().count();
            assert_eq!(left, 0, "{directory}");
        }
    }
    let status = gap.origin.status();
    assert_eq!(status["accepted"], json!(all));
    assert_eq!(status["delivered"], json!(all - lost));
    assert_eq!(status["dropped"]["refused_elsewhere"].as_u64(), refused.map(|_| 1));
    assert_eq!(gap.importer.status()["accepted"], json!(all + 1));
}

#[test]
fn what_goes_over_the_gap_arrives_once_and_its_receipt_empties_the_origin() {
    round(2_000, None);
}

#[test]
fn an_event_that_is_refused_elsewhere_is_booked_so_at_its_origin() {
    round(500, Some(7));
}

#[test]
#[ignore = "takes a minute"]
fn slow_100_000_events_go_over_the_gap() {
    round(100_000, None);
    round(100_000, Some(77_777));
}

#[test]
fn a_host_with_an_endpoint_does_not_send_what_is_on_a_bundle_until_somebody_says_so() {
    let home = Home::new();
    let stick = tempfile::tempdir().unwrap();
    let file = |name: &str| stick.path().join(name).to_str().unwrap().to_owned();
    home.enqueue(300);
    let exported = home.json(&["export", &file("a")]);
    let id = exported["bundles"][0]["bundle"].as_str().unwrap().to_owned();
    home.enqueue(200);
    let receiver = Receiver::good();
    let (status, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((status, &report["delivered"]), (0, &json!(200)), "{report}");
    assert_eq!(waiting(&home), 300);
    let done = home.milepost(&["import", &file("a")]);
    assert_eq!(done.status, 2, "its own bundle would come twice: {done:?}");

    assert_eq!(home.json(&["export", "--cancel", &file("a")])["cancelled"], 300);
    let (status, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((status, &report["delivered"]), (0, &json!(300)), "{report}");
    assert_eq!(ids(&receiver).len(), 500);

    home.enqueue(50);
    home.json(&["export", &file("b")]);
    assert_eq!(home.milepost(&["export", &file("b")]).status, 0, "there is nothing more to write");
    home.enqueue(1);
    let done = home.milepost(&["export", &file("b")]);
    assert_eq!(done.status, 2, "no file is written over: {done:?}");
    assert_eq!(home.json(&["export", "--remove", &file("b")])["removed"], 50);
    let status = home.status();
    assert_eq!((&status["dropped"]["purged"], &status["waiting"]["events"]), (&json!(50), &json!(1)));
    assert_eq!(home.milepost(&["export", "--cancel", "no such thing"]).status, 1);
    assert_eq!(home.json(&["export", "--cancel", &id])["cancelled"], 0);
}

#[test]
fn a_large_export_is_several_files_that_are_whole_by_themselves() {
    let gap = Gap::new();
    gap.origin.enqueue(30_000);
    let file = gap.on_stick("part");
    let exported = gap.origin.json(&["export", &file, "--max-bytes", "100000"]);
    let bundles = exported["bundles"].as_array().unwrap();
    assert!(bundles.len() > 2, "{exported}");
    let files: Vec<&str> = bundles.iter().map(|bundle| bundle["file"].as_str().unwrap()).collect();
    for (number, file) in files.iter().enumerate() {
        assert!(std::fs::metadata(file).unwrap().len() <= 100_000);
        assert!(file.ends_with(&format!("part.{:03}", number + 1)), "{file}");
    }
    let imported = gap.importer.json(&[&["import"], &files[..]].concat());
    assert_eq!(imported["imported"], 30_000);
}

#[test]
fn only_what_was_enqueued_in_time_is_exported() {
    let gap = Gap::new();
    gap.origin.enqueue(100);
    let (past, future) = ("2020-01-01T00:00:00Z", "2120-01-01T00:00:00Z");
    let file = gap.on_stick("x");
    assert_eq!(gap.origin.json(&["export", &file, "--until", past])["events"], 0);
    assert_eq!(gap.origin.json(&["export", &file, "--since", future])["events"], 0);
    assert!(!Path::new(&file).exists());
    assert_eq!(gap.origin.json(&["export", &file, "--since", past, "--until", future])["events"], 100);
}

#[test]
fn a_bundle_is_delivered_by_itself_and_leaves_a_receipt() {
    let gap = Gap::new();
    gap.origin.enqueue(1_000);
    let bundle = gap.export();
    let down = gap.importer.milepost(&["deliver", &bundle, "--endpoint", "http://127.0.0.1:9/", "--json"]);
    assert_eq!(down.status, 4, "{down:?}");
    assert_eq!(down.json()["waiting"], 1_000);
    let receiver = Receiver::good();
    let delivered = gap.importer.json(&["deliver", &bundle, "--endpoint", &receiver.url()]);
    assert_eq!((&delivered["delivered"], &delivered["waiting"]), (&json!(1_000), &json!(0)));
    let again = gap.importer.json(&["deliver", &bundle, "--endpoint", &receiver.url()]);
    assert_eq!((&again["delivered"], &again["requests"]), (&json!(1_000), &json!(0)));
    assert_eq!(receiver.taken().len(), 1_000, "each once");
    let mut left: Vec<_> =
        std::fs::read_dir(gap.stick.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["out.bundle", "out.bundle.receipt"]);
    gap.origin.json(&["acknowledge", &gap.on_stick("out.bundle.receipt")]);
    assert_eq!(waiting(&gap.origin), 0);
    assert_eq!(gap.origin.status()["delivered"], 1_000);
}

/// The receiver takes half of it, and then somebody says no on the host that delivers.
#[test]
fn a_no_while_a_bundle_is_delivered_leaves_nothing_of_it_but_the_file_and_a_receipt_of_what_went() {
    let gap = Gap::new();
    gap.origin.enqueue(10_000);
    let bundle = gap.export();
    let no = Mutex::new(gap.importer.command(&["config", "set", "collecting=false"]));
    let requests = AtomicUsize::new(0);
    let receiver = Receiver::start(move |_| {
        if requests.fetch_add(1, Ordering::SeqCst) == 0 {
            return Reply::ok();
        }
        assert!(no.lock().unwrap().status().unwrap().success());
        Reply::new(503, "", "")
    });
    let done = gap.importer.milepost(&["deliver", &bundle, "--endpoint", &receiver.url()]);
    assert_eq!(done.status, 3, "{done:?}");
    assert_eq!(receiver.requests().len(), 2);
    let mut left: Vec<_> =
        std::fs::read_dir(gap.stick.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["out.bundle", "out.bundle.receipt"]);
    let acknowledged = gap.origin.json(&["acknowledge", &gap.on_stick("out.bundle.receipt")]);
    let taken = receiver.taken().len();
    assert!(0 < taken && taken < 10_000);
    assert_eq!(acknowledged["delivered"], taken);
    assert_eq!(waiting(&gap.origin), 10_000 - taken as u64);
}

/// What one destination took, another one is owed still: the origin keeps it until both have it.
#[test]
fn a_receipt_says_delivered_when_no_destination_is_owed_it_any_more() {
    let (up, down) = (Receiver::good(), nobody_listens());
    let gap = Gap::new();
    let destinations = format!(
        "[[destination]]\nname = 'default'\nendpoint = '{}'\n[[destination]]\nname = 'audit'\nendpoint = '{}'\n",
        up.url(),
        url(down)
    );
    gap.importer.declare(&destinations);
    gap.origin.enqueue(100);
    let bundle = gap.export();
    let done = gap.importer.milepost(&["deliver", &bundle, "--timeout", "3s", "--json"]);
    assert_eq!((done.status, &done.json()["waiting"]), (4, &json!(100)), "{done:?}");
    gap.importer.json(&["import", &bundle]);
    assert_eq!(gap.importer.milepost(&["flush", "--timeout", "3s"]).status, 4);
    let (_, said) = gap.receipt(&bundle);
    assert_eq!((&said["delivered"], &said["waiting"]), (&json!(0), &json!(100)), "{said}");
    let audit = Receiver::come_up(down);
    assert_eq!(gap.importer.milepost(&["flush"]).status, 0);
    let (_, said) = gap.receipt(&bundle);
    assert_eq!((&said["delivered"], &said["waiting"]), (&json!(100), &json!(0)), "{said}");
    assert_eq!(audit.taken_once().len(), 100);
}

#[test]
fn what_a_person_has_wait_again_is_waiting_in_the_receipt() {
    let gap = Gap::new();
    gap.origin.enqueue(3);
    let bundle = gap.export();
    gap.importer.json(&["import", &bundle]);
    assert_eq!(gap.importer.flush(&Receiver::refusing(1).url(), &[]).0, 0);
    assert_eq!(gap.receipt(&bundle).1["refused"], 1);
    gap.importer.json(&["dead", "requeue", "--all"]);
    let (_, said) = gap.receipt(&bundle);
    assert_eq!((&said["refused"], &said["waiting"]), (&json!(0), &json!(1)), "{said}");
}

#[test]
fn nothing_but_a_receipt_is_written_over_by_one() {
    let gap = Gap::new();
    gap.origin.enqueue(10);
    let bundle = gap.export();
    gap.importer.json(&["import", &bundle]);
    let before = std::fs::read(&bundle).unwrap();
    for call in [
        &["receipt", &bundle, "-o", &bundle][..],
        &["deliver", &bundle, "-o", &bundle, "--endpoint", "http://127.0.0.1:9/"],
    ] {
        let done = gap.importer.milepost(call);
        assert!(done.status == 2 && done.stderr.contains("is there already, and no receipt"), "{done:?}");
        assert_eq!(std::fs::read(&bundle).unwrap(), before);
    }
    gap.receipt(&bundle);
    gap.receipt(&bundle);
}

#[test]
fn a_pipe_in_a_bundles_place_keeps_nobody_waiting() {
    let gap = Gap::new();
    let pipe = gap.on_stick("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for call in [
        &["inspect", &pipe][..],
        &["import", &pipe],
        &["deliver", &pipe, "--endpoint", "http://127.0.0.1:9/"],
    ] {
        let done = gap.importer.milepost(call);
        assert!(done.status == 1 && done.stderr.contains("not a regular file"), "{done:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_name_that_is_no_utf_8_is_as_good_as_any() {
    use std::os::unix::ffi::OsStrExt;
    let gap = Gap::new();
    gap.origin.enqueue(10);
    let bundle = gap.stick.path().join(std::ffi::OsStr::from_bytes(b"\xff.bundle"));
    let receiver = Receiver::good();
    let url = receiver.url();
    for (home, before, after) in [
        (&gap.origin, &["export", "--json"][..], &[][..]),
        (&gap.importer, &["inspect", "--json"], &[]),
        (&gap.importer, &["import", "--json"], &[]),
        (&gap.importer, &["deliver", "--json"], &["--endpoint", &*url]),
    ] {
        let done = finish(home.command(before).arg(&bundle).args(after), "");
        assert_eq!(done.status, 0, "{done:?}");
    }
    assert_eq!(receiver.taken_once().len(), 10);
}

/// A Collector's file reader cuts lines of more than a MiB.
#[test]
fn no_line_of_otlp_is_too_long_for_its_readers() {
    let gap = Gap::new();
    let lines: String = (0..6_000).map(|number| {
        format!("{{\"name\": \"job_finished\", \"properties\": {{\"number\": {number}, \"text\": \"{}\"}}}}\n", "word ".repeat(40))
    }).collect();
    let done = finish(&mut gap.origin.command(&["enqueue", "--stdin"]), &lines);
    assert_eq!(done.status, 0, "{done:?}");
    let file = gap.on_stick("out.jsonl");
    gap.origin.json(&["export", "--format", "otlp-json-lines", &file]);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.lines().all(|line| line.len() <= 900 << 10));
    let values = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let records = |value: Value| -> usize {
        let scopes = value["resourceLogs"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|logs| logs["scopeLogs"].as_array().unwrap().clone());
        scopes.map(|scope| scope["logRecords"].as_array().unwrap().len()).sum()
    };
    assert_eq!(values.map(records).sum::<usize>(), 6_000);
}

#[test]
fn a_receipt_for_another_or_a_damaged_one_changes_nothing_and_says_so() {
    let gap = Gap::new();
    gap.origin.enqueue(10);
    let bundle = gap.export();
    gap.importer.json(&["import", &bundle]);
    let receiver = Receiver::good();
    gap.importer.flush(&receiver.url(), &[]);
    let (receipt, _) = gap.receipt(&bundle);
    let whole = std::fs::read(&receipt).unwrap();

    let stranger = Home::with("mode = \"local\"\n");
    stranger.enqueue(10);
    let refused = |home: &Home, why: &str| {
        let done = home.milepost(&["acknowledge", &receipt, "--json"]);
        assert_eq!(done.status, 1, "{done:?}");
        assert!(done.error()["error"].as_str().unwrap().contains(why), "{done:?}");
        assert_eq!(waiting(home), 10);
    };
    refused(&stranger, "was not exported here");
    for _ in 0..20 {
        let mut changed = whole.clone();
        let at = dice(whole.len() as u64 - 1) as usize;
        changed[at] ^= 1 << dice(8);
        std::fs::write(&receipt, changed).unwrap();
        refused(&gap.origin, "nothing was changed");
    }
    std::fs::write(&receipt, &whole).unwrap();
    assert_eq!(gap.origin.json(&["acknowledge", &receipt])["delivered"], 10);
    assert_eq!(waiting(&gap.origin), 0);
}

#[test]
fn what_still_waits_there_waits_here_until_the_next_receipt() {
    let gap = Gap::new();
    gap.origin.enqueue(400);
    let bundle = gap.export();
    gap.importer.json(&["import", &bundle]);
    let (early, said) = gap.receipt(&bundle);
    assert_eq!(said["waiting"], 400);
    assert_eq!(gap.origin.json(&["acknowledge", &early])["is_news"], false);
    assert_eq!(waiting(&gap.origin), 400);
    let receiver = Receiver::good();
    gap.importer.flush(&receiver.url(), &[]);
    let (late, _) = gap.receipt(&bundle);
    gap.origin.json(&["acknowledge", &late]);
    assert_eq!(waiting(&gap.origin), 0);
}

#[test]
fn the_events_are_readable_by_whoever_knows_nothing_of_milepost() {
    let gap = Gap::new();
    gap.origin.enqueue(300);
    let expected = gap.origin.ids();
    for (format, id) in [("ndjson", "/id"), ("cloudevents-jsonl", "/id")] {
        let file = gap.on_stick(format);
        assert_eq!(gap.origin.json(&["export", &file, "--format", format])["written"], 300);
        let text = std::fs::read_to_string(&file).unwrap();
        let read: BTreeSet<String> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap().pointer(id).unwrap().as_str().unwrap().into()
            })
            .collect();
        assert_eq!(read, expected, "{format}");
    }
    let file = gap.on_stick("otlp");
    gap.origin.json(&["export", &file, "--format", "otlp-json-lines"]);
    let text = std::fs::read_to_string(&file).unwrap();
    let requests = text.lines().map(|line| {
        serde_json::from_str::<opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest>(
            line,
        )
        .unwrap()
    });
    let records: usize = requests
        .flat_map(|request| request.resource_logs)
        .flat_map(|logs| logs.scope_logs)
        .map(|logs| logs.log_records.len())
        .sum();
    assert_eq!(records, 300);
    assert_eq!(waiting(&gap.origin), 300);
    let bundle = gap.export();
    let shown = gap.origin.milepost(&["inspect", &bundle, "--format", "ndjson"]);
    assert_eq!(shown.stdout.lines().count(), 300, "{}", shown.stderr);
}

#[test]
fn a_no_and_a_forget_leave_nothing_of_bundles() {
    for deletes in [&["config", "set", "collecting=false"][..], &["forget", "--yes"]] {
        let gap = Gap::new();
        gap.origin.enqueue(10);
        let bundle = gap.export();
        gap.importer.json(&["import", &bundle]);
        for (home, directory) in [(&gap.origin, "exports"), (&gap.importer, "imports")] {
            assert_eq!(std::fs::read_dir(home.telemetry().join(directory)).unwrap().count(), 1);
            assert_eq!(home.milepost(deletes).status, 0);
            assert!(!home.telemetry().join(directory).exists(), "{deletes:?}: {directory}");
            assert_eq!(waiting(home), 0);
        }
    }
}

#[test]
fn text_mode_damage_is_named_and_head_reads_the_summary() {
    let gap = Gap::new();
    gap.origin.enqueue(10);
    let bundle = gap.export();
    let bytes = std::fs::read(&bundle).unwrap();
    let head = String::from_utf8_lossy(&bytes[..600]).into_owned();
    assert!(head.contains("\n  \"events\": 10,\n"), "{head}");
    let unix: Vec<u8> = String::from_utf8_lossy(&bytes).replace("\r\n", "\n").into_bytes();
    std::fs::write(&bundle, unix).unwrap();
    let done = gap.importer.milepost(&["inspect", &bundle]);
    assert_eq!(done.status, 1);
    assert!(done.stderr.contains("changed on its way, as text"), "{done:?}");
}

/// What stands whole in some bytes: found by the layout that `src/block` describes, written down a second time.
fn whole_blocks(bytes: &[u8]) -> Vec<(usize, u8, u64)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 64 <= bytes.len() {
        let len = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        let is_block = bytes[at..at + 2] == [0xb1, 0x0c] && len <= 32 * 1024 && at + 64 + len <= bytes.len();
        let block = if is_block { &bytes[at..at + 64 + len] } else { &[] };
        let sum = |block: &[u8]| crc32fast::hash(&[&block[..8], &block[12..]].concat());
        if is_block && sum(block) == u32::from_le_bytes(block[8..12].try_into().unwrap()) {
            found.push((at, block[3], u16::from_le_bytes([block[32], block[33]]).into()));
            at += block.len();
        } else {
            at += 1;
        }
    }
    found
}

/// Changes, cuts or appends bytes at random.
fn damage(whole: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let at = dice.roll(whole.len() as u64) as usize;
    match dice.roll(4) {
        0 => bytes[at] ^= 1 << dice.roll(8),
        1 => {
            let end = (at + 1 + dice.roll(300) as usize).min(bytes.len());
            bytes[at..end].iter_mut().for_each(|byte| *byte = dice.roll(256) as u8);
        }
        2 => bytes.truncate(at),
        _ => bytes.extend((0..1 + dice.roll(200)).map(|_| dice.roll(256) as u8)),
    }
    bytes
}

#[test]
fn damaged_bundles_are_refused_and_salvage_yields_what_is_whole() {
    damaged_bundles(30, 4);
}

#[test]
#[ignore = "takes minutes"]
fn slow_200_damaged_bundles_are_refused_and_salvage_yields_what_is_whole() {
    damaged_bundles(200, 200);
}

fn damaged_bundles(inspected: u64, salvaged: u64) {
    let gap = Gap::new();
    gap.origin.enqueue(2_000);
    let bundle = gap.export();
    let whole = std::fs::read(&bundle).unwrap();
    let mut dice = Dice::new(11);
    for round in 0..inspected {
        let bytes = damage(&whole, &mut dice);
        if bytes == whole {
            continue;
        }
        let file = gap.on_stick("damaged");
        std::fs::write(&file, &bytes).unwrap();
        let done = gap.importer.milepost(&["import", &file, "--json"]);
        assert_eq!((done.status, done.error()["kind"].as_str()), (1, Some("corrupt")), "{round}: {done:?}");
        assert!(!done.stderr.contains("panicked"), "{done:?}");
        if round >= salvaged {
            continue;
        }
        let home = Home::new();
        let blocks = whole_blocks(&bytes);
        let has_origin = blocks.iter().any(|block| block.1 == 1);
        let events: u64 = blocks.iter().filter(|block| block.1 == 2).map(|block| block.2).sum();
        let done = home.milepost(&["import", &file, "--salvage", "--json"]);
        assert_eq!(done.status, 0, "{round}: {done:?}");
        let said = done.json();
        let key = if has_origin { "imported" } else { "orphans" };
        assert_eq!(said[key], json!(events), "{round}: {said}");
    }
}

#[test]
fn a_kill_anywhere_changes_nothing_about_the_end() {
    killed_rounds(3);
}

#[test]
#[ignore = "takes minutes"]
fn slow_50_kills_anywhere_change_nothing_about_the_end() {
    killed_rounds(50);
}

/// Runs a command that is killed after a random time, and then as often as it takes.
fn killed(home: &Home, arguments: &[&str], longest: u64) {
    let mut child = home
        .command(arguments)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_micros(dice(longest)));
    let _ = child.kill();
    child.wait().unwrap();
}

fn killed_rounds(rounds: u64) {
    const LONGEST: u64 = 60_000;
    for round in 0..rounds {
        let gap = Gap::new();
        gap.origin.enqueue(3_000);
        let expected = gap.origin.ids();
        let bundle = PathBuf::from(gap.on_stick("out.bundle"));
        let name = bundle.to_str().unwrap();
        killed(&gap.origin, &["export", name], LONGEST);
        let done = gap.origin.milepost(&["export", name, "--json"]);
        assert_eq!(done.status, 0, "{round}: {done:?}");
        assert!(bundle.exists(), "{round}");
        killed(&gap.importer, &["import", name], LONGEST);
        gap.importer.json(&["import", name]);
        let receiver = Receiver::good();
        killed(&gap.importer, &["flush", "--endpoint", &receiver.url()], 2 * LONGEST);
        gap.importer.flush(&receiver.url(), &[]);
        let (receipt, said) = gap.receipt(name);
        assert_eq!(said["delivered"], 3_000, "{round}: {said}");
        killed(&gap.origin, &["acknowledge", &receipt], LONGEST);
        gap.origin.json(&["acknowledge", &receipt]);
        assert_eq!(ids(&receiver), expected, "{round}");
        assert_eq!((waiting(&gap.origin), waiting(&gap.importer)), (0, 0), "{round}");
        assert_eq!(gap.origin.status()["delivered"], 3_000, "{round}");
        assert_eq!(gap.importer.status()["accepted"], 3_000, "{round}: counted twice");

        let other = Receiver::good();
        killed(&gap.importer, &["deliver", name, "--endpoint", &other.url()], 3 * LONGEST);
        let delivered = gap.importer.json(&["deliver", name, "--endpoint", &other.url()]);
        assert_eq!(delivered["delivered"], 3_000, "{round}: {delivered}");
        assert_eq!(ids(&other), expected, "{round}");
        assert!(!bundle.with_file_name("out.bundle.milepost").exists(), "{round}");
    }
}
