//! What the promises are tested with: a home of one's own, the program in a clean environment, a receiver
//! that answers as it was told.
#![allow(dead_code, reason = "no test needs all of it")]

pub(crate) mod dice;
pub(crate) mod forward;
pub(crate) mod gap;
pub(crate) mod host;
pub(crate) mod prefect;
pub(crate) mod receiver;
pub(crate) mod steps;
pub(crate) mod store;
pub(crate) mod worker;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;

use dice::Dice;
use receiver::Receiver;

/// Long enough that no test fails because the machine is busy.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The product file of the tests. Its home is `~/.acme-worker`, and `HOME` is the test's own.
pub(crate) const ACME: &str = r#"
name = "acme-worker"
version = "1.4.0"
home = "~/.acme-worker"
home_env = "ACME_WORKER_HOME"
folder = "telemetry"
opt_out_env = "ACME_TELEMETRY"
milestones = ["first_job", "second_job"]
spread_seconds = 0.0
"#;

/// A person's home directory with a product file in it, gone with the test.
pub(crate) struct Home(TempDir);

/// What a call of the program came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    /// With the product [`ACME`].
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// With the product [`ACME`] and more lines in its file.
    pub(crate) fn with(more: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::write(home.product_file(), format!("{ACME}{more}")).unwrap();
        home
    }

    /// Adds lines to the product file.
    pub(crate) fn declare(&self, more: &str) {
        let known = std::fs::read_to_string(self.product_file()).unwrap();
        std::fs::write(self.product_file(), known + more).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn product_file(&self) -> PathBuf {
        self.path().join("acme.toml")
    }

    /// Where the product's events lie, once there are any.
    pub(crate) fn telemetry(&self) -> PathBuf {
        self.path().join(".acme-worker/telemetry")
    }

    /// The program for this product, with nothing of the test's own environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_milepost"));
        command
            .env_clear()
            .env("HOME", self.path())
            .env("TMPDIR", self.path())
            .arg("--product")
            .arg(self.product_file())
            .args(arguments);
        command
    }

    pub(crate) fn milepost(&self, arguments: &[&str]) -> Done {
        finish(&mut self.command(arguments), "")
    }

    /// The answer of a call that has to end well, as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let done = self.milepost(&[arguments, &["--json"]].concat());
        assert_eq!(done.status, 0, "{arguments:?}: {done:?}");
        done.json()
    }

    /// Enqueues events named `job_finished` with the properties `number` (from 0 on) and `region`.
    pub(crate) fn enqueue(&self, events: u64) {
        let line = |number| {
            format!(r#"{{"name":"job_finished","properties":{{"number":{number},"region":"eu"}}}}"#) + "\n"
        };
        let lines: String = (0..events).map(line).collect();
        let done = finish(&mut self.command(&["enqueue", "--stdin", "--json"]), &lines);
        assert_eq!(done.status, 0, "{done:?}");
        assert_eq!(done.json()["accepted"], events);
    }

    /// Flushes to `endpoint`: the exit status and the report.
    pub(crate) fn flush(&self, endpoint: &str, more: &[&str]) -> (i32, Value) {
        let done = self.milepost(&[&["flush", "--json", "--endpoint", endpoint], more].concat());
        assert!(done.status == 0 || done.status == 4, "{done:?}");
        (done.status, done.json())
    }

    /// Leaves behind what only the store remembers: a milestone that was delivered, and a dead letter beside nine
    /// events that were delivered.
    pub(crate) fn leave_history(&self) {
        let receiver = Receiver::refusing(7);
        assert_eq!(self.milepost(&["milestone", "first_job"]).status, 0);
        self.enqueue(10);
        let (status, report) = self.flush(&receiver.url(), &[]);
        assert_eq!((status, &report["delivered"], &report["dead"]), (0, &json!(10), &json!(1)), "{report}");
    }

    /// The dead letter of [`Home::leave_history`] is there, and the milestone is not reached again.
    pub(crate) fn assert_history(&self) {
        let dead = self.json(&["dead", "list"])["dead"].clone();
        assert_eq!(dead.as_array().map(Vec::len), Some(1), "{dead}");
        assert_eq!(dead[0]["event"]["properties"]["number"], 7);
        let before = self.status()["dropped"]["already_reached"].as_u64().unwrap_or(0);
        assert_eq!(self.milepost(&["milestone", "first_job"]).status, 0);
        let receiver = Receiver::good();
        assert_eq!(self.flush(&receiver.url(), &[]).0, 0);
        assert_eq!(receiver.taken().iter().filter(|event| event.name == "first_job").count(), 0);
        assert_eq!(self.status()["dropped"]["already_reached"], before + 1);
    }

    /// Makes it look as if whoever holds the spool had shown itself an hour ago for the last time.
    pub(crate) fn age_owner(&self) {
        let past = SystemTime::now() - Duration::from_secs(3_600);
        for name in ["owner.lock", "ledger"] {
            let file = std::fs::File::options().write(true).open(self.telemetry().join(name)).unwrap();
            file.set_modified(past).unwrap();
        }
    }

    /// How things stand. The books have to balance, in sum and for each destination.
    pub(crate) fn status(&self) -> Value {
        let status = self.json(&["status"]);
        let number = |value: &Value| value.as_u64().unwrap();
        let dropped: u64 = status["dropped"].as_object().unwrap().values().map(number).sum();
        let ends = number(&status["delivered"])
            + number(&status["waiting"]["events"])
            + number(&status["dead"])
            + dropped;
        assert_eq!(number(&status["accepted"]), ends, "the books do not balance: {status}");
        for (key, sum) in [("waiting", &status["waiting"]["events"]), ("delivered", &status["delivered"])] {
            let destinations = status["destinations"].as_array().unwrap();
            let parts: u64 = destinations.iter().map(|destination| number(&destination[key])).sum();
            assert_eq!(parts, number(sum), "{key} of the destinations: {status}");
        }
        status
    }

    /// What waits, as `peek` shows it.
    pub(crate) fn peek(&self) -> Vec<Value> {
        let done = self.milepost(&["peek"]);
        assert_eq!(done.status, 0, "{done:?}");
        done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The ids of what waits.
    pub(crate) fn ids(&self) -> BTreeSet<String> {
        self.peek().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    }
}

impl Done {
    /// Standard output as one line of JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The error that was told on standard error, with nothing on standard output.
    pub(crate) fn error(&self) -> Value {
        assert_eq!(self.stdout, "", "{self:?}");
        let line = self.stderr.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A number of a sequence that all who ask share, the same in each run.
pub(crate) fn dice(sides: u64) -> u64 {
    static SHARED: Mutex<Dice> = Mutex::new(Dice::new(0));
    SHARED.lock().unwrap().roll(sides)
}

/// A tool that a test needs, in a clean environment. `None` where it is missing.
pub(crate) fn tool(name: &str) -> Option<Command> {
    let found = Command::new(name).arg("-V").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        return skip(name);
    }
    let mut command = Command::new(name);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    Some(command)
}

/// Where a receiver or a program of others is that `tests/receivers/install` installs, as in `rotel/bin/rotel-agent`.
/// `None` where it is missing.
pub(crate) fn installed(place: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join(place);
    if found.exists() {
        Some(found)
    } else {
        skip(&format!("{place}, which tests/receivers/install installs,"))
    }
}

/// Set by `.ci/run`: what is missing is then a failure.
const REQUIRED: &str = "MILEPOST_REQUIRE_RECEIVERS";

/// Says that a test is left out, and for want of what.
pub(crate) fn skip<T>(missing: &str) -> Option<T> {
    assert!(std::env::var_os(REQUIRED).is_none(), "{missing} is missing");
    // Not by a macro, whose words are kept back when a test passes.
    std::io::stderr().write_all(format!("SKIPPED: {missing} is missing\n").as_bytes()).unwrap();
    None
}

/// Runs a command with these lines on its standard input.
pub(crate) fn finish(command: &mut Command, input: &str) -> Done {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // Beside it: the program may answer before it has read everything.
    let feeding = std::thread::spawn(move || {
        // One that refuses reads nothing.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    Done {
        status: output.status.code().expect("it was not killed"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A process, with a clean environment, in which a test runs alone. `module` is its `module_path!()`.
pub(crate) fn process_of(module: &str, test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env_clear().args(arguments_of(module, test));
    command
}

/// What a test program is to be called with to run one test alone, also one that is ignored.
pub(crate) fn arguments_of(module: &str, test: &str) -> [String; 4] {
    let path = module.split_once("::").map_or(test.into(), |(_, module)| format!("{module}::{test}"));
    [path, "--exact".into(), "--include-ignored".into(), "--nocapture".into()]
}

/// Runs the body of the test `name` in a process of its own, with a clean environment: a host that sets `CI`
/// would make the client refuse, and threads of other tests share the environment.
pub(crate) fn in_a_clean_process(name: &str, body: impl FnOnce()) {
    const MARK: &str = "IN_A_CLEAN_PROCESS";
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    // Whoever defines the body says which module the test is in.
    let (function, _closure) = std::any::type_name_of_val(&body).rsplit_once("::").unwrap();
    let mut command = process_of(function.rsplit_once("::").unwrap().0, name);
    command.env(MARK, "1");
    // What says where tools are, and whether a test may do without.
    let kept = ["PATH", REQUIRED].into_iter();
    command.envs(kept.filter_map(|name| Some((name, std::env::var_os(name)?))));
    let done = finish(&mut command, "");
    assert_eq!(done.status, 0, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("1 passed"), "there is no test {name}: {}", done.stdout);
    print!("{}", done.stdout);
}

/// Sends a signal; `false` where there is no such process.
pub(crate) fn signal(pid: u64, signal: &str) -> bool {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status();
    sent.unwrap().success()
}

/// Waits until something holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Does the same with all of these at once, for what is mostly waiting.
pub(crate) fn at_once<T: Copy + Sync>(all: &[T], each: impl Fn(T) + Sync) {
    std::thread::scope(|scope| all.iter().for_each(|one| drop(scope.spawn(|| each(*one)))));
}

/// The keys of an object, in alphabetical order.
pub(crate) fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Copies a directory with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

pub(crate) fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// No file below the directory has the text in it.
pub(crate) fn assert_nowhere(directory: &Path, text: &str) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_nowhere(&path, text);
        } else {
            assert!(!has(&std::fs::read(&path).unwrap(), text), "{text} stands in {}", path.display());
        }
    }
}
