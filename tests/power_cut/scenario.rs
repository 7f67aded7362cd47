//! What is recorded: a worker and commands of the program in one directory, and a receiver that comes and goes.
//!
//! The driver is a process of its own. It says on standard output what was promised, and the recording shows when.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use milepost::{Client, Event, FlushReport, Product};

use crate::common::dice::Dice;
use crate::common::receiver::{self, Receiver, Reply};
use crate::common::steps::at_each_step;
use crate::common::{Home, LONG, arguments_of, finish, process_of};

/// What stands before a promise on the driver's standard output.
pub(crate) const PROMISE: &str = "promise: ";

/// The header that numbers the receiver's answers.
pub(crate) const ANSWER: &str = "X-Answer: ";

/// As many as there are in `src/spool/step.rs`.
const STEPS: usize = 13;

/// What the driver does while it is recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scenario {
    /// An installation that somebody made a moment ago, journals of every kind, a milestone, dead letters,
    /// commands beside a worker; and a store that is filled and drained over all its segments so many times.
    Life { fillings: u64 },
    /// A store that is damaged, set aside, and filled again from `taken/`.
    Refill,
    /// Processes that die at each step of intake and delivery, and others that go on.
    Deaths,
    /// A store that grows with dead letters until it is written anew.
    Rewrite,
    /// A bundle that leaves, is delivered beside its file, and whose receipt comes back.
    Gap,
}

/// An answer of the receiver: its status, and the events that it was about.
pub(crate) type Answer = (u16, Vec<receiver::Event>);

/// Starts a receiver that is down while a file says so, and refuses what has an event in it that is poison.
pub(crate) fn receiver(home: &Home) -> (Receiver, Arc<Mutex<Vec<Answer>>>) {
    let answers = Arc::<Mutex<Vec<Answer>>>::default();
    let (down, answering) = (down(home.path()), answers.clone());
    let receiver = Receiver::start(move |request| {
        // What came by a bundle is the same event.
        let mut events = request.events();
        let is_own = |key: &String, _: &mut _| !key.starts_with("milepost.bundle.");
        events.iter_mut().for_each(|event| event.resource.retain(is_own));
        let is_poisoned = events.iter().any(|event| event.properties.contains_key("poison"));
        let status = match is_poisoned {
            _ if down.exists() => 503,
            true => 400,
            false => 200,
        };
        let mut answers = answering.lock().unwrap();
        answers.push((status, events));
        Reply::new(status, &format!("{ANSWER}{}\r\n", answers.len() - 1), "")
    });
    (receiver, answers)
}

/// Where the bundle lies.
pub(crate) fn bundle(home: &Path) -> PathBuf {
    home.join("bundle")
}

/// The file that says that the receiver is down.
fn down(home: &Path) -> PathBuf {
    home.join("receiver-is-down")
}

impl Scenario {
    /// Whether the store may be lost at any time: without dead letters, nothing stands there alone.
    pub(crate) fn may_lose_the_store(self) -> bool {
        matches!(self, Self::Refill)
    }

    /// The command that drives it.
    pub(crate) fn driver(self, home: &Home, endpoint: &str) -> Command {
        let (name, fillings) = match self {
            Self::Life { fillings } => ("life", fillings),
            Self::Refill => ("refill", 0),
            Self::Deaths => ("deaths", 0),
            Self::Rewrite => ("rewrite", 0),
            Self::Gap => ("gap", 0),
        };
        let mut command = process_of(module_path!(), "driver");
        command
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .env("DRIVER_SCENARIO", name)
            .env("DRIVER_FILLINGS", fillings.to_string())
            .env("DRIVER_PRODUCT", home.product_file())
            .env("DRIVER_ENDPOINT", endpoint);
        command
    }
}

#[test]
#[ignore = "a process that other tests start"]
fn driver() {
    let Ok(scenario) = std::env::var("DRIVER_SCENARIO") else { return };
    let mut driver = Driver::new(0);
    match scenario.as_str() {
        "life" => driver.live(),
        "refill" => driver.refill(),
        "deaths" => driver.die(),
        "rewrite" => driver.rewrite(),
        "gap" => driver.cross_the_gap(),
        other => panic!("there is no scenario {other}"),
    }
}

/// Enqueues, syncs, and dies at a step of the flush that follows.
#[test]
#[ignore = "a process that other tests start"]
fn mortal() {
    let Ok(first) = std::env::var("MORTAL_FIRST") else { return };
    let dies_at: u32 = std::env::var("MORTAL_STEP").unwrap().parse().unwrap();
    at_each_step(move |step, _| {
        if step == dies_at {
            std::process::abort();
        }
    });
    let mut driver = Driver::new(first.parse().unwrap());
    let worker = driver.client();
    driver.enqueue(&worker, MORTAL_EVENTS - 1, 300);
    driver.poison(&worker, 300);
    driver.flush(&worker);
    panic!("the step was not reached");
}

