//! `milepost doctor`.

use clap::Args;
use milepost::{Checkup, Finding, Remedy, Salvage};

use super::Common;
use super::output::{DONE, FAILED, print_json, print_line, thousands};

#[derive(Args)]
pub(super) struct Doctor {
    /// Bring back what is lost and whole in what is damaged or was set aside
    #[arg(long)]
    salvage: bool,
}

impl Doctor {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let admin = common.builder()?.admin()?;
        let checkup = if self.salvage { admin.salvage()? } else { admin.examine() };
        match common.json {
            true => print_json(&checkup)?,
            false => print(&checkup)?,
        }
        Ok(if checkup.is_well() { DONE } else { FAILED })
    }
}

fn print(checkup: &Checkup) -> anyhow::Result<()> {
    if !checkup.exists {
        return print_line(&format!("there is no {}: nothing was collected", checkup.directory));
    }
    let width = checkup.files.iter().map(|finding| finding.path.chars().count()).max().unwrap_or(0);
    for finding in &checkup.files {
        let path = finding.path.replace(char::is_control, "?");
        print_line(&format!("{:<10} {path:<width$}  {}", finding.verdict, details(finding)))?;
    }
    let wrong: Vec<_> = checkup.files.iter().filter(|finding| finding.is_wrong()).collect();
    let files = thousands(checkup.files.len() as u64);
    match wrong.len() {
        0 => print_line(&format!("{files} looked at in {}: nothing is wrong", checkup.directory))?,
        wrong => print_line(&format!(
            "{files} looked at in {}: something is wrong with {wrong}",
            checkup.directory
        ))?,
    }
    match &checkup.salvage {
        Some(salvage) => print_salvage(salvage),
        None if wrong.iter().any(|finding| finding.remedy == Remedy::Salvage) => {
            print_line("milepost doctor --salvage brings back what is whole of it")
        }
        None => Ok(()),
    }
}

/// What it is, what is in it, and what is to be said of it.
fn details(finding: &Finding) -> String {
    let mut text = finding.what.to_owned();
    for (number, one, more) in [
        (finding.blocks, "block", "blocks"),
        (finding.events, "event", "events"),
        (finding.damaged, "damaged place", "damaged places"),
        (finding.missing, "event missing", "events missing"),
    ] {
        if number > 0 {
            text += &format!(", {} {}", thousands(number), if number == 1 { one } else { more });
        }
    }
    if let Some(note) = &finding.note {
        text += &format!("; {}", note.replace(char::is_control, " "));
    }
    text
}

fn print_salvage(salvage: &Salvage) -> anyhow::Result<()> {
    print_line(&format!(
        "{} events are in the queue again, {} dead letters, {} milestones; {} were removed",
        thousands(salvage.events),
        thousands(salvage.dead),
        thousands(salvage.milestones),
        thousands(salvage.removed.len() as u64),
    ))?;
    if salvage.orphans > 0 {
        print_line(&format!(
            "{} events are whole, but nobody knows whose they were",
            thousands(salvage.orphans)
        ))?;
    }
    Ok(())
}
