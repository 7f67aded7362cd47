//! The promise: `milepost doctor` says of every file whether it is whole and changes none, and with `--salvage`
//! everything that is whole anywhere is in the queue again: once, by address, with the books balanced.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::receiver::{Receiver, Reply, nobody_listens, url};
use crate::common::steps::at_each_step;
use crate::common::{Done, Home, LONG, copy, dice, finish, in_a_clean_process, keys, process_of, wait_until};
use milepost::{Client, Event, Product};
use serde_json::{Value, json};

/// Numbers from 0 on are in the store, the second half is in a journal.
const EVENTS: u64 = 4_000;

/// A directory with something in each of its files: a journal taken in, a milestone's, one that is not taken.
fn template() -> Home {
    let home = Home::new();
    home.enqueue(EVENTS / 2);
    assert_eq!(home.flush(&url(nobody_listens()), &[]).0, 4);
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    let line = |number| format!(r#"{{"name":"job_finished","properties":{{"number":{number}}}}}"#) + "\n";
    let lines: String = (EVENTS / 2..EVENTS).map(line).collect();
    assert_eq!(finish(&mut home.command(&["enqueue", "--stdin"]), &lines).status, 0);
    home
}

fn copy_of(template: &Home) -> Home {
    let home = Home::new();
    copy(&template.telemetry(), &home.telemetry());
    home
}

/// Every file below a directory, and what is in it.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(tree(&entry.path())),
            false => drop(found.insert(entry.path(), std::fs::read(entry.path()).unwrap())),
        }
    }
    found
}

/// Overwrites a kilobyte in the middle of a file, or all of a smaller one but its ends. Zeroes at its end are
/// what sled made room for and never wrote.
fn overwrite(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let len = used.saturating_sub(2).min(1024);
    let from = (used - len) / 2;
    for (at, byte) in bytes[from..from + len].iter_mut().enumerate() {
        *byte = (at * 37 + 11) as u8;
    }
    std::fs::write(path, bytes).unwrap();
}

/// Runs the doctor, which has to end with this status.
fn doctor(home: &Home, status: i32) -> Value {
    examine(home, &["doctor", "--json"], status)
}

fn salvage(home: &Home, status: i32) -> Value {
    examine(home, &["doctor", "--salvage", "--json"], status)
}

fn examine(home: &Home, arguments: &[&str], status: i32) -> Value {
    let done = home.milepost(arguments);
    assert_eq!(done.status, status, "{done:?}");
    assert!(!done.stderr.contains("panicked"), "{done:?}");
    done.json()
}

/// What was found at a path.
fn finding<'a>(checkup: &'a Value, path: &str) -> &'a Value {
    let files = checkup["files"].as_array().unwrap();
    files.iter().find(|finding| finding["path"] == path).unwrap_or_else(|| panic!("no {path}: {checkup}"))
}

/// The path of what was found of a kind.
fn path_of(checkup: &Value, what: &str) -> String {
    let files = checkup["files"].as_array().unwrap();
    let found = files.iter().find(|finding| finding["what"] == what);
    found.unwrap_or_else(|| panic!("no {what}: {checkup}"))["path"].as_str().unwrap().into()
}

/// Delivers what waits: the numbers, each under one id.
fn deliver(home: &Home) -> BTreeSet<u64> {
    let receiver = Receiver::good();
    let (status, report) = home.flush(&receiver.url(), &[]);
    assert_eq!(status, 0, "{report}");
    receiver.taken_once();
    numbers(&receiver)
}

fn numbers(receiver: &Receiver) -> BTreeSet<u64> {
    receiver.taken().iter().filter_map(|event| event.properties.get("number")?.as_u64()).collect()
}

fn dropped(home: &Home) -> Value {
    home.status()["dropped"].clone()
}

/// Makes a set-aside store of the one that there is, by hand.
fn set_store_aside(home: &Home, number: u64) -> PathBuf {
    let spool = home.telemetry().join("spool");
    let aside = spool.join(format!("aside-20261123T090000Z-{number}-0"));
    std::fs::rename(spool.join(number.to_string()), &aside).unwrap();
    aside
}

fn remove_journals(home: &Home) {
    for folder in ["taken", "journals"] {
        std::fs::remove_dir_all(home.telemetry().join(folder)).unwrap();
        std::fs::create_dir(home.telemetry().join(folder)).unwrap();
    }
}

