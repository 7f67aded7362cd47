//! The demo tells the truth: what it prints is computed, and its books balance wherever the kill hits.

use crate::common::{Done, Home};

fn demo(arguments: &[&str]) -> Done {
    let home = Home::new();
    let done = home.milepost(&[&["demo"], arguments].concat());
    let left: Vec<_> =
        std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["acme.toml"], "the demo cleans up behind itself");
    done
}

fn assert_balanced(done: &Done) {
    assert_eq!(done.status, 0, "{done:?}");
    for line in ["The books balance.", "SIGKILL"] {
        assert!(done.stdout.contains(line), "{line:?}: {}", done.stdout);
    }
    for figure in ["synced and missing", "twice by id"] {
        let line = done.stdout.lines().find(|line| line.contains(figure)).unwrap();
        assert!(line.ends_with(" 0"), "{line}");
    }
}

#[test]
fn the_demo_ends_with_balanced_books() {
    let done = demo(&[]);
    assert_balanced(&done);
    assert!(done.stdout.contains("100,000 events"), "{}", done.stdout);
}

#[test]
fn the_demo_balances_wherever_the_kill_hits() {
    for seed in ["1", "31415926"] {
        assert_balanced(&demo(&["--events", "20000", "--seed", seed]));
    }
}

#[test]
#[ignore = "slow: forty kills"]
fn the_demo_balances_wherever_forty_kills_hit() {
    for seed in 1..=40u64 {
        let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string();
        assert_balanced(&demo(&["--events", "20000", "--seed", &seed]));
    }
}
