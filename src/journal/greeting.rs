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
    /// What has to stand in the telemetry directory from its first moment, where it is about to be made: the marks of
    /// whoever used the product before, which shows only as long as there is none.
    pub(crate) fn marks(&self) -> Vec<(&'static str, String)> {
        let is_old = self.traces.iter().any(|trace| std::fs::symlink_metadata(trace).is_ok());
        let mut marks = Milestones::default();
        self.milestones.iter().for_each(|name| {
            marks.reach(name);
        });
        is_old.then(|| ("milestones.json", marks.to_string())).into_iter().collect()
    }

    /// The same, and the id that was chosen: for who collects.
    pub(super) fn first_files(&self) -> Vec<(&'static str, String)> {
        let id = self.device_id.iter().map(|id| ("device_id", id.clone()));
        self.marks().into_iter().chain(id).collect()
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
