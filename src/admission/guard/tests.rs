use proptest::prelude::*;

use super::tokens::{SHAPES, Shape, Then};
use super::*;

fn guard() -> Guard {
    Guard::new(machine::sample())
}

fn check(guard: &Guard, text: &str) -> Option<Rule> {
    guard.check(b"key", text.as_bytes())
}

#[test]
fn every_row_stops_and_passes_what_it_says() {
    let guard = guard();
    for row in &ROWS {
        assert!(!row.stops.is_empty() && !row.passes.is_empty(), "{}", row.rule);
        for text in row.stops {
            assert_eq!(check(&guard, text), Some(row.rule), "{text:?}");
        }
        for text in row.passes {
            assert_eq!(check(&guard, text), None, "{text:?}");
        }
    }
    assert!(ROWS.iter().map(|row| row.rule).eq(Rule::ALL.into_iter().skip(1)));
}

#[test]
fn what_is_found_alone_is_found_in_a_sentence_too() {
    let guard = guard();
    let whole = [Rule::HostName, Rule::UserName, Rule::HomeDirectory];
    for row in ROWS.iter().filter(|row| !whole.contains(&row.rule)) {
        for text in row.stops {
            for sentence in [format!("it was {text} there"), format!("\"{text}\""), format!("x={text}")] {
                assert!(check(&guard, &sentence).is_some(), "{sentence:?}");
            }
        }
    }
}

/// In a sentence it could be something else.
#[test]
fn a_frame_of_rust_is_known_where_it_is_alone_in_its_line() {
    let guard = guard();
    assert_eq!(check(&guard, "  12: core::panicking::panic"), Some(Rule::StackTrace));
    assert_eq!(check(&guard, "see 12: core::panicking::panic"), None);
}

/// Ordinary values of telemetry.
#[test]
fn versions_regions_ids_dates_and_words_pass() {
    let guard = guard();
    for text in [
        "",
        "a",
        "eu",
        "eu-west-1",
        "europe-west4",
        "eastus2",
        "3.8.8",
        "3.12.0rc1+local.7",
        "v2.0.0-beta.11",
        "2026-11-24",
        "2026-11-24T09:00:00.123456Z",
        "09:30",
        "01a207a2-32fb-7012-8d15-9e26aeffffff",
        "Linux",
        "x86_64",
        "aarch64",
        "CPython",
        "python3.12",
        "first_flow_run",
        "job.finished",
        "prefect-aws:deployed",
        "GET",
        "200 OK",
        "application/json; charset=utf-8",
        "text/html",
        "UTC+02:00",
        "Europe/Berlin",
        "en_GB.UTF-8",
        "gzip, br;q=0.9",
        "ConcurrentTaskRunner",
        "a longer name of a region, which LZ4 shrinks",
        "süd",
        "日本",
        "Tuesday, 24 November 2026",
        "1,234.56",
        "1.5e-7",
        "-42",
        "0x7fff",
        "#1234",
        "99.9%",
        "true",
        "yes/no",
        "sha1-da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "[1, 2, 3]",
        "{\"rows\": 10}",
        "key=value; other=7",
        "Python 3.12.1 (main, Dec  7 2023) [GCC 12.2.0]",
        "Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0.0.0",
        "https://docs.prefect.io/concepts/telemetry",
        "gs://bucket",
        "postgresql+asyncpg",
        "k8s.gcr.io/pause:3.9",
    ] {
        assert_eq!(check(&guard, text), None, "{text:?}");
    }
}

#[test]
fn a_key_that_says_version_may_have_four_numbers() {
    let guard = guard();
    assert_eq!(guard.check(b"driver_version", b"1.2.3.4"), None);
    for key in ["ClientVersion", "versions", "os.build", "release", "driver-ver"] {
        assert_eq!(guard.check(key.as_bytes(), b"1.2.3.4"), None, "{key}");
    }
    for key in ["driver", "builder", "server", "conversation"] {
        assert_eq!(guard.check(key.as_bytes(), b"1.2.3.4"), Some(Rule::Ip), "{key}");
    }
    assert_eq!(guard.check(b"driver_version", b"/srv/1.2.3.4"), Some(Rule::Path));
}

#[test]
fn every_shape_of_a_token_is_found_and_not_when_it_is_cut() {
    let guard = guard();
    for shape in &SHAPES {
        let token = made(shape);
        for text in [token.clone(), format!("token={token}"), format!("({token})"), format!("{token} ")] {
            assert_eq!(check(&guard, &text), Some(Rule::Token), "{text}");
        }
        let cut = &token[..shape.prefix.len() + shape.count.min(38) / 2];
        assert_eq!(check(&guard, cut), None, "{cut}");
    }
    let first = |shape: &Shape| shape.prefix.as_bytes()[0];
    assert!(SHAPES.iter().map(first).is_sorted(), "they are found by their first bytes");
    // A token must not be so short that what is plain is let pass before.
    const { assert!(TOKEN_BYTES_MIN >= 16) };
}

/// A token of this shape.
fn made(shape: &Shape) -> String {
    let letters = match shape.then {
        Then::Hex => "a1b2c3d4e5f60718",
        Then::Upper => "A2B3C4D5E6F7",
        Then::Alphanumeric | Then::Url | Then::Mixed | Then::Basic | Then::Any => "aB3dE5fG7h",
    };
    format!("{}{}", shape.prefix, letters.chars().cycle().take(shape.count).collect::<String>())
}

proptest! {
    #[test]
    fn no_value_makes_it_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = guard().check(b"key", &text);
    }

    /// Values made of what rules look at.
    #[test]
    fn no_value_that_is_made_of_the_rules_own_bytes_makes_it_panic(text in "[-/\\\\~$%:@.#=0-9a-fEPQe{} \"']{0,120}") {
        let _ = guard().check(b"key", text.as_bytes());
    }

    /// Whatever stands around it in a sentence.
    #[test]
    fn what_must_never_leave_is_found_between_words(
        before in "([a-z]{1,9} ){0,6}", after in "( [a-z]{1,9}){0,6}", row in 0..9usize, example in any::<prop::sample::Index>(),
    ) {
        let row = &ROWS[row];
        let text = format!("{before}{}{after}", example.get(row.stops));
        prop_assert!(check(&guard(), &text).is_some(), "{:?}", text);
    }
}

/// Prints what a value costs: `cargo test --release --lib what_a_value_costs -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn what_a_value_costs() {
    let guard = guard();
    let hostile = |part: &str| part.chars().cycle().take(1_024).collect::<String>();
    let values = [
        "eu".to_owned(),
        "eu-west-1".into(),
        "first_flow_run".into(),
        "3.11.7".into(),
        "x86_64".into(),
        "Europe/Berlin".into(),
        "2026-11-24T09:00:00Z".into(),
        "01a207a2-32fb-7012-8d15-9e26aeffffff".into(),
        "https://docs.prefect.io/concepts/telemetry".into(),
        "a sentence of some length, as a person would write it, with nothing in it".into(),
        hostile("word "),
        hostile("x"),
        hostile("sk-"),
        hostile("a@"),
        hostile("eyJ-"),
        hostile("/a"),
        hostile("1.2.3."),
        hostile("::1"),
        hostile("File \""),
        hostile("at a("),
        hostile("https://"),
        hostile("aB3/"),
    ];
    for text in &values {
        let nanos = crate::admission::tests::fastest(|| {
            std::hint::black_box(guard.check(b"key", std::hint::black_box(text.as_bytes())));
        });
        println!("{nanos:8.1} ns  {:5} bytes  {:.50}", text.len(), text);
    }
}