#[test]
fn a_directory_in_which_nothing_is_wrong_is_whole_and_stays_as_it_is() {
    let home = template();
    let before = tree(&home.telemetry());
    let checkup = doctor(&home, 0);
    assert_eq!(tree(&home.telemetry()), before);
    assert_eq!(keys(&checkup), ["directory", "exists", "files", "salvage"]);
    assert_eq!((&checkup["exists"], &checkup["salvage"]), (&json!(true), &Value::Null));
    let files = checkup["files"].as_array().unwrap();
    for finding in files {
        let keys = keys(finding);
        assert_eq!(
            keys,
            ["blocks", "damaged", "events", "missing", "path", "remedy", "verdict", "what"],
            "{finding}"
        );
        assert_eq!((&finding["verdict"], &finding["remedy"]), (&json!("whole"), &json!("none")), "{finding}");
    }
    // A store is looked at as one.
    let looked_at =
        before.keys().filter(|path| !path.starts_with(home.telemetry().join("spool"))).count() + 1;
    assert_eq!(files.len(), looked_at, "{checkup}");
    let events = |what| finding(&checkup, &path_of(&checkup, what))["events"].as_u64().unwrap();
    // A milestone is taken in at once.
    assert_eq!((events("the store"), events("a journal, taken in")), (EVENTS / 2 + 1, EVENTS / 2));

    let checkup = salvage(&home, 0);
    assert_eq!(
        checkup["salvage"],
        json!({ "events": 0, "dead": 0, "milestones": 0, "orphans": 0, "journals": [], "removed": [] })
    );

    let said = home.milepost(&["doctor"]);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    assert_eq!(said.stdout.lines().count(), looked_at + 1, "{}", said.stdout);
    assert!(said.stdout.contains("whole      spool/1"), "{}", said.stdout);
    assert!(said.stdout.ends_with("nothing is wrong\n"), "{}", said.stdout);
}

#[test]
fn where_nothing_was_ever_collected_it_says_so_and_makes_nothing() {
    let home = Home::new();
    let before = tree(home.path());
    for arguments in [&["doctor"][..], &["doctor", "--salvage"]] {
        let said = home.milepost(arguments);
        assert_eq!(said.status, 0, "{said:?}");
        assert!(said.stdout.starts_with("there is no ") && said.stdout.contains("telemetry"), "{said:?}");
    }
    assert_eq!(doctor(&home, 0)["exists"], false);
    assert_eq!(tree(home.path()), before);
}

/// Overwrites files, and lets the doctor find, keep and mend.
fn overwritten(template: &Home, damaged: &[&Path]) {
    let home = copy_of(template);
    damaged.iter().for_each(|path| overwrite(&home.telemetry().join(path)));
    let story = format!("{damaged:?}");
    let before = tree(&home.telemetry());
    let checkup = doctor(&home, 1);
    assert_eq!(tree(&home.telemetry()), before, "{story}");
    for path in damaged {
        // What is in a store is one thing.
        let path = path.to_str().unwrap();
        let path = if path.starts_with("spool/1/") { "spool/1" } else { path };
        assert_eq!(finding(&checkup, path)["verdict"], "damaged", "{story}: {checkup}");
    }

    let mended = salvage(&home, 0);
    let ids = home.ids();
    let again = salvage(&home, 0);
    assert_eq!(
        (&again["salvage"]["events"], &again["salvage"]["removed"]),
        (&json!(0), &json!([])),
        "{story}"
    );
    assert_eq!(home.ids(), ids, "{story}");

    let delivered = deliver(&home);
    let missing: Vec<u64> = (0..EVENTS).filter(|number| !delivered.contains(number)).collect();
    let is_in_journal = missing.iter().all(|number| *number >= EVENTS / 2);
    assert!(
        is_in_journal && missing.len() as u64 == lost_in_journals(&checkup),
        "{story}: {missing:?} {mended}"
    );
    let status = home.status();
    assert_eq!(status["waiting"]["events"], 0, "{story}: {status}");
    let milestones = status["delivered"].as_u64().unwrap() - delivered.len() as u64;
    assert!(milestones <= 1, "{story}: {status}");
    doctor(&home, 0);
}

