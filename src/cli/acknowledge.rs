//! `milepost acknowledge`.

use std::path::PathBuf;

use clap::Args;

use super::Common;
use super::output::{DONE, print_json, print_line};
use super::receipt::in_words;

#[derive(Args)]
pub(super) struct Acknowledge {
    /// The receipt that came back
    file: PathBuf,
}

impl Acknowledge {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let receipt = common.builder()?.admin()?.acknowledge(&self.file)?;
        match common.json {
            true => print_json(&receipt)?,
            false if receipt.is_news => print_line(&in_words(&receipt))?,
            false => print_line("it says nothing that was not known, and nothing was changed")?,
        }
        Ok(DONE)
    }
}
