//! `milepost purge`.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;

use super::Common;
use super::output::{DONE, FAILED, Objection, print_json, print_line, thousands};

#[derive(Args)]
pub(super) struct Purge {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Purge {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let admin = common.builder()?.admin()?;
        let waiting = admin.status().waiting.events;
        if !self.yes && !confirmed(waiting)? {
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

fn confirmed(waiting: u64) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Objection::Usage("without a terminal to ask on, purge needs --yes".into()).into());
    }
    eprint!("Delete {} events, unsent? [y/N] ", thousands(waiting));
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
