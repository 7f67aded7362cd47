//! `milepost milestone`.

use std::time::{Duration, Instant};

use clap::Args;

use super::Common;
use super::output::{DONE, Objection, print_json, print_line};

/// How long `milestones.json` is waited for.
const SHOWN_WAIT: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(super) struct Milestone {
    /// One of the product's milestones
    name: String,
}

impl Milestone {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let builder = common.builder()?;
        let admin = builder.clone().admin()?;
        if !admin.is_milestone(&self.name) {
            return Err(Objection::Usage(format!("the product declares no milestone {:?}", self.name)).into());
        }
        if let Some(reason) = admin.heed_refusal()? {
            return Err(Objection::Refused(reason).into());
        }
        if let Some(objection) = admin.milestones_objection() {
            return Err(Objection::Refused(format!("the milestone does not count: {objection}")).into());
        }
        let is_used_before = admin.is_used_before();
        let client = builder.build()?;
        client.milestone(&self.name)?;
        client.sync(Duration::from_secs(30))?;
        // A worker shows it in a moment; where somebody else holds the spool, it is durable all the same.
        let deadline = Instant::now() + SHOWN_WAIT;
        while !admin.is_reached(&self.name) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let is_new = client.stats().already_reached == 0;
        client.shutdown(Duration::from_secs(30))?;
        let what = match (is_new, is_used_before) {
            (true, _) => "is durable, and is sent once",
            (false, false) => "counts as reached already: nothing is sent",
            (false, true) => "counts as reached, since the product was used here before: nothing is sent",
        };
        match common.json {
            true => print_json(&serde_json::json!({ "milestone": self.name, "is_new": is_new }))?,
            false => print_line(&format!("{} {what}", self.name))?,
        }
        Ok(DONE)
    }
}
