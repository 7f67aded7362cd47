//! The promise: `enqueue` never blocks or fails, and asks the kernel for nothing but the time; a client that is
//! refused at start costs nothing; and milepost's threads have names, and end.
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::receiver::{nobody_listens, url};
use crate::common::{LONG, arguments_of, finish, in_a_clean_process, tool, wait_until};
use milepost::{Client, ClientBuilder, Event, Mode, Product};

/// Where the traced process keeps its events.
const TRACED_HOME: &str = "TRACED_HOME";

fn builder(home: &Path) -> ClientBuilder {
    Client::builder(Product::new("acme-worker", "1.4.0")).home(home)
}

fn event(number: i64) -> Event {
    Event::new("job_finished").with("number", number).with("ok", true).with("region", "eu")
}

#[test]
fn a_burst_of_15_000_events_after_a_second_of_silence_is_taken_whole() {
    in_a_clean_process("a_burst_of_15_000_events_after_a_second_of_silence_is_taken_whole", || {
        let home = tempfile::tempdir().unwrap();
        let client = builder(home.path()).build().unwrap();
        client.enqueue(event(0));
        client.sync(LONG).unwrap();
        // Until the writer's tick is at its longest.
        std::thread::sleep(Duration::from_secs(1));
        (0..15_000).for_each(|number| client.enqueue(event(number)));
        client.sync(LONG).unwrap();
        let stats = client.stats();
        assert_eq!((stats.accepted, stats.refused.len()), (15_001, 0), "{stats:?}");
    });
}

#[test]
fn a_client_that_is_refused_at_start_has_no_thread_and_no_directory() {
    in_a_clean_process("a_client_that_is_refused_at_start_has_no_thread_and_no_directory", || {
        let home = tempfile::tempdir().unwrap();
        let threads = threads();
        let client = builder(home.path()).mode(Mode::Off).build().unwrap();
        (0..1_000).for_each(|number| client.enqueue(event(number)));
        assert_eq!(self::threads(), threads);
        client.shutdown(LONG).unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    });
}

#[test]
fn threads_have_names_and_end_with_the_client() {
    in_a_clean_process("threads_have_names_and_end_with_the_client", || {
        let home = tempfile::tempdir().unwrap();
        let client = builder(home.path()).endpoint(url(nobody_listens())).build().unwrap();
        client.enqueue(event(0));
        // Makes this process the owner, with a courier.
        let report = client.flush(LONG).unwrap();
        assert_eq!((report.delivered, report.waiting), (0, 1), "{report:?}");
        // The kernel keeps 15 bytes of a name, and `milepost-courier-0` has more.
        let named = ["milepost-writer", "milepost-sync", "milepost-store", "milepost-courie"];
        let running = threads();
        assert!(named.iter().all(|name| running.iter().any(|thread| thread == name)), "{running:?}");
        client.shutdown(LONG).unwrap();
        wait_until("all threads are gone", || !threads().iter().any(|name| name.starts_with("milepost")));
    });
}

/// The names of this process's threads.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    // A thread that ends in between has no name any more.
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    let mut names: Vec<String> = names.map(|name| name.trim_end().to_owned()).collect();
    names.sort_unstable();
    names
}

#[test]
fn the_caller_asks_the_kernel_for_nothing_but_the_time_and_build_looks_for_settings_alone() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("strace.log");
    let Some(mut traced) = tool("strace") else { return };
    traced.arg("-f").arg("-o").arg(&log).arg(std::env::current_exe().unwrap());
    traced.args(arguments_of(module_path!(), "a_process_whose_system_calls_are_traced"));
    let done = finish(traced.env(TRACED_HOME, home.path()), "");
    assert_eq!(done.status, 0, "{}{}", done.stdout, done.stderr);

    let log = fs::read_to_string(&log).unwrap();
    let files = ["open", "mkdir", "rename", "link", "unlink", "stat", "read", "write", "fsync", "fdatasync"];
    let building = between(&log, "build", "built");
    let name = |call: &str| call.split('(').next().unwrap_or_default().to_owned();
    // It asks for settings, in which somebody may have refused: then no thread is started.
    let opened = building.iter().find(|call| {
        files.iter().any(|file| name(call).contains(file)) && !call.contains("/telemetry/settings.toml")
    });
    assert_eq!(opened, None, "{building:#?}");
    assert!(building.iter().any(|call| call.starts_with("clone")), "the trace misses calls: {building:#?}");

    let is_clock = |call: &&str| ["clock_gettime", "gettimeofday"].contains(&name(call).as_str());
    let others: Vec<_> = between(&log, "begin", "end").into_iter().filter(|call| !is_clock(call)).collect();
    assert!(others.is_empty(), "{others:#?}");
}

/// What the calling thread asked the kernel for between two marks, in strace's words.
fn between<'a>(log: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let mark = |name| format!("\"{}\"", marked(name));
    let (from, to) = (mark(from), mark(to));
    let begin = log.lines().find(|line| line.contains(&from)).expect("the first mark");
    let thread = begin.split_whitespace().next().unwrap();
    let calls = log.lines().skip_while(|line| !line.contains(&from)).skip(1);
    let mine = calls.filter_map(|line| line.strip_prefix(thread)?.strip_prefix(' ')).map(str::trim_start);
    let mut ended = false;
    let calls = mine
        // The rest of the mark's own call.
        .skip_while(|call| call.starts_with("<... ") && call.contains("ENOENT"))
        .take_while(|call| {
            ended = call.contains(&to);
            !ended
        })
        .collect();
    assert!(ended, "the last mark is missing");
    calls
}

/// A path that is nowhere else in the trace.
fn marked(name: &str) -> String {
    format!("/milepost-mark-{name}")
}

#[test]
#[ignore = "a process that another test traces"]
fn a_process_whose_system_calls_are_traced() {
    let Some(home) = std::env::var_os(TRACED_HOME) else { return };
    let mark = |name| assert!(fs::metadata(marked(name)).is_err());
    let events = 100_000;
    // So large that it is never half-full, however slow the traced writer is.
    let builder = builder(Path::new(&home)).capacity(4 * events as usize);
    mark("build");
    let client = builder.build().unwrap();
    mark("built");
    client.enqueue(event(0));
    client.sync(LONG).unwrap();

    mark("begin");
    for number in 0..events {
        client.enqueue(event(number));
        let enqueued = Instant::now();
        while enqueued.elapsed() < Duration::from_micros(20) {
            std::hint::spin_loop();
        }
    }
    mark("end");
    client.sync(LONG).unwrap();
    assert_eq!(client.stats().accepted, events as u64 + 1);
}
