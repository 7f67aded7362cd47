//! The program for Prefect in a home of its own, with a terminal or without.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Home, tool};

/// What a person is told once.
pub(crate) const NOTICE: &str = "Prefect collects anonymous usage data to improve the product.
To opt out: PREFECT_SERVER_ANALYTICS_ENABLED=false or DO_NOT_TRACK=1
Learn more: https://docs.prefect.io/concepts/telemetry\n";

const PREFECT: [&str; 6] =
    ["--product", "prefect", "--product-version", "3.8.8", "--runtime-version", "3.11.7"];

/// Runs what follows in a pseudo-terminal.
pub(crate) const TERMINAL: &str =
    "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

/// The program for Prefect in this home. `None` where there is no Python to make a terminal.
pub(crate) fn prefect(home: &Home, terminal: bool, arguments: &[&str]) -> Option<Command> {
    let mut command = if terminal {
        let mut python = tool("python3")?;
        python.args(["-c", TERMINAL, env!("CARGO_BIN_EXE_milepost")]);
        python
    } else {
        Command::new(env!("CARGO_BIN_EXE_milepost"))
    };
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home.path());
    command.args(PREFECT).args(arguments);
    Some(command)
}

/// How a command ended, and all that it said.
pub(crate) fn run(command: &mut Command) -> (Option<i32>, String) {
    let done = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    (done.status.code(), said.replace("\r\n", "\n"))
}

/// Where Prefect's telemetry lies.
pub(crate) fn directory(home: &Home) -> PathBuf {
    home.path().join(".prefect/.sdk_telemetry")
}
