//! What is kept per installation: the telemetry directory, and whose it is.
//!
//! Naming an installation touches no disk. [`Installation::create`] makes the directory, and is called only
//! once consent is known.

mod device_id;
pub(crate) mod fs;
mod host;

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use host::{Host, is_container};

/// The telemetry directory and the names in it.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    directory: PathBuf,
}

impl Installation {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Journals that are not yet in the spool.
    pub(crate) fn journals(&self) -> PathBuf {
        self.directory.join("journals")
    }

    /// Journals whose blocks are in the spool.
    pub(crate) fn taken(&self) -> PathBuf {
        self.directory.join("taken")
    }

    /// The stores, by number.
    pub(crate) fn spool(&self) -> PathBuf {
        self.directory.join("spool")
    }

    /// One of the stores.
    pub(crate) fn store(&self, number: u64) -> PathBuf {
        self.spool().join(number.to_string())
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.directory.join("ledger")
    }

    /// Whoever has its lock holds the store.
    pub(crate) fn owner_lock(&self) -> PathBuf {
        self.directory.join("owner.lock")
    }

    /// Whoever has its lock is the next to hold the store.
    pub(crate) fn owner_next(&self) -> PathBuf {
        self.directory.join("owner.next")
    }

    /// Touched by whoever wants the events that writers still hold.
    pub(crate) fn turn(&self) -> PathBuf {
        self.directory.join("turn")
    }

    /// Whether there is anything at all.
    pub(crate) fn exists(&self) -> bool {
        self.directory.is_dir()
    }

    /// Makes the directories, with nobody else allowed in, and makes them durable.
    ///
    /// # Errors
    ///
    /// Those of the file system; one that cannot be written means that nothing is collected.
    pub(crate) fn create(&self) -> io::Result<()> {
        fs::create_directories(&self.directory)?;
        fs::create_directories(&self.journals())?;
        fs::create_directories(&self.taken())
    }

    /// Makes durable whose events these are: the id, and the names that lead to it. Whoever made them, the
    /// product itself or a process that was killed, may not have lived to do it.
    pub(crate) fn sync(&self) -> io::Result<()> {
        fs::sync_file(&self.directory.join("device_id"))?;
        fs::sync_directory(&self.directory)?;
        // The product's home, and where that stands; which may be another's, and closed.
        for above in self.directory.ancestors().skip(1).take(2) {
            match fs::sync_directory(above) {
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Asks every writer to let go of what it has.
    pub(crate) fn ask_for_turn(&self) -> io::Result<()> {
        fs::touch(&self.turn())
    }

    /// The device id, if there is one.
    pub(crate) fn device_id(&self) -> io::Result<Option<String>> {
        device_id::read(&self.directory.join("device_id"))
    }

    /// The device id, made if there is none: two processes that make it at once agree.
    pub(crate) fn device_id_or_new(&self) -> io::Result<String> {
        device_id::read_or_make(&self.directory)
    }
}
