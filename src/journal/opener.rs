//! Where a writer's next journal comes from: a small free one is gone on with, or one is made.
//!
//! Whatever stands in the way, no place, no right, no room, has its reason, and is tried again.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::file::Journal;
use super::greeting::Greeting;
use super::keeper::Keeper;
use super::milestones::is_known;
use super::room::Room;
use crate::block::Origin;
use crate::clock;
use crate::consent::Watch;
use crate::installation::{Identity, Installation, Session};
use crate::limits::{JOURNAL_ADOPT_BYTES_MAX, TURN_LOOK_EVERY};
use crate::product::{Mode, Quota};

/// Tells the device id that an installation was known by.
pub(crate) type LookDeviceIdUp = fn(&Installation) -> Option<String>;

/// Makes the origin of a process's events, once the device id is known.
pub(crate) type MakeOrigin = Arc<dyn Fn(String, Mode) -> Origin + Send + Sync>;

pub(super) struct Opener {
    installation: Installation,
    /// The id that the installation was known by so far, or where to learn it.
    known_device_id: Option<String>,
    look_device_id_up: LookDeviceIdUp,
    make_origin: MakeOrigin,
    greeting: Greeting,
    watch: Arc<Watch>,
    /// The id that journals were last opened under.
    identity: Option<Identity>,
    /// Places that were damaged, and are not yet counted.
    damaged: u64,
    room: Room,
    keeper: Keeper,
    /// Why no journal could be opened, and when it is tried again.
    failed: Option<(Instant, String)>,
}

/// What stands in the way of writing in a directory, for who only asks.
pub(crate) fn obstacle(installation: &Installation, free_disk_min: u64, quota: Quota) -> Option<String> {
    let room = Room::new(installation.directory(), free_disk_min).check();
    room.and_then(|()| Keeper::new(installation.clone(), quota).check(true)).err()
}

impl Opener {
    pub(super) fn new(
        installation: Installation,
        look_device_id_up: LookDeviceIdUp,
        make_origin: MakeOrigin,
        greeting: Greeting,
        watch: Arc<Watch>,
        free_disk_min: u64,
        quota: Quota,
    ) -> Self {
        let room = Room::new(installation.directory(), free_disk_min);
        let keeper = Keeper::new(installation.clone(), quota);
        Self {
            installation,
            known_device_id: None,
            look_device_id_up,
            make_origin,
            greeting,
            watch,
            identity: None,
            damaged: 0,
            room,
            keeper,
            failed: None,
        }
    }

    pub(super) fn quota(&self) -> &Quota {
        self.keeper.quota()
    }

    /// Why nothing may be written at all now, if that is so.
    pub(super) fn check_room(&mut self) -> Result<(), String> {
        self.room.check()
    }

    /// Tells that so many bytes will be written.
    pub(super) fn spend_room(&mut self, bytes: usize) {
        self.room.spend(bytes as u64);
    }

    /// Why the quota takes nothing that comes now, if that is so. Milestones are outside of it.
    pub(super) fn check_quota(&mut self, begins_a_journal: bool) -> Result<(), String> {
        self.keeper.check(begins_a_journal)
    }

    /// Makes the place where journals will lie, and greets whose it is.
    pub(super) fn prepare(&mut self) -> Result<(), String> {
        self.try_again(|opener| {
            opener.origin()?;
            opener.installation.remove_half_made();
            opener.greeting.tell(&opener.installation)
        })
    }

    /// A journal to go on with.
    pub(super) fn open(&mut self) -> Result<Journal, String> {
        let opened = self.try_again(|opener| {
            let origin = opener.origin()?;
            let directory = opener.installation.journals();
            let (bytes, events) = (opener.quota().journal_bytes(), opener.quota().journal_events());
            // What is left of a journal that made room is gone on with.
            opener.keeper.make_room(origin.epoch());
            let adopted = Journal::adopt(&directory, &origin, bytes.min(JOURNAL_ADOPT_BYTES_MAX), events);
            let Some((journal, damaged)) = adopted else { return Journal::create(&directory, &origin) };
            opener.damaged += damaged;
            Ok(journal)
        })?;
        self.keeper.begun();
        Ok(opened)
    }

