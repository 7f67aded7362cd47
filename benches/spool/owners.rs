//! How soon somebody else has the store: a command that of a living process, another process that of a killed one.
//! In several homes at once, since each process waits for seconds before it wants the store.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use milepost::{Admin, Client};
use tempfile::TempDir;

use super::common::child::{self, Living};
use super::common::goals::Goal::{AtMost, Known};
use super::common::goals::Goals;
use super::common::receiver::nobody;
use super::common::{LONG, begin, median, millis, product, six};

pub(crate) const CHILD: &str = "holds the store";

const HOMES: usize = 8;

pub(crate) fn run(goals: &mut Goals) {
    let mut places: Vec<_> = (0..HOMES).map(|_| Place::new()).collect();
    places.iter().for_each(|place| _ = place.owner());
    let mut took: Vec<_> = places.iter().map(Place::hand_over).collect();
    goals.value(format!("hand-over to a command, median of {HOMES}"), millis(median(&mut took)), "ms", Known);
    goals.value("  the slowest", millis(took[HOMES - 1]), "ms", Known);

    places.iter().for_each(|place| _ = place.owner());
    let mut took: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = places.iter_mut().map(|place| scope.spawn(|| place.take_over())).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    let name = format!("takeover after a kill, median of {HOMES}");
    goals.value(name, millis(median(&mut took)), "ms", Known);
    goals.value("  the slowest", millis(took[HOMES - 1]), "ms", AtMost(5_000.0));
}

/// Two processes that share a directory.
struct Place {
    admin: Admin,
    children: [Living; 2],
    _home: TempDir,
}

impl Place {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let children = [(); 2].map(|()| Living::start(&mut child::command(CHILD, home.path())));
        let admin = Client::builder(product()).home(home.path()).admin().expect("the settings are sound");
        Self { admin, children, _home: home }
    }

    /// Who holds the store, once somebody does.
    fn owner(&self) -> u32 {
        loop {
            if let Some(pid) = self.admin.status().owner.and_then(|owner| owner.pid) {
                return pid;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn hand_over(&self) -> Duration {
        let began = Instant::now();
        self.admin.dead().expect("the store is handed over");
        began.elapsed()
    }

    fn take_over(&mut self) -> Duration {
        let owner = self.owner();
        let dies = self.children.iter_mut().find(|child| child.0.id() == owner).expect("it is one of them");
        let began = Instant::now();
        dies.kill();
        while self.owner() == owner {
            thread::sleep(Duration::from_millis(5));
        }
        began.elapsed()
    }
}

/// The child: has an event that nobody takes, and lives until it is killed.
pub(crate) fn hold(home: &Path) {
    let client = begin(Client::builder(product()).home(home).endpoint(nobody()));
    client.enqueue(six(1));
    client.sync(LONG).expect("the disk takes it");
    println!("ready");
    loop {
        thread::park();
    }
}