/// Events that journals have lost that are not taken in: they stood nowhere else.
fn lost_in_journals(checkup: &Value) -> u64 {
    let journals =
        checkup["files"].as_array().unwrap().iter().filter(|finding| finding["what"] == "a journal");
    journals.map(|finding| finding["missing"].as_u64().unwrap()).sum()
}

fn damageable(template: &Home) -> Vec<PathBuf> {
    let telemetry = template.telemetry();
    let files = tree(&telemetry).into_iter().filter(|(_, bytes)| !bytes.is_empty());
    files.map(|(path, _)| path.strip_prefix(&telemetry).unwrap().to_owned()).collect()
}

#[test]
fn a_kilobyte_in_the_middle_of_any_file_is_found_and_everything_else_is_delivered() {
    let template = template();
    let paths = damageable(&template);
    assert_eq!(paths.len(), 9, "{paths:?}");
    for path in &paths {
        overwritten(&template, &[path]);
    }
}

#[test]
fn a_kilobyte_in_the_middle_of_every_file_costs_what_was_in_it_alone() {
    let template = template();
    let paths = damageable(&template);
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    // What is damaged of the journal that was taken in is whole in the store, and comes back out of its bytes.
    overwritten(&template, &paths);
}

/// Overwrites up to four kilobytes somewhere in a file with random bytes.
fn overwrite_somewhere(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let (at, len) = (dice(bytes.len() as u64) as usize, dice(4_096) as usize);
    bytes.iter_mut().skip(at).take(len).for_each(|byte| *byte = dice(256) as u8);
    std::fs::write(path, bytes).unwrap();
}

/// Damages some files of each of many copies: what was in one place only may be lost, and nothing else.
fn random_damages(rounds: u64) {
    let template = template();
    let mut paths = damageable(&template);
    // Without it, and without a ledger or a journal that knows it, what waits is nobody's.
    paths.retain(|path| !path.ends_with("device_id"));
    for round in 0..rounds {
        let home = copy_of(&template);
        let mut damaged = BTreeSet::new();
        for _ in 0..1 + dice(3) {
            let path = &paths[dice(paths.len() as u64) as usize];
            overwrite_somewhere(&home.telemetry().join(path));
            damaged.insert(path.display().to_string());
        }
        let story = format!("round {round}: {damaged:?}");
        let before = tree(&home.telemetry());
        let said = home.milepost(&["doctor"]);
        assert!(said.status <= 1 && !said.stderr.contains("panicked"), "{story}: {said:?}");
        assert_eq!(tree(&home.telemetry()), before, "{story}");
        let said = home.milepost(&["doctor", "--salvage", "--json"]);
        assert!(said.status <= 1, "{story}: {said:?}");
        let salvaged = said.json()["salvage"].clone();
        assert_eq!(said.status, i32::from(salvaged["orphans"] != 0), "{story}: {said:?}");
        assert_eq!(salvage(&home, said.status)["salvage"]["events"], 0, "{story}");
        let delivered = deliver(&home);
        let missing = (0..EVENTS / 2).filter(|number| !delivered.contains(number)).count();
        let is_damaged = |begin| damaged.iter().any(|path| path.starts_with(begin));
        let may_be_lost = if is_damaged("taken") && is_damaged("spool") { 3 * 128 } else { 0 };
        assert!(missing <= may_be_lost, "{story}: {missing} are missing: {salvaged}");
        if !is_damaged("journals") {
            assert_eq!(delivered.range(EVENTS / 2..).count() as u64, EVENTS / 2, "{story}");
        }
        assert_eq!(home.status()["waiting"]["events"], 0, "{story}");
    }
}

#[test]
fn random_damages_cost_what_stood_nowhere_else() {
    random_damages(40);
}

#[test]
#[ignore = "slow"]
fn slow_random_damages_cost_what_stood_nowhere_else() {
    random_damages(1_000);
}

/// Delivers the first batch of what waits, and no more.
fn deliver_a_part(home: &Home) -> BTreeSet<u64> {
    let receiver = Receiver::replying([Reply::ok(), Reply::new(503, "", "")]);
    let (status, report) = home.flush(&receiver.url(), &[]);
    let delivered = numbers(&receiver);
    assert_eq!((status, &report["delivered"]), (4, &json!(delivered.len())), "{report}");
    assert!((2_000..=4_096).contains(&delivered.len()), "{report}");
    delivered
}

