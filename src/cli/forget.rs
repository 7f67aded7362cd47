//! `milepost forget`.

use clap::Args;

use super::Common;
use super::output::{DONE, FAILED, confirmed, print_json, print_line, thousands};

#[derive(Args)]
pub(super) struct Forget {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Forget {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let admin = common.builder()?.admin()?;
        let waiting = thousands(admin.status().waiting.events);
        let question = format!("Delete {waiting} events, unsent, and replace the device id?");
        if !self.yes && !confirmed("forget", &question)? {
            return Ok(FAILED);
        }
        let forgotten = admin.forget()?;
        if common.json {
            print_json(&forgotten)?;
            return Ok(DONE);
        }
        print_line(&format!("{} events were deleted, unsent", thousands(forgotten.purged)))?;
        print_line(&match forgotten.device_id {
            Some(id) => format!("the device id is now {id}"),
            None => "there was no device id".into(),
        })?;
        Ok(DONE)
    }
}