const MORTAL_EVENTS: u64 = 20;

struct Driver {
    home: PathBuf,
    product: String,
    endpoint: String,
    /// Of the next event.
    number: u64,
    dice: Dice,
}

impl Driver {
    fn new(number: u64) -> Self {
        let variable = |name| std::env::var(name).unwrap();
        Self {
            home: variable("HOME").into(),
            product: variable("DRIVER_PRODUCT"),
            endpoint: variable("DRIVER_ENDPOINT"),
            number,
            dice: Dice::new(number),
        }
    }

    fn live(&mut self) {
        let fillings = std::env::var("DRIVER_FILLINGS").unwrap().parse().unwrap();
        self.somebody_makes_the_installation();
        self.commands();
        let worker = self.client();
        self.trickle(&worker);
        for _ in 0..fillings {
            self.fill(&worker);
            assert!(self.flush(&worker).is_complete());
        }
        self.bustle(&worker);
        self.flush_beside();
        self.purge(&worker);
        self.enqueue(&worker, 20, 900);
        worker.shutdown(LONG).unwrap();
        self.flush_beside();
        self.milepost(&["status"], "");
    }

    fn refill(&mut self) {
        let store = |number| self.home.join(format!(".acme-worker/telemetry/spool/{number}/db"));
        let (first, second) = (store(1), store(2));
        self.set_down(true);
        let worker = self.client();
        for _ in 0..2 {
            self.enqueue(&worker, 150, 900);
            self.flush(&worker);
        }
        worker.shutdown(LONG).unwrap();
        std::fs::OpenOptions::new().write(true).open(first).unwrap().set_len(100_000).unwrap();
        let worker = self.client();
        self.flush(&worker);
        self.enqueue(&worker, 100, 900);
        self.flush(&worker);
        self.set_down(false);
        assert!(self.flush(&worker).is_complete());
        for _ in 0..6 {
            self.enqueue(&worker, 30, 300);
            assert!(self.flush(&worker).is_complete());
        }
        worker.shutdown(LONG).unwrap();
        assert!(second.exists());
    }

    fn die(&mut self) {
        for step in 1..=STEPS {
            self.die_at(step);
            self.flush_beside();
        }
    }

    fn rewrite(&mut self) {
        let anew = self.home.join(".acme-worker/telemetry/spool/2");
        let worker = self.client();
        self.enqueue(&worker, 1, 20);
        assert!(self.flush(&worker).is_complete());
        while !anew.exists() {
            for _ in 0..100 {
                self.poison(&worker, 3_000);
            }
            assert!(self.flush(&worker).is_complete());
        }
        self.enqueue(&worker, 100, 900);
        assert!(self.flush(&worker).is_complete());
        worker.shutdown(LONG).unwrap();
    }

    /// Some of what is exported is in the store, some in journals.
    fn cross_the_gap(&mut self) {
        let [bundle, receipt] =
            [bundle(&self.home), self.home.join("receipt")].map(|path| path.display().to_string());
        let worker = self.client();
        self.set_down(true);
        self.enqueue(&worker, 40, 300);
        self.flush(&worker);
        self.set_down(false);
        worker.shutdown(LONG).unwrap();
        self.enqueue_beside();
        self.milepost(&["milestone", "first_job"], "");
        say("reached first_job");
        self.milepost(&["export", &bundle], "");
        say("exported");
        self.enqueue_beside();
        self.flush_beside();
        self.milepost(&["deliver", &bundle, "--endpoint", &self.endpoint, "-o", &receipt], "");
        self.milepost(&["acknowledge", &receipt], "");
        say("acknowledged");
        self.enqueue_beside();
        self.flush_beside();
    }

    /// As Prefect makes it: nothing of it is synced.
    fn somebody_makes_the_installation(&self) {
        let telemetry = self.home.join(".acme-worker/telemetry");
        std::fs::create_dir_all(&telemetry).unwrap();
        std::fs::write(telemetry.join("device_id"), "7d2f6c1e-5b0a-4c43-9f0e-2b8f4f1f7a11").unwrap();
    }

