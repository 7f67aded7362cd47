//! `milepost dead`.

use clap::Subcommand;

use super::Common;
use super::output::{DONE, print_json, print_line};

#[derive(Subcommand)]
pub(super) enum Dead {
    /// Lists the events that a receiver refused for good, and what it said
    List,
}

impl Dead {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let Dead::List = self;
        let dead = common.builder()?.admin()?.dead()?;
        if common.json {
            print_json(&serde_json::json!({ "dead": dead }))?;
            return Ok(DONE);
        }
        for letter in dead {
            let event = &letter.event;
            print_line(&format!(
                "{}  {}  {}  {} answered {} at {}: {}",
                letter.number,
                event.id,
                event.name,
                letter.destination,
                letter.status,
                letter.refused_at,
                letter.answer.replace(char::is_control, " "),
            ))?;
        }
        Ok(DONE)
    }
}
