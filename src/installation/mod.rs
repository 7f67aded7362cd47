//! What is kept per installation: the telemetry directory, and whose it is.
//!
//! Naming an installation touches no disk. [`Installation::create`] makes the directory, and is called only
//! once consent is known.

mod device_id;
pub(crate) mod fs;
mod host;
mod identity;
mod make;
mod milestones;
mod session;

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

pub(crate) use device_id::is_device_id;
pub(crate) use host::{Host, is_container, is_ephemeral, node_name};
pub(crate) use identity::Identity;
pub(crate) use make::{ERASED, is_hidden_id};
pub(crate) use milestones::{Milestones, MilestonesError};
pub(crate) use session::Session;

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

    /// Which milestones were reached, for the product's own code.
    pub(crate) fn milestones(&self) -> PathBuf {
        self.directory.join("milestones.json")
    }

    /// Its presence says that the person was told.
    pub(crate) fn notice_shown(&self) -> PathBuf {
        self.directory.join("notice_shown")
    }

    /// The session of a server's heartbeats. Whoever deletes the device id deletes it too.
    pub(crate) fn session(&self) -> PathBuf {
        self.directory.join("session")
    }

    /// The newer half of what was sent lately. Whoever deletes the device id deletes both.
    pub(crate) fn sent(&self) -> PathBuf {
        self.directory.join("sent")
    }

    /// The older half.
    pub(crate) fn sent_before(&self) -> PathBuf {
        self.directory.join("sent.before")
    }

    /// When a process that ended last had another one deliver.
    pub(crate) fn spawned(&self) -> PathBuf {
        self.directory.join("spawned")
    }

    /// Which events are on which bundle, a file a bundle.
    pub(crate) fn exports(&self) -> PathBuf {
        self.directory.join("exports")
    }

    /// Which events bundles brought, and journals of them that are not yet in their place.
    pub(crate) fn imports(&self) -> PathBuf {
        self.directory.join("imports")
    }

    /// Whether anybody ever opened the spool.
    pub(crate) fn has_spool(&self) -> bool {
        self.ledger().exists() || self.spool().exists()
    }

    /// Sets aside what stands in the place of a file or directory of milepost's and is none, be it a link, a
    /// pipe or a directory: nothing of it is read, followed or deleted. Returns how many there were. The device
    /// id's place is not looked at, since its absence says something.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::PermissionDenied`] where others can write into the directory, and those of the file
    /// system.
    pub(crate) fn clear_places(&self) -> io::Result<u64> {
        if let Some(why) = self.exposure() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let files =
            ["ledger", "owner.lock", "owner.next", "turn", "spawned", "session", "sent", "sent.before"]
                .map(|name| (name, true));
        let directories = ["journals", "taken", "spool", "exports", "imports"].map(|name| (name, false));
        let mut strangers = 0;
        for (name, is_file) in files.into_iter().chain(directories) {
            let path = self.directory.join(name);
            let is_strange = |found: Metadata| !(if is_file { found.is_file() } else { found.is_dir() });
            if std::fs::symlink_metadata(&path).is_ok_and(is_strange) {
                match fs::set_aside(&path) {
                    // Another process was faster.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    aside => {
                        log::error!("{} was no file of ours, and is now {}", path.display(), aside?.display())
                    }
                }
                // A store that is missed is counted by itself.
                strangers += u64::from(path != self.spool());
            }
        }
        Ok(strangers)
    }

    /// Why nothing can be collected in the directory, or where it would be made, if it cannot be written.
    pub(crate) fn objection(&self) -> Option<String> {
        let error = fs::check_writable(&self.directory).err()?;
        Some(format!("{} cannot be written: {error}", self.directory.display()))
    }

    /// Why others can write into the directory, if so, and what to do: they could put words into our mouth.
    pub(crate) fn exposure(&self) -> Option<String> {
        fs::exposure(&self.directory)
    }

    /// Whether there is anything at all.
    pub(crate) fn exists(&self) -> bool {
        self.directory.is_dir()
    }

    /// Makes the directories, with nobody else allowed in, and makes them durable. Returns how many things
    /// stood in the way, as [`Installation::clear_places`] does.
    ///
    /// # Errors
    ///
    /// Those of the file system; one that cannot be written means that nothing is collected.
    pub(crate) fn create(&self) -> io::Result<u64> {
        fs::create_directories(&self.directory)?;
        let strangers = self.clear_places()?;
        fs::create_directories(&self.journals())?;
        fs::create_directories(&self.taken())?;
        Ok(strangers)
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
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] where something stands there that is none.
    pub(crate) fn device_id(&self) -> io::Result<Option<String>> {
        device_id::read(&self.directory.join("device_id"))
    }

    /// The id that somebody works under, to be compared later.
    pub(crate) fn identity(&self, device_id: Option<String>) -> Identity {
        Identity::new(&self.directory, device_id)
    }

    /// Whether what stands in the device id's place is a damaged copy of the one that was `known` before.
    pub(crate) fn has_damaged_device_id(&self, known: &str) -> io::Result<bool> {
        device_id::is_damaged_at(&self.directory, known)
    }

    /// Puts a damaged device id right, which was `known` before. Says whether there was anything to do.
    ///
    /// One that is not there is not damaged: somebody said no.
    pub(crate) fn mend_device_id(&self, known: &str) -> io::Result<bool> {
        device_id::mend(&self.directory, known)
    }

    /// The device id, made if there is none: two processes that make it at once agree.
    pub(crate) fn device_id_or_new(&self) -> io::Result<String> {
        device_id::read_or_make(&self.directory)
    }

    /// Replaces the device id by a random one. `None` where there is no id.
    pub(crate) fn replace_device_id(&self) -> io::Result<Option<String>> {
        device_id::replace(&self.directory)
    }

    /// The session of a server's heartbeats in this epoch, made if there is none.
    pub(crate) fn session_or_new(&self, epoch: Uuid) -> io::Result<Session> {
        Session::read_or_make(&self.session(), epoch)
    }

    /// Removes a session that is not of this epoch.
    pub(crate) fn remove_session_of_before(&self, epoch: Uuid) -> io::Result<()> {
        let path = self.session();
        // Who makes one in this very moment makes another the next time.
        if Session::read(&path, epoch)?.is_none() { fs::remove_tree(&path) } else { Ok(()) }
    }
}
