//! Gives an installation another device id, and deletes what was collected under the old one.

use std::time::Duration;

use serde::Serialize;

use super::admin::{Admin, wait_for_writers};
use super::engine::Engine;
use crate::error::{Error, Result};
use crate::limits::ERASE_WAIT;
use crate::product::Quota;
use crate::spool::begin_anew;

/// What came of [`Admin::forget`]. As JSON it is what `milepost forget --json` prints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Forgotten {
    /// Events that were deleted, unsent, dead letters among them.
    pub purged: u64,
    /// The new device id; `None` where there was none, since nothing was collected.
    pub device_id: Option<String>,
}

impl Admin {
    /// Deletes everything that waits, unsent, and everything else that carries the device id, and replaces the id by
    /// a random one. Which milestones were reached and the counters stay: they name nobody. Workers that run go on
    /// under the new id; what they hold meanwhile, and what one that is stopped holds, is deleted when it is let go
    /// of, and counted as dropped for [`crate::DropReason::Consent`].
    ///
    /// # Errors
    ///
    /// As [`Admin::peek`]. Broken off half-way it may be called again.
    pub fn forget(&self) -> Result<Forgotten> {
        let Some(installation) = self.existing() else { return Ok(Forgotten::default()) };
        if self.settings.watch.state().is_refused {
            // A no deletes as much, and leaves no id.
            return Ok(Forgotten { purged: self.delete_refused(ERASE_WAIT)?, device_id: None });
        }
        let mut engine = self.looking(installation)?;
        wait_for_writers(installation)?;
        let mut purged = engine.spool.purge(&mut engine.intake)?;
        purged += engine.spool.purge_dead()?;
        let ownership = engine.close_and_keep(Duration::ZERO)?;

        let error = |error| Error::io("replace the device id in", installation.directory(), error);
        let Some(device_id) = installation.replace_device_id().map_err(error)? else {
            return Ok(Forgotten { purged, device_id: None });
        };
        begin_anew(installation, &device_id)?;
        // Writers read the id with each journal: they are to begin another one.
        let turn = installation.turn();
        installation.ask_for_turn().map_err(|error| Error::io("touch", &turn, error))?;
        wait_for_writers(installation)?;
        let mut engine =
            Engine::open(installation, ownership, &self.settings.ways.closed(), Quota::default())?;
        engine.intake.discard_of_before(&mut engine.spool)?;
        engine.close(Duration::ZERO)?;
        Ok(Forgotten { purged, device_id: Some(device_id) })
    }
}
