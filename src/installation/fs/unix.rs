//! What a Unix system has its own calls for.

use std::fs::{DirBuilder, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Access, OFlags};

/// No link is followed, and a pipe in a file's place does not stop the thread.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    options
}

pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

pub(super) fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

pub(super) fn names(found: &Metadata) -> u64 {
    found.nlink()
}

pub(super) fn disk_bytes(found: &Metadata) -> u64 {
    found.blocks() * 512
}

pub(super) fn mode(found: &Metadata) -> u32 {
    found.mode()
}

pub(super) fn exposure(found: &Metadata) -> Option<(String, String)> {
    let (owner, us, mode) = (found.uid(), rustix::process::geteuid().as_raw(), found.mode() & 0o777);
    if owner != us {
        let what = format!("belongs to the user {owner}, and this process runs as {us}");
        return Some((what, "run it as its owner, or name another home".into()));
    }
    (mode & 0o022 != 0)
        .then(|| (format!("can be written to by others (mode {mode:04o})"), "chmod 700 it".into()))
}

pub(super) fn check_writable(directory: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
}

pub(super) fn free_bytes(directory: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

pub(super) fn is_passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let passing = [
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::ROFS,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::ACCESS,
        Errno::PERM,
    ];
    passing.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
