//! What is done once for an installation, before its first event: whoever used the product before counts no
//! milestones, and whoever did not is told once that usage is collected.

use std::io;
use std::path::PathBuf;

use crate::installation::{Installation, Milestones, fs};

/// What a product wants done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Greeting {
    /// Files and directories of which any shows that the product was used before.
    pub(crate) traces: Vec<PathBuf>,
    /// What counts as reached where it was.
    pub(crate) milestones: Vec<String>,
    /// Its id, where somebody chose one and it is made here.
    pub(crate) device_id: Option<String>,
    /// What a person is told, where there is one to read it.
    pub(crate) notice: Option<String>,
}

impl Greeting {
    /// Whether the telemetry directory is about to be made for somebody who used the product before. To be asked
    /// before it is made.
    pub(super) fn is_for_an_old_user(&self, installation: &Installation) -> bool {
        !installation.exists() && self.traces.iter().any(|trace| std::fs::symlink_metadata(trace).is_ok())
    }

    /// Has all milestones count as reached.
    pub(super) fn mark_all(&self, installation: &Installation) -> io::Result<()> {
        let path = installation.milestones();
        let mut marks = Milestones::default();
        self.milestones.iter().for_each(|name| {
            marks.reach(name);
        });
        // Where somebody else was faster, theirs holds.
        match fs::write_new(&path, marks.to_string().as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => fs::sync_directory(installation.directory()),
        }
    }

    /// Tells the person, once, unless it was used before: then there are milestones. Of two processes at once one
    /// makes the marker, and tells.
    pub(super) fn tell(&self, installation: &Installation) -> io::Result<()> {
        let Some(notice) = &self.notice else { return Ok(()) };
        let marker = installation.notice_shown();
        if std::fs::symlink_metadata(&marker).is_ok() {
            return Ok(());
        }
        let is_new =
            Milestones::read(&installation.milestones()).is_ok_and(|marks| marks.reached().count() == 0);
        if is_new {
            match fs::create_new(&marker) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
                made => drop(made?),
            }
            fs::sync_directory(installation.directory())?;
            eprintln!("{notice}");
        }
        Ok(())
    }
}
