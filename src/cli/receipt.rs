//! `milepost receipt`.

use std::path::PathBuf;

use clap::Args;
use milepost::Receipted;

use super::Common;
use super::output::{DONE, print_json, print_line, thousands};

#[derive(Args)]
pub(super) struct Receipt {
    /// The bundle that was imported here
    bundle: PathBuf,
    /// Where the receipt goes; what stands there is replaced
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Receipt {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let receipt = common.builder()?.admin()?.receipt(&self.bundle, &self.output)?;
        match common.json {
            true => print_json(&receipt)?,
            false => print_line(&format!("{}: {}", self.output.display(), in_words(&receipt)))?,
        }
        Ok(DONE)
    }
}

/// What a receipt says.
pub(super) fn in_words(receipt: &Receipted) -> String {
    format!(
        "bundle {}: {} delivered, {} refused, {} still waiting",
        receipt.bundle,
        thousands(receipt.delivered),
        thousands(receipt.refused),
        thousands(receipt.waiting),
    )
}