#[test]
fn what_a_set_aside_store_owed_comes_back_and_what_was_delivered_does_not() {
    let home = Home::new();
    home.enqueue(10_000);
    let delivered = deliver_a_part(&home);
    set_store_aside(&home, 1);
    remove_journals(&home);
    doctor(&home, 1);
    let before = copy_of(&home);
    let checkup = salvage(&home, 0);
    assert_eq!(checkup["salvage"]["events"], 10_000 - delivered.len(), "{checkup}");
    // A crash may come before what was read is removed.
    copy(&before.telemetry().join("spool"), &home.telemetry().join("spool"));
    assert_eq!(salvage(&home, 0)["salvage"]["events"], 0);
    let status = home.status();
    assert_eq!((&status["accepted"], &status["dropped"]), (&json!(10_000), &json!({})), "{status}");
    let rest = deliver(&home);
    assert_eq!(rest.len(), 10_000 - delivered.len());
    assert!(rest.is_disjoint(&delivered));
    assert_eq!(home.status()["delivered"], 10_000);
    doctor(&home, 0);
}

#[test]
fn where_sled_opens_nothing_the_blocks_come_back_out_of_its_bytes_and_repeats_have_their_ids() {
    let home = Home::new();
    home.enqueue(10_000);
    let ids: BTreeMap<u64, String> = home
        .peek()
        .iter()
        .map(|event| {
            (event["properties"]["number"].as_u64().unwrap(), event["id"].as_str().unwrap().to_owned())
        })
        .collect();
    let delivered = deliver_a_part(&home);
    let store = home.telemetry().join("spool/1");
    std::fs::write(store.join("conf"), "gone").unwrap();
    let mut db = std::fs::read(store.join("db")).unwrap();
    db[..512].fill(0xff);
    std::fs::write(store.join("db"), db).unwrap();
    remove_journals(&home);

    let checkup = salvage(&home, 0);
    let back = checkup["salvage"]["events"].as_u64().unwrap();
    // One block at most was in the head.
    assert!((10_000 - delivered.len() as u64 - 128..=10_000).contains(&back), "{checkup}");
    assert_eq!(salvage(&home, 0)["salvage"]["events"], 0);
    let receiver = Receiver::good();
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!(receiver.taken_once().len() as u64, back);
    for event in receiver.taken() {
        assert_eq!(ids[&event.properties["number"].as_u64().unwrap()], event.id);
    }
    let all: BTreeSet<_> = numbers(&receiver).union(&delivered).copied().collect();
    assert!(all.len() >= 10_000 - 128, "{}", all.len());
    home.status();
    doctor(&home, 0);
}

/// Salvages, and dies at a step.
#[test]
#[ignore = "a process that other tests start"]
fn salvager() {
    let (Ok(product), Ok(step)) = (std::env::var("SALVAGER_PRODUCT"), std::env::var("SALVAGER_DIES_AT"))
    else {
        return;
    };
    at_each_step(move |_, name| {
        if name == step {
            std::process::abort();
        }
    });
    let admin = Client::builder(Product::from_file(product).unwrap()).admin().unwrap();
    admin.salvage().unwrap();
}

/// A part was delivered, the rest is in a store that is set aside, and in nothing else. How many that are.
fn leave_aside(home: &Home) -> u64 {
    home.enqueue(10_000);
    let waiting = 10_000 - deliver_a_part(home).len() as u64;
    set_store_aside(home, 1);
    remove_journals(home);
    waiting
}

#[test]
fn it_may_die_after_any_step_and_be_called_again() {
    let template = Home::new();
    let waiting = leave_aside(&template);
    for step in ["StoreMade", "StoreOpened", "Carried", "Persisted", "LedgerWritten", "AsideRemoved"] {
        let home = copy_of(&template);
        let mut salvager = process_of(module_path!(), "salvager");
        salvager.env("HOME", home.path()).env("SALVAGER_DIES_AT", step);
        salvager.env("SALVAGER_PRODUCT", home.product_file());
        let died = salvager.stdout(Stdio::null()).status().unwrap();
        assert_eq!(died.code(), None, "it did not come to {step}");
        // Whoever comes next may be a worker.
        let before = if step == "Carried" { deliver(&home).len() as u64 } else { 0 };
        salvage(&home, 0);
        assert_eq!(home.status()["waiting"]["events"], waiting - before, "{step}");
        assert_eq!(deliver(&home).len() as u64, waiting - before, "{step}");
        let status = home.status();
        assert_eq!(
            (&status["accepted"], &status["dropped"]),
            (&json!(10_000), &json!({})),
            "{step}: {status}"
        );
    }
}

