//! The promise: who requires signatures takes in and acknowledges nothing else, and a secret key is shown to nobody.

use std::os::unix::fs::PermissionsExt;

use crate::common::gap::{Gap, waiting};
use crate::common::receiver::Receiver;
use crate::common::{Done, Home};
use serde_json::json;

/// A key in a home: its file, and the public one as text.
fn keygen(home: &Home, name: &str) -> (String, String) {
    let file = home.path().join(name).to_str().unwrap().to_owned();
    let made = home.json(&["keygen", &file]);
    (file, made["public_key"].as_str().unwrap().to_owned())
}

/// It was refused with these words.
fn assert_refused(done: &Done, why: &str) {
    assert_eq!(done.status, 1, "{done:?}");
    assert!(done.stderr.contains(why), "{why}: {done:?}");
}

#[test]
fn a_secret_key_is_its_owners_and_shown_to_nobody() {
    let home = Home::new();
    home.enqueue(3);
    let (file, public) = keygen(&home, "key");
    let secret = std::fs::read_to_string(&file).unwrap().split(' ').nth(1).unwrap().trim().to_owned();
    for file in [&file, &format!("{file}.pub")] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    assert_eq!(secret.len(), public.len());
    let bundle = home.path().join("bundle").to_str().unwrap().to_owned();
    let calls: [&[&str]; 6] = [
        &["keygen", &file],
        &["export", &bundle, "--sign", &file],
        &["export", &bundle, "--sign", &format!("{file}.pub")],
        &["inspect", &bundle, "--verify", &file],
        &["inspect", &bundle],
        &["inspect", &bundle, "--json"],
    ];
    for call in calls {
        let done = home.milepost(call);
        assert!(!done.stdout.contains(&secret) && !done.stderr.contains(&secret), "{call:?}");
    }
    crate::common::assert_nowhere(&home.telemetry(), &secret);
    assert!(!crate::common::has(&std::fs::read(&bundle).unwrap(), &secret));
    assert_eq!(home.milepost(&["keygen", &file]).status, 2, "no key is written over");
    assert_eq!(std::fs::read_to_string(&file).unwrap().split(' ').nth(1).unwrap().trim(), secret);

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    home.enqueue(1);
    let done = home.milepost(&["export", &bundle, "--sign", &file]);
    assert!(done.status == 2 && done.stderr.contains("chmod 600"), "{done:?}");
}

#[test]
fn only_a_bundle_with_the_right_signature_is_taken_in_where_one_is_required() {
    let gap = Gap::new();
    let (key, public) = keygen(&gap.origin, "key");
    let (other, other_public) = keygen(&gap.origin, "other");
    let (public_file, other_file) = (format!("{key}.pub"), format!("{other}.pub"));
    gap.origin.enqueue(100);
    let signed = gap.on_stick("signed");
    let exported = gap.origin.json(&["export", &signed, "--sign", &key]);
    assert_eq!(exported["bundles"][0]["signed_by"], json!(public));
    gap.origin.enqueue(10);
    let unsigned = gap.on_stick("unsigned");
    gap.origin.json(&["export", &unsigned]);
    let whole = std::fs::read(&signed).unwrap();
    let damaged = gap.on_stick("damaged");
    // The signature ends where the end begins, 48 bytes before that of the file.
    for at in [whole.len() - 49, whole.len() - 112] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&damaged, bytes).unwrap();
        for call in [
            &["inspect", &damaged][..],
            &["import", &damaged],
            &["inspect", &damaged, "--verify", &public_file],
        ] {
            assert_refused(&gap.importer.milepost(call), "its signature is wrong");
        }
    }
    let import = |file: &str, key: &str| gap.importer.milepost(&["import", file, "--verify", key]);
    assert_refused(&import(&signed, &other_file), &format!("it is signed by {public}"));
    assert_refused(&import(&unsigned, &public_file), "it is not signed");
    assert_refused(&import(&damaged, &public_file), "its signature is wrong");
    assert_eq!(import(&signed, &gap.on_stick("no such key")).status, 1);
    assert_eq!(import(&signed, &key).status, 2, "a secret key is none to verify with");
    assert_eq!(gap.importer.milepost(&["import", &damaged, "--salvage", "--verify", &public_file]).status, 2);
    assert!(!gap.importer.telemetry().join("imports").exists(), "nothing was taken in");

    // What the host itself requires holds for every command, beside what the command requires.
    gap.importer.json(&["config", "set", &format!("verify={other_public}")]);
    assert_refused(&gap.importer.milepost(&["import", &signed]), "no key that is accepted here");
    assert_refused(&import(&signed, &public_file), "no key that is accepted here");
    assert_refused(&gap.importer.milepost(&["import", &damaged, "--salvage"]), "it is not signed");
    let receiver = Receiver::good();
    let deliver = ["deliver", &signed, "--endpoint", &receiver.url()];
    assert_refused(&gap.importer.milepost(&deliver), "no key that is accepted here");
    gap.importer.json(&["config", "set", &format!("verify={other_public}, {public}")]);
    assert_eq!(import(&signed, &public_file).status, 0);
    assert_refused(&gap.importer.milepost(&["import", &unsigned]), "it is not signed");
    let settings = gap.importer.telemetry().join("settings.toml");
    for nonsense in ["verify = \"abc\"\n", "verify = 1\n"] {
        std::fs::write(&settings, nonsense).unwrap();
        let done = gap.importer.milepost(&["import", &unsigned]);
        assert!(done.status != 0 && done.stderr.contains("verify"), "{done:?}");
    }
    assert_eq!(gap.importer.milepost(&["config", "set", "verify=abc"]).status, 2);
}

