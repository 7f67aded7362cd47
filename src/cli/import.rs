//! `milepost import`.

use std::path::PathBuf;

use clap::Args;
use milepost::Imported;

use super::Common;
use super::flush::progress_bar;
use super::output::{DONE, print_json, print_line, thousands};

#[derive(Args)]
pub(super) struct Import {
    /// The bundles
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Take in what is whole in damaged ones
    #[arg(long)]
    salvage: bool,
}

impl Import {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let admin = common.builder()?.admin()?;
        let bar = progress_bar(common.json);
        let mut all = Vec::new();
        for file in &self.files {
            let imported = admin.import(file, self.salvage, &mut |events| bar.set_position(events))?;
            if !common.json {
                bar.suspend(|| print(&imported))?;
            }
            all.push(imported);
        }
        bar.finish_and_clear();
        if common.json {
            let sum = |of: fn(&Imported) -> u64| all.iter().map(of).sum::<u64>();
            print_json(&serde_json::json!({
                "imported": sum(|imported| imported.imported),
                "known": sum(|imported| imported.known),
                "orphans": sum(|imported| imported.orphans),
                "bundles": all,
            }))?;
        }
        Ok(DONE)
    }
}

fn print(imported: &Imported) -> anyhow::Result<()> {
    let mut text =
        format!("{}: {} events were taken in", imported.file.display(), thousands(imported.imported));
    if imported.known > 0 {
        text += &format!("; {} had come before", thousands(imported.known));
    }
    if imported.orphans > 0 {
        text += &format!("; of {} nobody says whose they are", thousands(imported.orphans));
    }
    print_line(&text)
}