    /// Short processes, each of which goes on with the journal of the one before, and a milestone.
    fn commands(&mut self) {
        let first = self.number;
        let line = |number| format!(r#"{{"name":"job_finished","properties":{{"number":{number}}}}}"#) + "\n";
        self.milepost(&["enqueue", "--stdin"], &(first..first + 40).map(line).collect::<String>());
        self.number += 40;
        say(&format!("synced {first} {}", self.number - 1));
        for _ in 0..3 {
            self.enqueue_beside();
        }
        self.milepost(&["milestone", "first_job"], "");
        say("reached first_job");
    }

    /// A process dies, and another one goes on while the receiver is down.
    fn die_at(&mut self, step: usize) {
        // What the driver was told holds for it as well.
        let mut mortal = Command::new(std::env::current_exe().unwrap());
        mortal
            .args(arguments_of(module_path!(), "mortal"))
            .env("MORTAL_STEP", step.to_string())
            .env("MORTAL_FIRST", self.number.to_string());
        let died = mortal.status().unwrap();
        assert_eq!(died.signal(), Some(6), "step {step}: {died:?}");
        self.number += MORTAL_EVENTS;
        self.set_down(true);
        self.flush_beside();
        self.set_down(false);
    }

    /// A journal of many small blocks, which is packed before it is let go.
    fn trickle(&mut self, worker: &Client) {
        for _ in 0..30 {
            self.enqueue(worker, 1, 20);
        }
        assert!(self.flush(worker).is_complete());
    }

    /// Fills the store while the receiver is down. The last event of each journal is poison.
    fn fill(&mut self, worker: &Client) {
        self.set_down(true);
        for _ in 0..4 {
            for _ in 0..4 {
                self.enqueue(worker, 100, 900);
            }
            self.poison(worker, 0);
            assert!(self.flush(worker).waiting > 0);
        }
        self.enqueue_beside();
        self.milepost(&["status"], "");
        self.set_down(false);
    }

    /// Enqueues and delivers at the same time: many small journals, some of which end with a dead letter.
    fn bustle(&mut self, worker: &Client) {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    worker.flush(LONG).unwrap();
                }
            });
            for round in 0..40 {
                self.enqueue(worker, 8, 300);
                if round % 4 == 0 {
                    self.poison(worker, 0);
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    fn purge(&mut self, worker: &Client) {
        let first = self.number;
        self.set_down(true);
        self.enqueue(worker, 100, 900);
        self.flush(worker);
        self.enqueue(worker, 50, 900);
        say(&format!("purged {first} {}", self.number - 1));
        self.milepost(&["purge", "--yes"], "");
        self.set_down(false);
    }

    fn client(&self) -> Client {
        let product = Product::from_file(&self.product).unwrap();
        Client::builder(product).endpoint(&self.endpoint).build().unwrap()
    }

    /// Enqueues numbered events with a text of so many bytes, and syncs.
    fn enqueue(&mut self, worker: &Client, events: u64, bytes: usize) {
        let first = self.number;
        for _ in 0..events {
            let text = self.text(bytes);
            self.put(worker, Event::new("job_finished").with("text", text));
        }
        worker.sync(LONG).unwrap();
        say(&format!("synced {first} {}", self.number - 1));
    }

    /// Enqueues an event that the receiver refuses, and syncs.
    fn poison(&mut self, worker: &Client, bytes: usize) {
        let texts = ["a", "b", "c", "d"].map(|key| (key, self.text(bytes / 4)));
        let event = Event::new("job_finished").with("poison", true);
        self.put(worker, texts.into_iter().fold(event, |event, (key, text)| event.with(key, text)));
        worker.sync(LONG).unwrap();
        say(&format!("synced {0} {0}", self.number - 1));
    }

    /// Letters, which LZ4 cannot shrink and the privacy guard lets pass.
    fn text(&mut self, bytes: usize) -> String {
        let mut letter = || match self.dice.roll(52) as u8 {
            upper @ 0..26 => b'A' + upper,
            lower => b'a' + lower - 26,
        };
        (0..bytes).map(|_| char::from(letter())).collect()
    }

    fn put(&mut self, worker: &Client, event: Event) {
        worker.try_enqueue(event.with("number", self.number as i64)).unwrap();
        self.number += 1;
    }

    fn flush(&self, worker: &Client) -> FlushReport {
        worker.flush(LONG).unwrap()
    }

    fn set_down(&self, is_down: bool) {
        match is_down {
            true => std::fs::write(down(&self.home), "").unwrap(),
            false => std::fs::remove_file(down(&self.home)).unwrap(),
        }
    }

    fn enqueue_beside(&mut self) {
        self.milepost(&["enqueue", "job_finished", &format!("number={}", self.number)], "");
        say(&format!("synced {0} {0}", self.number));
        self.number += 1;
    }

    fn flush_beside(&self) {
        self.milepost(&["flush", "--endpoint", &self.endpoint], "");
    }

    fn milepost(&self, arguments: &[&str], input: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_milepost"));
        let done = finish(command.arg("--product").arg(&self.product).args(arguments), input);
        assert!(matches!(done.status, 0 | 4), "{arguments:?}: {done:?}");
    }
}

fn say(promise: &str) {
    println!("{PROMISE}{promise}");
}
