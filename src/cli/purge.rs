//! `milepost purge`.

use clap::Args;

use super::output::{DONE, FAILED, confirmed, print_json, print_line, thousands};
use super::{Common, admin};

#[derive(Args)]
pub(super) struct Purge {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only what waits for this destination, which the product may have no more
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Deletes nothing, and has it wait for this destination instead
    #[arg(long = "move", value_name = "TO", requires = "destination")]
    to: Option<String>,
}

impl Purge {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let admin = admin(common.builder()?, self.destination.as_deref())?;
        if let Some(to) = &self.to {
            let moved = admin.move_waiting(to)?;
            match common.json {
                true => print_json(&serde_json::json!({ "moved": moved }))?,
                false => print_line(&format!("{} events wait for {to} now", thousands(moved)))?,
            }
            return Ok(DONE);
        }
        let question = match &self.destination {
            Some(name) => format!("Delete all events that wait for {name}, unsent?"),
            None => format!("Delete {} events, unsent?", thousands(admin.status().waiting.events)),
        };
        if !self.yes && !confirmed("purge", &question)? {
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
