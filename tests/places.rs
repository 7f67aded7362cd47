//! The promise: no one else reads or steers the queue, and where it cannot be kept, nothing is collected, with a
//! reason that says what to do.

mod common;

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Stdio;

use common::receiver::Receiver;
use common::{Home, tool};

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