#[test]
fn only_a_receipt_with_the_right_signature_is_acknowledged_where_one_is_required() {
    let gap = Gap::new();
    let (key, public) = keygen(&gap.importer, "key");
    let (other, _) = keygen(&gap.importer, "other");
    gap.origin.enqueue(50);
    let bundle = gap.export();
    let receiver = Receiver::good();
    let (unsigned, signed, by_other) =
        (gap.on_stick("unsigned"), gap.on_stick("signed"), gap.on_stick("other"));
    gap.importer.json(&["import", &bundle]);
    assert_eq!(gap.importer.flush(&receiver.url(), &[]).0, 0);
    gap.importer.json(&["receipt", &bundle, "-o", &unsigned]);
    gap.importer.json(&["receipt", &bundle, "-o", &by_other, "--sign", &other]);
    gap.importer.json(&["deliver", &bundle, "--endpoint", &receiver.url(), "-o", &signed, "--sign", &key]);
    let again = ["deliver", &bundle, "--endpoint", &receiver.url(), "-o", &unsigned, "--sign", &key];
    assert_eq!(gap.importer.json(&again)["delivered"], 50, "whoever signs believes no other's receipt");
    assert!(std::fs::read_to_string(&unsigned).unwrap().lines().count() == 3);
    gap.importer.json(&["receipt", &bundle, "-o", &unsigned]);
    gap.origin.json(&["config", "set", &format!("verify={public}")]);
    let acknowledge = |file: &str| gap.origin.milepost(&["acknowledge", file]);
    assert_refused(&acknowledge(&unsigned), "it is not signed");
    assert_refused(&acknowledge(&by_other), "no key that is accepted here");
    let text = std::fs::read_to_string(&signed).unwrap();
    let damaged = gap.on_stick("damaged");
    let last = text.trim_end().chars().last().unwrap();
    let changed =
        format!("{}{}\n", &text.trim_end()[..text.trim_end().len() - 1], if last == '0' { '1' } else { '0' });
    std::fs::write(&damaged, changed).unwrap();
    assert_refused(&acknowledge(&damaged), "its signature is wrong");
    // The signature of one receipt under another.
    let line = text.lines().last().unwrap();
    std::fs::write(&damaged, format!("{}{line}\n", std::fs::read_to_string(&unsigned).unwrap())).unwrap();
    assert_refused(&acknowledge(&damaged), "its signature is wrong");
    assert_eq!(waiting(&gap.origin), 50, "nothing was changed");
    assert_eq!(acknowledge(&signed).status, 0);
    assert_eq!(waiting(&gap.origin), 0);
}

#[test]
fn who_wants_signatures_believes_no_receipt_without_one_that_lies_beside_a_bundle() {
    let gap = Gap::new();
    let (key, _) = keygen(&gap.origin, "key");
    gap.origin.enqueue(20);
    let bundle = gap.on_stick("bundle");
    gap.origin.json(&["export", &bundle, "--sign", &key]);
    let deliver = |more: &[&str]| {
        let receiver = Receiver::good();
        let url = receiver.url();
        gap.importer.json(&[&["deliver", &bundle, "--endpoint", &url], more].concat());
        receiver.taken().len()
    };
    assert_eq!(deliver(&[]), 20);
    assert_eq!(deliver(&[]), 0, "its receipt says that it was delivered");
    assert_eq!(deliver(&["--verify", &format!("{key}.pub")]), 20, "nobody vouches for that receipt");
}
