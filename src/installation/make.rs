//! The telemetry directory from its first moment on, and what is left of it under hidden names by who was killed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{Installation, fs};
use crate::limits::MAKE_TRIES_MAX;

/// How the name begins under which what a no deletes is taken away.
pub(crate) const ERASED: &str = ".erased-";

/// Whether a name is one that a device id has for a moment, while it is made or deleted.
pub(crate) fn is_hidden_id(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(ERASED) || name.starts_with(".device_id-")
}

impl Installation {
    /// Makes the telemetry directory with these files in it, in one step: where there is a directory, what stands in
    /// it holds.
    pub(crate) fn create_with(&self, files: &[(&str, String)]) -> io::Result<()> {
        if files.is_empty() {
            return fs::create_directories(&self.directory);
        }
        let mut made = Ok(());
        for _ in 0..MAKE_TRIES_MAX {
            if self.exists() {
                return Ok(());
            }
            made = self.make_with(files);
            if made.is_ok() {
                break;
            }
        }
        // Somebody was faster.
        if self.exists() { Ok(()) } else { made }
    }

    fn make_with(&self, files: &[(&str, String)]) -> io::Result<()> {
        let Some((home, prefix)) = self.hidden() else { return Ok(()) };
        fs::create_directories(home)?;
        let hidden = home.join(format!("{prefix}{}", Uuid::new_v4().simple()));
        fs::create_directory(&hidden)?;
        let make = || {
            // What nobody holds was left by who was killed.
            let _held = hold(&hidden)?;
            for (name, text) in files {
                fs::write_new(&hidden.join(name), text.as_bytes())?;
            }
            fs::sync_directory(&hidden)?;
            std::fs::rename(&hidden, &self.directory)
        };
        if let Err(error) = make() {
            let _ = fs::remove_tree(&hidden);
            return Err(error);
        }
        fs::sync_directory(home)
    }

    /// Removes what was left beside the telemetry directory by those who were killed while they made it. There has
    /// to be one already: who is about to make another loses nothing then.
    pub(crate) fn remove_half_made(&self) {
        let Some((home, prefix)) = self.hidden() else { return };
        for path in beginning_with(home, &[&prefix]) {
            if let Ok(_held) = hold(&path) {
                let _ = fs::remove_tree(&path);
            }
        }
    }

    /// Where the directory is made, and how its name begins as long as it is.
    fn hidden(&self) -> Option<(&Path, String)> {
        let (home, name) = self.directory.parent().zip(self.directory.file_name())?;
        Some((home, format!(".{}-", name.display())))
    }

    /// Removes what is left under hidden names of a deletion, and of ids that are not the one of now.
    pub(crate) fn finish_erasing(&self, device_id: &str) -> io::Result<()> {
        let mut left = beginning_with(&self.directory, &[ERASED, ".device_id-"]);
        left.retain(|path| !std::fs::read(path).is_ok_and(|text| text == device_id.as_bytes()));
        left.extend(beginning_with(&self.spool(), &[ERASED]));
        for path in left {
            match fs::remove_tree(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Holds a directory as long as the handle is open.
fn hold(directory: &Path) -> io::Result<File> {
    let held = File::open(directory)?;
    held.try_lock()?;
    // Whoever had it before may have removed it.
    if fs::is_at(&held, directory) { Ok(held) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// What lies in a directory under names that begin like one of these. One that cannot be listed has nothing.
fn beginning_with(directory: &Path, prefixes: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let found = entries.filter(|entry| {
        let name = entry.file_name();
        prefixes.iter().any(|prefix| name.to_string_lossy().starts_with(prefix))
    });
    found.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_its_files_from_the_first_and_what_killed_ones_left_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let installation = Installation::new(home.path().join(".telemetry"));
        let names = || {
            let mut names: Vec<_> = beginning_with(home.path(), &[""]);
            names.sort_unstable();
            names
        };
        let (left, held) = (home.path().join("..telemetry-1"), home.path().join("..telemetry-2"));
        for path in [&left, &held] {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join("device_id"), "x").unwrap();
        }
        let holding = hold(&held).unwrap();
        installation.create_with(&[("device_id", "mine".into()), ("milestones.json", "{}".into())]).unwrap();
        installation.remove_half_made();
        assert_eq!(names(), [held.clone(), installation.directory().to_owned()]);
        assert_eq!(installation.device_id().unwrap().as_deref(), Some("mine"));
        drop(holding);
        installation.create_with(&[("device_id", "another".into())]).unwrap();
        installation.remove_half_made();
        assert_eq!(names(), [installation.directory().to_owned()]);
        assert_eq!(installation.device_id().unwrap().as_deref(), Some("mine"));
    }

    /// Whoever opens the spool clears away what killed ones left of ids, and may meet somebody who is just making his.
    #[test]
    fn whoever_makes_the_id_while_hidden_ones_are_cleared_away_has_the_one_that_stands() {
        let home = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let installation = Installation::new(home.path().join(round.to_string()));
            installation.create().unwrap();
            let make = || {
                let id = installation.device_id_or_new().unwrap();
                installation.finish_erasing(&id).unwrap();
                id
            };
            let made: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(made.iter().all(|id| *id == made[0]), "{made:?}");
        }
    }
}
