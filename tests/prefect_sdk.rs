//! The promise: Prefect's own SDK and milepost share a telemetry directory. What either marked, made or showed counts
//! for both.
//!
//! `tests/receivers/install` installs the SDK. It runs in a network namespace of its own, where there is no network:
//! nothing that it would tell leaves this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::prefect::{TERMINAL, directory};
use crate::common::{Home, installed, skip, tool};
use serde_json::{Value, json};

/// What the SDK says of its telemetry once it is imported; with `flow` after somebody defined one.
const ASK: &str = r#"
import json, sys
import prefect
from prefect._internal.analytics.device_id import get_or_create_device_id
from prefect._internal.analytics.milestones import ALL_MILESTONES, has_reached_milestone, try_mark_milestone
from prefect._internal.analytics.service import AnalyticsService
before = [name for name in ALL_MILESTONES if has_reached_milestone(name)]
again = [name for name in before if try_mark_milestone(name)]
if "flow" in sys.argv:
    prefect.flow(lambda: None, name="f")
after = [name for name in ALL_MILESTONES if has_reached_milestone(name)]
said = {"before": before, "again": again, "after": after, "id": get_or_create_device_id(),
        "sent": AnalyticsService._instance is not None}
print("said " + json.dumps(said), flush=True)
"#;

/// A home that both use, and the Python that has the SDK.
struct Shared {
    home: Home,
    python: PathBuf,
}

impl Shared {
    /// `None` where the SDK or what keeps it off the network is missing.
    fn new() -> Option<Self> {
        let python = installed("prefect/bin/python")?;
        if !unshared().arg("true").status().is_ok_and(|status| status.success()) {
            return skip("a network namespace of one's own");
        }
        Some(Self { home: Home::new(), python })
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(directory(&self.home).join(name)).unwrap()
    }

    fn marks(&self) -> Value {
        serde_json::from_str(&self.read("milestones.json")).unwrap()
    }

    /// What a program printed in a terminal of its own, without a network.
    fn in_a_terminal(&self, program: &Path, arguments: &[&str]) -> String {
        let python = tool("python3").unwrap();
        let mut command = unshared();
        command.arg(python.get_program()).args(["-c", TERMINAL]).arg(program).args(arguments);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let done = command
            .env("HOME", self.home.path())
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{arguments:?}: {said}");
        said.replace("\r\n", "\n")
    }

    fn milepost(&self, arguments: &[&str]) -> String {
        let prefect = ["--product", "prefect", "--product-version", "3.8.8"];
        self.in_a_terminal(Path::new(env!("CARGO_BIN_EXE_milepost")), &[&prefect, arguments].concat())
    }

    fn status(&self) -> Value {
        let said = self.milepost(&["status", "--json"]);
        serde_json::from_str(said.lines().last().unwrap()).unwrap()
    }

    /// Imports the SDK: what it says of its telemetry, and what a person sees.
    fn sdk(&self, more: &[&str]) -> (Value, String) {
        let said = self.in_a_terminal(&self.python, &[&["-c", ASK], more].concat());
        let line =
            said.lines().find_map(|line| line.strip_prefix("said ")).unwrap_or_else(|| panic!("{said}"));
        (serde_json::from_str(line).unwrap(), said)
    }
}

/// A command without a network.
fn unshared() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--"]);
    command
}

const NOTICE: &str = "Prefect collects anonymous usage data";

#[test]
fn the_sdk_takes_what_milepost_reached_as_its_own_and_sends_nothing() {
    let Some(shared) = Shared::new() else { return };
    assert!(shared.milepost(&["milestone", "first_sdk_import"]).contains(NOTICE));
    shared.milepost(&["milestone", "first_flow_defined"]);
    let id = shared.read("device_id");
    let (sdk, said) = shared.sdk(&["flow"]);
    let both = json!(["first_sdk_import", "first_flow_defined"]);
    assert_eq!(sdk, json!({ "before": both, "again": [], "after": both, "id": id, "sent": false }));
    assert!(!said.contains(NOTICE), "it was shown: {said}");
    assert_eq!(shared.status()["waiting"]["events"], 2);
}

#[test]
fn milepost_takes_what_the_sdk_reached_as_its_own_and_sends_nothing() {
    let Some(shared) = Shared::new() else { return };
    let (sdk, said) = shared.sdk(&["flow"]);
    assert_eq!((&sdk["before"], &sdk["sent"]), (&json!(["first_sdk_import"]), &json!(true)));
    assert!(said.contains(NOTICE), "{said}");
    let id = shared.read("device_id");
    assert_eq!(sdk["id"], id);

    for milestone in ["first_sdk_import", "first_flow_defined"] {
        let said = shared.milepost(&["milestone", milestone]);
        assert!(!said.contains(NOTICE), "it was shown: {said}");
    }
    let status = shared.status();
    assert_eq!((&status["waiting"]["events"], &status["device_id"]), (&json!(0), &json!(id)), "{status}");
    assert_eq!(status["dropped"], json!({ "already_reached": 2 }));

    // And what milepost reaches beside it, the SDK knows.
    shared.milepost(&["milestone", "first_flow_run"]);
    assert_eq!(shared.status()["waiting"]["events"], 1);
    let (sdk, _) = shared.sdk(&[]);
    let three = json!(["first_sdk_import", "first_flow_defined", "first_flow_run"]);
    assert_eq!(sdk, json!({ "before": three, "again": [], "after": three, "id": id, "sent": false }));
    let marks = json!({ "first_sdk_import": true, "first_flow_defined": true, "first_flow_run": true });
    assert_eq!(shared.marks(), marks);
}
