//! The promise: the process may die after any step of export, import, delivery and acknowledgement, and whoever does
//! the same again comes to the same end.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::common::gap::{Gap, ids, waiting};
use crate::common::receiver::Receiver;
use crate::common::steps::at_each_step;
use crate::common::{Home, process_of};
use milepost::{Admin, Client, Product, Selection};

const EVENTS: u64 = 300;

/// What the air gap's own steps are in `src/spool/step.rs`.
const OWN_STEPS: [u8; 7] = [23, 24, 25, 26, 27, 28, 29];

/// What somebody does on one side of the gap.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Export,
    Import,
    Deliver,
    Acknowledge,
}

/// The one who dies.
#[test]
#[ignore = "a process that other tests start"]
fn mortal() {
    let variable = |name| std::env::var(name).ok();
    let Some(product) = variable("MORTAL_PRODUCT") else { return };
    let dies_at = variable("MORTAL_STEP").map(|step| step.parse().unwrap());
    at_each_step(move |step, _| {
        println!("step {step}");
        if dies_at == Some(step) {
            std::process::abort();
        }
    });
    let [bundle, receipt] = ["MORTAL_BUNDLE", "MORTAL_RECEIPT"].map(|name| variable(name).unwrap());
    let (bundle, receipt) = (Path::new(&bundle), Path::new(&receipt));
    let builder = Client::builder(Product::from_file(product).unwrap());
    let admin: Admin = builder.endpoint(variable("MORTAL_ENDPOINT").unwrap()).admin().unwrap();
    match variable("MORTAL_DEED").unwrap().as_str() {
        "Export" => drop(admin.export(bundle, &Selection::default(), &mut |_| true).unwrap()),
        "Import" => drop(admin.import(bundle, false, &mut |_| ()).unwrap()),
        "Deliver" => drop(admin.deliver(bundle, receipt, Duration::from_secs(60), &mut |_| true).unwrap()),
        "Acknowledge" => drop(admin.acknowledge(receipt).unwrap()),
        other => panic!("nobody does {other}"),
    }
}

/// Does it, and dies at a step, if one is named. Says which steps were reached.
fn go(gap: &Gap, deed: Deed, endpoint: &str, step: Option<u8>) -> BTreeSet<u8> {
    let home: &Home = match deed {
        Deed::Export | Deed::Acknowledge => &gap.origin,
        Deed::Import | Deed::Deliver => &gap.importer,
    };
    let mut command = process_of(module_path!(), "mortal");
    command
        .env("HOME", home.path())
        .env("MORTAL_PRODUCT", home.product_file())
        .env("MORTAL_ENDPOINT", endpoint)
        .env("MORTAL_DEED", format!("{deed:?}"))
        .env("MORTAL_BUNDLE", gap.on_stick("bundle"))
        .env("MORTAL_RECEIPT", gap.on_stick("receipt"))
        .stderr(Stdio::inherit());
    command.envs(step.map(|step| ("MORTAL_STEP", step.to_string())));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let died = output.status.signal() == Some(6);
    assert!(died == step.is_some() && (died || output.status.success()), "{deed:?}, step {step:?}: {text}");
    text.lines().filter_map(|line| line.strip_prefix("step ")?.parse().ok()).collect()
}

/// Over the gap and back. Whoever does the deed dies at the step first, and does it again.
fn cross(dies: Option<(Deed, u8)>) -> Vec<(Deed, BTreeSet<u8>)> {
    let gap = Gap::new();
    gap.origin.enqueue(EVENTS);
    assert_eq!(gap.origin.milepost(&["milestone", "first_job"]).status, 0);
    let expected = gap.origin.ids();
    let receivers = [Receiver::good(), Receiver::good()];
    let urls = receivers.each_ref().map(Receiver::url);
    let mut steps = Vec::new();
    for deed in [Deed::Export, Deed::Import, Deed::Deliver, Deed::Acknowledge] {
        if let Some((_, step)) = dies.filter(|(dying, _)| *dying as u8 == deed as u8) {
            go(&gap, deed, &urls[1], Some(step));
        }
        steps.push((deed, go(&gap, deed, &urls[1], None)));
    }
    let (status, report) = gap.importer.flush(&urls[0], &["--timeout", "60s"]);
    assert_eq!(status, 0, "{dies:?}: {report}");
    for receiver in &receivers {
        assert_eq!(ids(receiver), expected, "{dies:?}");
    }
    receivers[0].taken_once();
    assert_eq!((waiting(&gap.origin), waiting(&gap.importer)), (0, 0), "{dies:?}");
    let all = EVENTS + 1;
    assert_eq!(
        (&gap.origin.status()["delivered"], &gap.importer.status()["accepted"]),
        (&all.into(), &all.into())
    );
    let again = gap.origin.json(&["export", &gap.on_stick("again")]);
    assert_eq!(again["events"], 0, "{dies:?}: it is on no second bundle");
    let mut left: Vec<_> =
        std::fs::read_dir(gap.stick.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["bundle", "receipt"], "{dies:?}");
    steps
}

#[test]
fn whoever_crosses_the_gap_may_die_after_every_step() {
    let steps = cross(None);
    let reached: BTreeSet<u8> = steps.iter().flat_map(|(_, steps)| steps.clone()).collect();
    assert!(OWN_STEPS.iter().all(|step| reached.contains(step)), "{reached:?}");
    for (deed, steps) in steps {
        assert!(steps.len() > 2, "{deed:?}: {steps:?}");
        let dying: Vec<_> = steps.into_iter().collect();
        for some in dying.chunks(8) {
            crate::common::at_once(some, |step| drop(cross(Some((deed, step)))));
        }
    }
}