#[test]
fn it_may_be_killed_at_any_moment_and_called_again() {
    let template = Home::new();
    let waiting = leave_aside(&template);
    for round in 0..25 {
        let home = copy_of(&template);
        let mut child = home.command(&["doctor", "--salvage"]).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(dice(100_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        salvage(&home, 0);
        assert_eq!(home.status()["waiting"]["events"], waiting, "round {round}");
        assert_eq!(deliver(&home).len() as u64, waiting, "round {round}");
    }
}

/// A directory of a thousand damaged journals would keep each of them for ever.
#[test]
fn of_what_is_set_aside_the_newest_files_are_kept() {
    let home = Home::new();
    home.enqueue(1);
    let journals = home.telemetry().join("journals");
    for number in 0..80 {
        std::fs::write(journals.join(format!("{number:012x}-{number:032x}.journal")), "a diary").unwrap();
    }
    assert_eq!(deliver(&home).len(), 1);
    assert_eq!(tree(&journals).len(), 64);
    assert_eq!(home.status()["damaged"], 80);
    assert_eq!(salvage(&home, 0)["salvage"]["removed"].as_array().unwrap().len(), 64);
    assert_eq!(tree(&journals).len(), 0);
}

#[test]
fn a_store_that_was_filled_again_and_delivered_has_nothing_to_give() {
    let home = Home::new();
    home.enqueue(3_000);
    assert_eq!(home.flush(&url(nobody_listens()), &[]).0, 4);
    overwrite(&home.telemetry().join("spool/1/db"));
    assert_eq!(deliver(&home).len(), 3_000);
    let checkup = doctor(&home, 1);
    assert!(
        finding(&checkup, &path_of(&checkup, "a store"))["events"].as_u64().unwrap() > 2_000,
        "{checkup}"
    );
    let checkup = salvage(&home, 0);
    assert_eq!(checkup["salvage"]["events"], 0, "{checkup}");
    assert_eq!(checkup["salvage"]["removed"].as_array().unwrap().len(), 1, "{checkup}");
    let status = home.status();
    assert_eq!((&status["accepted"], &status["waiting"]["events"]), (&json!(3_000), &json!(0)), "{status}");
    doctor(&home, 0);
}

#[test]
fn what_was_lost_to_a_damaged_journal_comes_back_out_of_the_store_long_after_the_rest_was_delivered() {
    let home = Home::new();
    home.enqueue(3_000);
    assert_eq!(home.flush(&url(nobody_listens()), &[]).0, 4);
    overwrite(&home.telemetry().join("spool/1/db"));
    let taken = path_of(&doctor(&home, 1), "a journal, taken in");
    overwrite(&home.telemetry().join(taken));
    let first = deliver(&home);
    let lost = 3_000 - first.len() as u64;
    assert!((100..2_000).contains(&lost), "{lost}");
    assert_eq!(dropped(&home), json!({ "damaged": lost }));

    let checkup = salvage(&home, 0);
    let back = checkup["salvage"]["events"].as_u64().unwrap();
    assert!(back >= lost - 128, "one of its blocks may be damaged in the store: {back} of {lost}");
    let status = home.status();
    assert_eq!(
        (&status["accepted"], &status["waiting"]["events"]),
        (&json!(3_000), &json!(back)),
        "{status}"
    );
    let second = deliver(&home);
    assert!(second.is_disjoint(&first));
    assert_eq!(second.len() as u64, back);
    doctor(&home, 0);
}

#[test]
fn dead_letters_and_milestones_of_a_set_aside_store_come_back() {
    let home = Home::new();
    home.enqueue(100);
    let receiver = Receiver::start(|request| match request.numbers().contains(&7) {
        true => Reply::new(400, "", "seven is none of ours"),
        false => Reply::ok(),
    });
    assert_eq!(home.flush(&receiver.url(), &[]).1["dead"], 1);
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    assert_eq!(home.flush(&Receiver::good().url(), &[]).1["delivered"], 1);
    let dead = home.json(&["dead", "list"]);
    set_store_aside(&home, 1);

    let checkup = salvage(&home, 0);
    let salvaged = &checkup["salvage"];
    assert_eq!(
        (&salvaged["events"], &salvaged["dead"], &salvaged["milestones"]),
        (&json!(0), &json!(1), &json!(0)),
        "{checkup}"
    );
    let listed = home.json(&["dead", "list"]);
    assert_eq!(listed["dead"][0]["event"], dead["dead"][0]["event"]);
    assert_eq!(listed["dead"][0]["answer"], "seven is none of ours");
    let status = home.status();
    assert_eq!((&status["accepted"], &status["dead"]), (&json!(101), &json!(1)), "{status}");
    assert_eq!(home.milepost(&["milestone", "first_job"]).status, 0);
    let (_, report) = home.flush(&Receiver::good().url(), &[]);
    assert_eq!(report["delivered"], 0, "it was reached before: {report}");
    doctor(&home, 0);
}

/// Overwrites a journal up to its first events: whose they are stands there.
fn behead(journal: &Path) {
    let mut bytes = std::fs::read(journal).unwrap();
    let origin = u32::from_le_bytes(bytes[68..72].try_into().unwrap()) as usize;
    bytes[..128 + origin].fill(0);
    std::fs::write(journal, bytes).unwrap();
}

/// The one journal in a folder.
fn journal(home: &Home, folder: &str) -> PathBuf {
    tree(&home.telemetry().join(folder)).into_keys().next().unwrap()
}

/// Leaves a journal that is none any more, beside a store that knows whose events these are.
fn leave_beheaded(home: &Home, events: u64) {
    home.enqueue(1);
    assert_eq!(deliver(home).len(), 1);
    home.enqueue(events);
    behead(&journal(home, "journals"));
}

#[test]
fn the_blocks_of_a_file_that_is_no_journal_any_more_come_back_once() {
    for is_set_aside in [false, true] {
        let home = Home::new();
        leave_beheaded(&home, 1_000);
        if is_set_aside {
            assert_eq!(deliver(&home), BTreeSet::new());
        }
        doctor(&home, 1);
        let checkup = salvage(&home, 0);
        assert_eq!(checkup["salvage"]["events"], 1_000, "{checkup}");
        let status = home.status();
        assert_eq!((&status["accepted"], &status["damaged"]), (&json!(1_001), &json!(1)), "{status}");
        assert_eq!(deliver(&home).len(), 1_000);
        assert_eq!(salvage(&home, 0)["salvage"]["events"], 0);
        doctor(&home, 0);
    }
}

#[test]
fn events_of_which_nobody_knows_whose_they_were_are_kept_until_somebody_does() {
    let home = Home::new();
    home.enqueue(3_000);
    behead(&journal(&home, "journals"));
    for _ in 0..2 {
        let checkup = salvage(&home, 1);
        let salvaged = &checkup["salvage"];
        assert_eq!((&salvaged["events"], &salvaged["removed"]), (&json!(0), &json!([])), "{checkup}");
        assert_eq!(salvaged["orphans"], 3_000, "{checkup}");
    }
    home.enqueue(1);
    assert_eq!(salvage(&home, 0)["salvage"]["events"], 3_000);
    let receiver = Receiver::good();
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!(receiver.taken_once().len(), 3_001);
    doctor(&home, 0);
}

/// What a store that is lost knew of it is lost, too: that it was let in.
#[test]
fn what_came_back_survives_the_store_that_it_came_back_to() {
    let home = Home::new();
    leave_beheaded(&home, 1_000);
    assert_eq!(salvage(&home, 0)["salvage"]["events"], 1_000);
    assert_eq!(home.flush(&url(nobody_listens()), &[]).0, 4);
    for also_the_ledger in [false, true] {
        std::fs::remove_dir_all(home.telemetry().join("spool")).unwrap();
        if also_the_ledger {
            std::fs::remove_file(home.telemetry().join("ledger")).unwrap();
        }
        assert_eq!(home.flush(&url(nobody_listens()), &[]).0, 4);
        assert_eq!(home.status()["waiting"]["events"], 1_000, "{also_the_ledger}");
    }
    assert_eq!(deliver(&home).len(), 1_000);
}

#[test]
fn what_is_purged_does_not_come_back() {
    let home = Home::new();
    leave_beheaded(&home, 1_000);
    assert_eq!(salvage(&home, 0)["salvage"]["events"], 1_000);
    assert_eq!(home.milepost(&["purge", "--yes"]).status, 0);
    let status = home.status();
    assert_eq!(
        (&status["accepted"], &status["dropped"]["purged"]),
        (&json!(1_001), &json!(1_000)),
        "{status}"
    );
    assert_eq!(salvage(&home, 0)["salvage"]["events"], 0);
}

#[test]
fn a_copy_of_a_store_adds_nothing_also_where_nobody_knows_of_it() {
    let home = Home::new();
    home.enqueue(1_000);
    assert_eq!(home.flush(&url(nobody_listens()), &[]).0, 4);
    let spool = home.telemetry().join("spool");
    copy(&spool.join("1"), &spool.join("aside-20261123T090000Z-7-0"));
    remove_journals(&home);
    doctor(&home, 1);
    let checkup = salvage(&home, 0);
    assert_eq!(checkup["salvage"]["events"], 0, "{checkup}");
    assert_eq!(home.status()["accepted"], 1_000);
    assert_eq!(deliver(&home).len(), 1_000);
}

#[test]
fn a_journal_that_was_taken_in_and_is_none_any_more_comes_back() {
    let home = Home::new();
    home.enqueue(1_000);
    assert_eq!(home.flush(&url(nobody_listens()), &[]).0, 4);
    behead(&journal(&home, "taken"));
    set_store_aside(&home, 1);
    doctor(&home, 1);
    assert_eq!(salvage(&home, 0)["salvage"]["events"], 1_000);
    let status = home.status();
    assert_eq!((&status["accepted"], &status["dropped"]), (&json!(1_000), &json!({})), "{status}");
    assert_eq!(deliver(&home).len(), 1_000);
    doctor(&home, 0);
}

#[test]
fn a_copy_of_a_journal_that_was_taken_in_is_named_and_adds_nothing() {
    let home = Home::new();
    home.enqueue(1_000);
    let (path, bytes) = tree(&home.telemetry().join("journals")).into_iter().next().unwrap();
    assert_eq!(home.flush(&url(nobody_listens()), &[]).0, 4);
    std::fs::write(&path, &bytes).unwrap();
    let checkup = salvage(&home, 1);
    assert_eq!(checkup["salvage"]["events"], 0, "{checkup}");
    assert_eq!(
        finding(&checkup, path.strip_prefix(home.telemetry()).unwrap().to_str().unwrap())["remedy"],
        "by_hand"
    );
    let receiver = Receiver::good();
    home.flush(&receiver.url(), &[]);
    assert_eq!(receiver.taken_once().len(), 1_000);
}

#[test]
fn what_was_collected_under_an_earlier_device_id_does_not_come_back() {
    let home = Home::new();
    leave_beheaded(&home, 1_000);
    assert_eq!(deliver(&home), BTreeSet::new());
    std::fs::remove_file(home.telemetry().join("device_id")).unwrap();
    home.enqueue(5);
    let checkup = salvage(&home, 0);
    assert_eq!(checkup["salvage"]["events"], 0, "{checkup}");
    assert_eq!(deliver(&home), (0..5).collect());
    doctor(&home, 0);
}

#[test]
fn it_works_under_a_refusal_and_sends_nothing() {
    let home = Home::new();
    leave_beheaded(&home, 1_000);
    let receiver = Receiver::good();
    let refused = |arguments: &[&str]| -> Done {
        let mut command = home.command(arguments);
        finish(command.env("DO_NOT_TRACK", "1").env("MILEPOST_ENDPOINT", receiver.url()), "")
    };
    assert_eq!(refused(&["doctor"]).status, 1);
    let done = refused(&["doctor", "--salvage", "--json"]);
    assert_eq!((done.status, &done.json()["salvage"]["events"]), (0, &json!(1_000)), "{done:?}");
    assert_eq!(receiver.requests().len(), 0);
    assert_eq!(home.status()["waiting"]["events"], 1_000);
}

#[test]
fn what_stands_in_a_files_place_is_named_and_never_opened() {
    let template = template();
    let store = ["spool/1", "spool/1/db"].map(PathBuf::from);
    let folders = ["journals", "taken", "spool"].map(PathBuf::from);
    let paths: Vec<_> = damageable(&template)
        .into_iter()
        .filter(|path| !path.starts_with("spool"))
        .chain(store)
        .chain(folders)
        .chain(["owner.lock", "owner.next", "turn"].map(PathBuf::from))
        .collect();
    for (at, path) in paths.iter().enumerate() {
        let home = copy_of(&template);
        let place = home.telemetry().join(path);
        if place.is_dir() { std::fs::remove_dir_all(&place) } else { std::fs::remove_file(&place) }.unwrap();
        let elsewhere = home.path().join("elsewhere");
        std::fs::write(&elsewhere, "mine").unwrap();
        match at % 3 {
            0 => symlink(&elsewhere, &place).unwrap(),
            1 if !folders_like(path) => std::fs::create_dir(&place).unwrap(),
            _ => assert!(Command::new("mkfifo").arg(&place).status().unwrap().success()),
        }
        let checkup = doctor(&home, 1);
        assert_eq!(finding(&checkup, path.to_str().unwrap())["verdict"], "misplaced", "{checkup}");
        let done = home.milepost(&["doctor", "--salvage"]);
        assert!(!done.stderr.contains("panicked"), "{path:?}: {done:?}");
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "mine", "{path:?} was followed");
    }
}

fn folders_like(path: &Path) -> bool {
    ["journals", "taken", "spool", "spool/1"].iter().any(|folder| path == Path::new(folder))
}

#[test]
fn it_reads_what_is_known_of_bundles_that_left_and_of_bundles_that_came() {
    let (origin, importer) = (Home::new(), Home::new());
    origin.enqueue(10);
    let bundle = origin.path().join("bundle").to_str().unwrap().to_owned();
    let exported = origin.json(&["export", &bundle]);
    importer.json(&["import", &bundle]);
    let left = format!("exports/{}", exported["bundles"][0]["bundle"].as_str().unwrap());
    let sides = [
        (&origin, left.as_str(), "what is on a bundle"),
        (&importer, "imports/known", "what came by bundles"),
    ];
    for (home, path, what) in sides {
        let found = finding(&doctor(home, 0), path).clone();
        assert_eq!((&found["what"], &found["verdict"]), (&json!(what), &json!("whole")));
        overwrite(&home.telemetry().join(path));
        let found = finding(&doctor(home, 1), path).clone();
        assert_eq!((&found["verdict"], &found["remedy"]), (&json!("damaged"), &json!("none")), "{found}");
    }
    // Damaged records are set aside by whoever opens the spool next, and everything goes on.
    let receiver = Receiver::good();
    assert_eq!(origin.flush(&receiver.url(), &[]).1["delivered"], 10);
    assert_eq!(importer.json(&["import", &bundle])["imported"], 10, "nobody knows any more that they came");
    for (home, path, _) in sides {
        let checkup = doctor(home, 1);
        let aside = path_of(&checkup, "what stood in a file's place");
        assert!(aside.starts_with(&format!("{path}.aside-")), "{aside}");
        std::fs::remove_file(home.telemetry().join(aside)).unwrap();
        doctor(home, 0);
    }
}

#[test]
fn beside_a_worker_it_disturbs_nobody_and_gives_the_store_back() {
    in_a_clean_process("beside_a_worker_it_disturbs_nobody_and_gives_the_store_back", || {
        let home = Home::new();
        leave_beheaded(&home, 1_000);
        assert_eq!(deliver(&home), BTreeSet::new());
        let receiver = Receiver::good();
        let client = Client::builder(Product::from_file(home.product_file()).unwrap())
            .home(home.telemetry().parent().unwrap())
            .endpoint(receiver.url())
            .build()
            .unwrap();
        let owner = || home.status()["owner"]["pid"].clone();
        wait_until("the worker holds the store", || owner() == std::process::id());
        let checkup = doctor(&home, 1);
        assert_eq!(finding(&checkup, "spool/1")["verdict"], "in_use", "{checkup}");
        assert_eq!(owner(), std::process::id());

        let checkup = salvage(&home, 0);
        assert_eq!(checkup["salvage"]["events"], 1_000, "{checkup}");
        client.enqueue(Event::new("job_finished").with("number", 1_000));
        wait_until("the worker has the store back and delivers", || receiver.taken_once().len() == 1_001);
        client.shutdown(LONG).unwrap();
    });
}
