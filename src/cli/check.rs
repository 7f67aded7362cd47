//! `milepost check`.

use clap::Args;
use milepost::Checked;

use super::Common;
use super::flush::Target;
use super::output::{DONE, FAILED, print_json, print_line};

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    target: Target,
}

impl Check {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let checked = self.target.builder(common)?.admin()?.check()?;
        match common.json {
            true => print_json(&checked)?,
            false => print(&checked)?,
        }
        Ok(if checked.ok { DONE } else { FAILED })
    }
}

fn print(checked: &Checked) -> anyhow::Result<()> {
    print_line(&checked.endpoint)?;
    for step in &checked.steps {
        let ok = if step.ok { "ok" } else { "FAILED" };
        let time = format!("{:.1} ms", step.milliseconds);
        print_line(&format!("  {:<10}  {ok:<6}  {time:>10}  {}", step.step, step.said))?;
    }
    Ok(())
}