    /// The destination of a milestone that was reached before; `None` where this is the first time.
    pub(super) fn where_reached(&mut self, milestone: &str) -> Result<Option<&'static str>, String> {
        self.try_again(|opener| {
            let origin = opener.origin()?;
            let is_known = is_known(&opener.installation, origin.epoch(), milestone)?;
            Ok(is_known.then(|| origin.mode.destination()))
        })
    }

    /// The session of a server's heartbeats.
    pub(super) fn session(&mut self) -> Result<Session, String> {
        self.try_again(|opener| {
            let origin = opener.origin()?;
            opener.installation.session_or_new(origin.epoch().0)
        })
    }

    /// A journal for milestones alone.
    pub(super) fn open_for_milestones(&mut self) -> Result<Journal, String> {
        self.try_again(|opener| {
            let origin = opener.origin()?;
            Journal::create_for_milestones(&opener.installation.journals(), &origin)
        })
    }

    fn try_again<T>(&mut self, open: impl FnOnce(&mut Self) -> io::Result<T>) -> Result<T, String> {
        let now = clock::monotonic();
        if let Some((_, why)) = self.failed.as_ref().filter(|(at, _)| now < *at) {
            return Err(why.clone());
        }
        let opened = open(self).map_err(|error| {
            format!("no journal can be opened in {}: {error}", self.installation.directory().display())
        });
        self.failed = opened.as_ref().err().map(|why| (now + TURN_LOOK_EVERY, why.clone()));
        opened
    }

    /// Places that were damaged since the last call.
    pub(super) fn take_damaged(&mut self) -> u64 {
        std::mem::take(&mut self.damaged)
    }

    /// Whether the installation has another id than the one that journals were last opened under, or none any
    /// more: somebody said no or had it forgotten, and what was collected before is not to be written any more.
    pub(super) fn has_another_id(&mut self) -> bool {
        let Some(identity) = &mut self.identity else { return false };
        if identity.holds() {
            return false;
        }
        // A damaged one is put right first.
        let mended = identity.device_id().map_or(Ok(false), |known| self.installation.mend_device_id(known));
        self.damaged += u64::from(mended.unwrap_or(false));
        !identity.holds()
    }

    /// Works under whatever id there is from now on: what was collected under the one before is discarded.
    pub(super) fn begin_anew(&mut self) {
        (self.identity, self.known_device_id, self.failed) = (None, None, None);
    }

    /// The directory and the device id as they are now: either may have been removed since the last journal. This
    /// is the only place where a writer makes them, so it asks once more whether it may, and whether they are still
    /// those that it works under.
    fn origin(&mut self) -> io::Result<Origin> {
        let state = self.watch.look_closely();
        if !state.is_yes() {
            return Err(io::Error::other(format!("nothing is collected: {}", self.watch.consent().reason)));
        }
        // What is to be written was collected before, and a new id is not to be had for it.
        let gone = || io::Error::other("the device id is another one, and what was there is gone");
        if self.has_another_id() {
            return Err(gone());
        }
        if !self.installation.exists() {
            self.installation.create_with(&self.greeting.first_files())?;
        }
        self.damaged += self.installation.create()?;
        let known = self.known_device_id.take().or_else(|| (self.look_device_id_up)(&self.installation));
        if let Some(known) = known {
            self.damaged += u64::from(self.installation.mend_device_id(&known)?);
        }
        let id = self.installation.device_id_or_new()?;
        match &self.identity {
            Some(identity) if identity.device_id() != Some(&id) => return Err(gone()),
            Some(_) => {}
            None => self.identity = Some(self.installation.identity(Some(id.clone()))),
        }
        self.known_device_id = Some(id.clone());
        Ok((self.make_origin)(id, state.mode))
    }
}
