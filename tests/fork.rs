//! The promise: a host may fork without exec. In the child, the parent's client touches nothing, says so, and
//! goes in no time; the child can have a client of its own; and what the child holds open keeps nobody from
//! collecting, nor, once it has ended, from delivering.
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::common::receiver::Receiver;
use crate::common::{Home, finish, tool, wait_until};

/// What each script begins with: the library, loaded into Python, and a child that does something.
const PRELUDE: &str = r#"
import ctypes, os, sys, time
lib = ctypes.CDLL(os.environ["FOREIGN_LIBRARY"])
OK, FORKED = 0, 3

def child(do):
    pid = os.fork()
    if pid == 0:
        try:
            do()
            code = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            code = 1
        os._exit(code)
    return pid

def ends_well(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"#;

/// The parent has the store open and is delivering when it forks.
const CHILD_LEAVES: &str = r#"
assert lib.milepost_start() == OK
for number in range(1000):
    lib.milepost_enqueue(number)
assert lib.milepost_flush() == OK

def leaves():
    assert lib.milepost_sync() == FORKED
    assert lib.milepost_flush() == FORKED
    assert lib.milepost_heartbeat() == FORKED
    assert lib.milepost_shutdown() == FORKED
    began = time.monotonic()
    lib.milepost_drop()
    print("left in %.3f s" % (time.monotonic() - began), file=sys.stderr)

for _ in range(20):
    ends_well(child(leaves))
for number in range(1000, 2000):
    lib.milepost_enqueue(number)
assert lib.milepost_flush() == OK
assert lib.milepost_shutdown() == OK
"#;

const CHILD_ENQUEUES: &str = r#"
assert lib.milepost_start() == OK
lib.milepost_enqueue(0)
assert lib.milepost_sync() == OK

def enqueues():
    deadline = time.monotonic() + 60
    while lib.milepost_refused_as_forked() == 0:
        assert time.monotonic() < deadline
        lib.milepost_enqueue(-1)
        time.sleep(0.01)

ends_well(child(enqueues))
assert lib.milepost_shutdown() == OK
"#;

/// `sys.argv[1]` says whether the parent had the store open when it forked.
const CHILD_BUILDS: &str = r#"
assert lib.milepost_start() == OK
lib.milepost_enqueue(0)
assert (lib.milepost_flush if sys.argv[1] == "open" else lib.milepost_sync)() == OK

def builds():
    assert lib.milepost_start() == OK
    lib.milepost_enqueue(1)
    assert lib.milepost_sync() == OK
    lib.milepost_enqueue(2)
    # Who had the store open has what sled's threads left behind; nobody else does.
    assert lib.milepost_flush() == (FORKED if sys.argv[1] == "open" else OK)
    assert lib.milepost_shutdown() == OK

ends_well(child(builds))
assert lib.milepost_flush() == OK
assert lib.milepost_shutdown() == OK
"#;

const CHILD_OUTLIVES: &str = r#"
assert lib.milepost_start() == OK
lib.milepost_enqueue(0)
assert lib.milepost_flush() == OK
pid = child(lambda: sys.stdin.read())
print("child", pid, flush=True)
time.sleep(600)
"#;

const WORKER: &str = r#"
assert lib.milepost_start() == OK
for number in range(1, 100):
    lib.milepost_enqueue(number)
assert lib.milepost_sync() == OK
print("synced", flush=True)
sys.stdin.read()
assert lib.milepost_shutdown() == OK
"#;

/// The example as a library.
fn library() -> PathBuf {
    let examples = PathBuf::from(env!("CARGO_BIN_EXE_milepost")).with_file_name("examples");
    let library = examples.join("libforeign_host.so");
    assert!(library.exists(), "`--test fork` alone does not build it: cargo build --example foreign_host");
    library
}

/// Python with a script; `None` where there is none, which `.ci/run` does not allow.
fn python(home: &Home, endpoint: &str, script: &str) -> Option<Command> {
    let mut command = tool("python3")?;
    command
        .env("HOME", home.path())
        .env("FOREIGN_LIBRARY", library())
        .env("FOREIGN_HOME", home.path().join(".acme-worker"))
        .env("MILEPOST_ENDPOINT", endpoint)
        .args(["-c", &format!("{PRELUDE}{script}")]);
    Some(command)
}

fn ends_well(mut command: Command) {
    let done = finish(&mut command, "");
    assert_eq!(done.status, 0, "{}{}", done.stdout, done.stderr);
    print!("{}", done.stderr);
}

#[test]
fn a_forks_child_leaves_the_parents_client_alone_and_goes() {
    let (home, receiver) = (Home::new(), Receiver::good());
    let Some(command) = python(&home, &receiver.url(), CHILD_LEAVES) else { return };
    ends_well(command);
    assert_eq!(receiver.taken_once().len(), 2_000);
}

#[test]
fn what_a_forks_child_enqueues_with_the_parents_client_is_refused_as_forked() {
    let (home, receiver) = (Home::new(), Receiver::good());
    let Some(command) = python(&home, &receiver.url(), CHILD_ENQUEUES) else { return };
    ends_well(command);
}

#[test]
fn a_forks_child_may_build_a_client_of_its_own() {
    for store in ["open", "closed"] {
        let (home, receiver) = (Home::new(), Receiver::good());
        let Some(mut command) = python(&home, &receiver.url(), CHILD_BUILDS) else { return };
        command.arg(store);
        ends_well(command);
        assert_eq!(receiver.taken_once().len(), 3, "{store}");
    }
}

/// The child has a copy of the handle that holds the lock, so it holds it too.
#[test]
fn after_the_parents_death_others_collect_and_after_its_childs_they_deliver() {
    let (home, receiver) = (Home::new(), Receiver::good());
    let Some(parent) = python(&home, &receiver.url(), CHILD_OUTLIVES) else { return };
    let (mut parent, mut said) = start(parent);
    let _child = said.next().unwrap().unwrap();
    // Killed, not ended: its child still reads from the same standard input.
    let keeps_the_child = parent.stdin.take().unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert_eq!(receiver.taken_once().len(), 1);

    let (mut worker, mut said) = start(python(&home, &receiver.url(), WORKER).unwrap());
    assert_eq!(said.next().unwrap().unwrap(), "synced");
    assert_eq!(receiver.taken_once().len(), 1, "the child still holds the lock");
    assert!(home.status()["owner"]["silent_since"].is_null(), "it is not long ago");
    home.age_owner();
    let owner = home.milepost(&["status"]).stdout;
    assert!(owner.contains("lock held, no sign of life since 20"), "{owner}");
    drop(keeps_the_child);
    wait_until("the worker takes over", || receiver.taken_once().len() == 100);
    worker.stdin.take().unwrap().flush().unwrap();
    assert!(worker.wait().unwrap().success());
}

fn start(mut command: Command) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}
