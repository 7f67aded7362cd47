//! The promise: no one else reads or steers the queue, and where it cannot be kept, nothing is collected, with a
//! reason that says what to do.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::receiver::{Receiver, Reply};
use crate::common::{Home, finish, process_of, tool, wait_until};
use milepost::{Client, Event, Product, Refusal};

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Nothing is taken in, nothing sent, and it is said why; once it is mended, all goes on.
fn refuses(home: &Home, says: &[&str], mend: impl FnOnce()) {
    let receiver = Receiver::good();
    for arguments in [&["enqueue", "job_finished"][..], &["flush", "--endpoint", &receiver.url()]] {
        let done = home.milepost(arguments);
        assert_eq!(done.status, 3, "{done:?}");
        says.iter().for_each(|says| assert!(done.stderr.contains(says), "{says}: {done:?}"));
    }
    let status = home.status();
    assert_eq!(status["collecting"], false);
    says.iter().for_each(|says| assert!(status["reason"].as_str().unwrap().contains(says), "{status}"));
    assert_eq!(receiver.requests().len(), 0);
    mend();
    let (status, report) = home.flush(&receiver.url(), &[]);
    assert_eq!((status, &report["delivered"]), (0, &5.into()), "{report}");
}

#[test]
fn a_directory_that_others_can_write_to_is_refused_with_advice() {
    for mode in [0o770, 0o702, 0o777, 0o1777] {
        let home = Home::new();
        home.enqueue(5);
        set_mode(&home.telemetry(), mode);
        let says = [format!("mode {:04o}", mode & 0o777), "chmod 700".into()];
        refuses(&home, &says.each_ref().map(String::as_str), || set_mode(&home.telemetry(), 0o700));
    }
}

#[test]
fn a_directory_that_others_can_only_read_is_used() {
    let home = Home::new();
    home.enqueue(5);
    set_mode(&home.telemetry(), 0o755);
    home.enqueue(5);
    assert_eq!(home.status()["waiting"]["events"], 10);
}

#[test]
fn a_directory_of_another_user_is_refused_with_advice() {
    let home = Home::new();
    home.enqueue(5);
    if chown(home.telemetry(), Some(12_345), None).is_err() {
        eprintln!("skipped: only root can give a directory away");
        return;
    }
    refuses(&home, &["belongs to the user 12345", "name another home"], || {
        chown(home.telemetry(), Some(0), None).unwrap();
    });
}

const UNWRITABLE_HOME: &str = "PLACES_UNWRITABLE_HOME";

#[test]
#[ignore = "a process that another test starts"]
fn a_host_whose_home_cannot_be_written() {
    struct Lines;

    impl log::Log for Lines {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.level() <= log::Level::Info
        }

        fn log(&self, record: &log::Record<'_>) {
            if self.enabled(record.metadata()) {
                eprintln!("logged: {}", record.args());
            }
        }

        fn flush(&self) {}
    }

    let Some(home) = std::env::var_os(UNWRITABLE_HOME) else { return };
    log::set_logger(&Lines).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let client = Client::builder(Product::new("acme", "1.0.0")).home(home).build().unwrap();
    for round in 1..=3 {
        (0..100).for_each(|number| client.enqueue(Event::new("e").with("number", number)));
        wait_until("they are refused", || {
            client.stats().refused.get(&Refusal::Disk).is_some_and(|refused| *refused == 100 * round)
        });
        // It is tried again meanwhile.
        std::thread::sleep(Duration::from_millis(1_200));
    }
    let says = client.sync(Duration::from_secs(60)).unwrap_err().to_string();
    assert!(says.contains("no journal can be opened in"), "{says}");
    assert_eq!(client.stats().accepted, 0);
}

/// A file stands where the home would be: that stops root, too.
#[test]
fn where_nothing_can_be_written_nothing_is_collected_and_the_host_hears_one_line_of_it() {
    let home = Home::new();
    let place = home.path().join("home");
    std::fs::write(&place, "mine").unwrap();
    let mut host = process_of(module_path!(), "a_host_whose_home_cannot_be_written");
    let done = finish(host.env(UNWRITABLE_HOME, &place), "");
    assert_eq!(done.status, 0, "{done:?}");
    assert_eq!(done.stderr.matches("logged: ").count(), 1, "{}", done.stderr);

    let place = place.to_str().unwrap();
    let says = home.milepost(&["--home", place, "status"]).stdout;
    assert!(says.starts_with("collecting: no (") && says.contains("cannot be written"), "{says}");
    let status = home.json(&["--home", place, "status"]);
    assert_eq!((&status["collecting"], &status["consent"]), (&false.into(), &"yes".into()), "{status}");
    assert_eq!(std::fs::read_to_string(place).unwrap(), "mine");
}

#[test]
fn a_file_system_without_locks_is_named() {
    let home = Home::new();
    let Some(mut traced) = tool("strace") else {
        return;
    };
    let command = home.command(&["enqueue", "job_finished"]);
    traced.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=flock:error=ENOLCK"]);
    traced.arg(command.get_program()).args(command.get_args()).env("HOME", home.path());
    let output = traced.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("a file system with locks is needed"), "{stderr}");
    assert_eq!(home.status()["accepted"], 0);
}

/// The program as in a container of its own: the first process of a pid namespace.
fn contained(home: &Home, arguments: &[&str]) -> Option<Command> {
    let program = home.command(arguments);
    let mut command = tool("unshare")?;
    command
        .args(["--pid", "--fork", "--kill-child", "--"])
        .arg(program.get_program())
        .args(program.get_args());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(command)
}

/// Every one of them is process 1 to itself: no pid says who holds what.
#[test]
fn containers_that_share_a_volume_lose_nothing_to_each_other() {
    let (home, receiver) = (Home::new(), Receiver::good());
    let Some(mut probe) = contained(&home, &["status"]) else { return };
    if !finish(&mut probe, "").stderr.is_empty() {
        eprintln!("skipped: a pid namespace is not to be had");
        return;
    }
    let started = |arguments: &[&str]| {
        let mut command = contained(&home, arguments).unwrap();
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let flush = ["flush", "--endpoint", &receiver.url()];
    let flushing: Vec<_> = (0..5).map(|_| started(&flush)).collect();
    let collecting: Vec<_> = (0..15).map(|_| started(&["enqueue", "job_finished"])).collect();
    // What comes while it delivers is not for a flush to wait for.
    flushing.into_iter().for_each(|mut container| assert!(container.wait().is_ok()));
    collecting.into_iter().for_each(|mut container| assert!(container.wait().unwrap().success()));
    assert_eq!(home.flush(&receiver.url(), &[]).0, 0);
    assert_eq!(receiver.taken_once().len(), 15);

    // One that is killed while it holds the spool leaves it to the next, which has the same pid.
    let silent = Receiver::replying([Reply::Never]);
    home.enqueue(5);
    let mut holder = started(&["flush", "--endpoint", &silent.url(), "--timeout", "10m"]);
    wait_until("its request is under way", || silent.requests().len() == 1);
    assert_eq!(home.status()["owner"]["pid"], 1);
    holder.kill().unwrap();
    holder.wait().unwrap();
    let done = finish(&mut contained(&home, &flush).unwrap(), "");
    assert_eq!(done.status, 0, "{done:?}");
    assert_eq!(receiver.taken_once().len(), 20);
}
