//! `milepost milestone`.

use std::time::Duration;

use clap::Args;

use super::Common;
use super::output::{DONE, Objection, print_json, print_line};

#[derive(Args)]
pub(super) struct Milestone {
    /// One of the product's milestones
    name: String,
}

impl Milestone {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let admin = common.builder()?.admin()?;
        if !admin.is_milestone(&self.name) {
            return Err(Objection::Usage(format!("the product declares no milestone {:?}", self.name)).into());
        }
        if let Some(reason) = admin.refusal() {
            return Err(Objection::Refused(reason).into());
        }
        let client = common.builder()?.build()?;
        client.milestone(&self.name)?;
        client.sync(Duration::from_secs(30))?;
        client.shutdown(Duration::from_secs(30))?;
        match common.json {
            true => print_json(&serde_json::json!({ "milestone": self.name }))?,
            false => print_line(&format!("{} is durable, and is sent once", self.name))?,
        }
        Ok(DONE)
    }
}
