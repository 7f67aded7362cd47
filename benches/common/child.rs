//! Processes of their own: a bench runs itself, and says to the child what it is to do.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const DOES: &str = "BENCH_CHILD_DOES";
const HOME: &str = "BENCH_CHILD_HOME";
const URL: &str = "BENCH_CHILD_URL";

/// What a child can be told to do, in a home.
pub(crate) type Task = (&'static str, fn(&Path));

/// What this process is to do, where it is a child, and in which home.
pub(crate) fn task() -> Option<(String, PathBuf)> {
    Some((env::var(DOES).ok()?, env::var_os(HOME)?.into()))
}

/// Where a child's client delivers to.
pub(crate) fn url() -> String {
    env::var(URL).unwrap_or_default()
}

/// This program as a child, in an environment that refuses nothing.
pub(crate) fn command(does: &str, home: &Path) -> Command {
    into_child(Command::new(env::current_exe().expect("this program has a path")), does, home)
}

/// The same under `strace` with these arguments; `None` where there is none.
pub(crate) fn traced(arguments: &[&str], does: &str, home: &Path) -> Option<Command> {
    let version = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        println!("there is no strace here, so this is left out");
        return None;
    }
    let mut command = Command::new("strace");
    command.args(arguments).arg(env::current_exe().expect("this program has a path"));
    Some(into_child(command, does, home))
}

fn into_child(mut command: Command, does: &str, home: &Path) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env(DOES, does).env(HOME, home);
    command
}

pub(crate) fn delivering_to<'a>(command: &'a mut Command, url: &str) -> &'a mut Command {
    command.env(URL, url)
}

/// Waits for the child's end, and returns the figures that it printed, in their order.
pub(crate) fn figures(command: &mut Command) -> Vec<f64> {
    let output = command.stderr(Stdio::inherit()).output().expect("this program runs");
    assert!(output.status.success(), "a child failed: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// A child that is killed when nobody needs it any more.
pub(crate) struct Living(pub(crate) Child);

impl Living {
    /// Starts it, and waits for its first line.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("this program runs");
        let stdout = child.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("the child lives");
        Self(child)
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.kill();
    }
}
