//! What the kernel counts of a process.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

/// Resident memory in KiB. `Rss` is what there is now.
pub(crate) fn resident_kib() -> f64 {
    field("/proc/self/status", "VmRSS:")
}

/// Bytes that this process had the kernel write to a disk.
pub(crate) fn written_bytes() -> f64 {
    field("/proc/self/io", "write_bytes:")
}

fn field(file: &str, name: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
}

/// What the threads of this process have used of a core, the main one left out.
pub(crate) fn cpu_of_other_threads() -> Duration {
    let main = std::process::id().to_string();
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let others = tasks.filter(|task| task.file_name().to_str() != Some(&main));
    let nanos = others.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// What `du` says of a directory: bytes that its files take on the disk, and it itself.
pub(crate) fn disk_bytes(directory: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = fs::symlink_metadata(directory)?.blocks() * 512;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => disk_bytes(&entry.path())?,
            false => entry.metadata()?.blocks() * 512,
        };
    }
    Ok(bytes)
}
