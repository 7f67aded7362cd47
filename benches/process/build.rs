//! What the library brings and how long it takes to build, in a directory of its own, without its default features.

use std::process::Command;
use std::time::Instant;

use super::common::goals::Goal::Known;
use super::common::goals::Goals;

pub(crate) fn run(goals: &mut Goals) {
    let tree = ["tree", "--locked", "--no-default-features", "-e", "normal", "--prefix", "none"];
    let tree = cargo().args(tree).output().expect("cargo runs");
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    let crates: std::collections::BTreeSet<_> =
        tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| *name != "milepost").collect();
    goals.value("crates without default features, those of macros too", crates.len() as f64, "crates", Known);

    let target = tempfile::tempdir().expect("a temporary directory");
    let build = || {
        let mut command = cargo();
        command.args(["build", "--locked", "--release", "--lib", "--no-default-features"]);
        let began = Instant::now();
        let status = command.env("CARGO_TARGET_DIR", target.path()).status().expect("cargo runs");
        assert!(status.success());
        began.elapsed().as_secs_f64()
    };
    goals.value("release build of the library with all of them", build(), "s", Known);
}

fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}
