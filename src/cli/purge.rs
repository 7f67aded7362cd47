//! `milepost purge`.

use clap::Args;

use super::Common;
use super::output::{DONE, FAILED, confirmed, print_json, print_line, thousands};

#[derive(Args)]
pub(super) struct Purge {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Purge {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let admin = common.builder()?.admin()?;
        let waiting = thousands(admin.status().waiting.events);
        if !self.yes && !confirmed("purge", &format!("Delete {waiting} events, unsent?"))? {
            return Ok(FAILED);
        }
        let purged = admin.purge()?;
        match common.json {
            true => print_json(&serde_json::json!({ "purged": purged }))?,
            false => print_line(&format!("{} events were deleted, unsent", thousands(purged)))?,
        }
        Ok(DONE)
    }
}
