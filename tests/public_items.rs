//! The library's face is as large as it has to be: each public item is used by the program, an example or a
//! bench, or has its reason here.
//!
//! The lint `unreachable_pub` is on, so whatever is `pub` in `src/` can be reached from outside.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What nobody here names, and why it is there.
const EXCEPTIONS: [(&str, &str); 49] = [
    ("Batch::body", "for a program with an HTTP client of its own"),
    ("Batch::time_left", "the same"),
    ("Bundle", "what Admin::inspect returns"),
    ("CheckStep", "in what Admin::check returns"),
    ("Client::refuse", "an embedding program has it for a person who says no in it"),
    ("ClientBuilder::device_id", "the program reads MILEPOST_DEVICE_ID, an embedding program has this"),
    ("ClientBuilder::interactive", "for a program whose terminal is not its standard output"),
    ("DeadEvent", "what Admin::dead returns"),
    ("DeclaredEvent", "a part of Privacy"),
    ("Destination::events_max", "the program reads it from the product file, an embedding program has this"),
    ("Destination::max_age", "the same"),
    ("Destination::timeout", "the same"),
    ("DestinationReport", "a part of FlushReport"),
    ("DestinationStatus", "a part of Status"),
    ("DropReason", "the keys of Status::dropped"),
    ("EventOrigin", "a part of BatchEvent"),
    ("Exit", "what Product::exit takes, which the program reads from the product file"),
    ("Forgotten", "what Admin::forget returns"),
    ("GuardRule", "a part of Privacy"),
    ("Heartbeat", "what Client::heartbeat returns"),
    ("Limit", "what Event::broken_limit returns"),
    ("OwnerStatus", "a part of Status"),
    ("PeekedEvent", "what Admin::peek shows"),
    ("Product::environment_env", "the program reads it from the product file, an embedding program has this"),
    ("Product::free_disk_min", "the program reads it from the product file, an embedding program has this"),
    ("Product::interactive_milestones", "the same"),
    ("Product::integration", "the same"),
    ("Product::dotenv", "the same"),
    ("Product::local_file", "the same"),
    ("Product::project_file", "the same"),
    ("Product::network", "the same"),
    ("Product::otel_environment", "the same"),
    ("Product::profiles", "the same"),
    ("Product::profiles_env", "the same"),
    ("Product::quota_age", "the same"),
    ("Product::quota_bytes", "the same"),
    ("Product::quota_drops_newest", "the same"),
    ("Product::quota_events", "the same"),
    ("Product::quota_files", "the same"),
    ("Product::route", "the same"),
    ("Product::server", "the same"),
    ("Product::spread", "the same"),
    ("Product::to_toml", "what a program that spawns the program writes for it"),
    ("Product::used_before", "the program reads it from the product file, an embedding program has this"),
    ("Refusal", "the keys of Status::refused, and what EnqueueError::Refused holds"),
    ("SentEvent", "what Admin::sent returns"),
    ("Stats", "what Client::stats returns"),
    ("Verdict", "a part of Finding"),
    ("Waiting", "a part of Status"),
];

#[test]
fn every_public_item_is_used_by_the_program_an_example_or_a_bench() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_program = |path: &Path| path.starts_with(root.join("src/cli")) || path.ends_with("src/main.rs");
    let (program, library): (Vec<_>, Vec<_>) =
        files(&root.join("src")).into_iter().partition(|path| is_program(path));
    let users = [program, files(&root.join("examples")), files(&root.join("benches"))].concat();
    let used: BTreeSet<String> = users.iter().flat_map(|path| words(&read(path))).collect();
    let items: BTreeSet<String> = library.iter().flat_map(|path| public_items(&read(path))).collect();
    assert!(
        items.contains("Client::enqueue") && items.contains("Status"),
        "the search finds nothing: {items:?}"
    );

    let is_named = |item: &str| used.contains(item.rsplit("::").next().unwrap_or(item));
    // A type is also used by whoever calls what it has, without naming it.
    let is_used = |item: &String| {
        let of = format!("{item}::");
        is_named(item) || items.iter().any(|other| other.starts_with(&of) && is_named(other))
    };
    let is_excepted = |item: &String| EXCEPTIONS.iter().any(|(excepted, _)| excepted == item);
    let unused: Vec<&String> = items.iter().filter(|item| !is_used(item) && !is_excepted(item)).collect();
    assert!(unused.is_empty(), "public, and used by nobody: {unused:?}");
    for (excepted, _) in EXCEPTIONS {
        assert!(items.contains(excepted), "{excepted} is an exception, and no public item");
    }
}

/// All Rust files below a directory; none where there is no such directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// The identifiers of a file, comments left out.
fn words(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split(|letter: char| !letter.is_alphanumeric() && letter != '_'))
        .map(str::to_owned)
        .collect()
}

/// The public items of a file as formatted by rustfmt: `Type::function` for what stands in an `impl` block.
fn public_items(text: &str) -> Vec<String> {
    const KINDS: [&str; 6] = ["fn", "struct", "enum", "trait", "const", "type"];
    let mut items = Vec::new();
    let mut implemented = None;
    for line in text.lines() {
        if line == "#[cfg(test)]" {
            break;
        }
        if let Some(rest) = line.strip_prefix("impl") {
            // Behind the type's generics, if it has any; a trait's functions are not `pub`.
            let rest = if rest.starts_with('<') {
                rest.split_once("> ").map_or(rest, |(_, rest)| rest)
            } else {
                rest
            };
            implemented = identifier(rest);
        } else if line == "}" {
            implemented = None;
        }
        let Some(rest) = line.trim_start().strip_prefix("pub ") else { continue };
        let rest = rest.strip_prefix("const ").filter(|rest| rest.starts_with("fn ")).unwrap_or(rest);
        // What has none of these words is a field or a re-export.
        let Some((_, rest)) = rest.split_once(' ').filter(|(kind, _)| KINDS.contains(kind)) else { continue };
        items.extend(identifier(rest).map(|name| match &implemented {
            Some(of) if line.starts_with(' ') => format!("{of}::{name}"),
            _ => name,
        }));
    }
    items
}

/// The identifier that a text begins with.
fn identifier(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}
