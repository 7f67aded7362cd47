//! `milepost check`.

use clap::Args;
use milepost::Checked;

use super::flush::Target;
use super::output::{DONE, FAILED, print_json, print_line};
use super::{Common, admin};

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    target: Target,
    /// This destination of the product alone
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
}

impl Check {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let all = admin(self.target.builder(common)?, self.destination.as_deref())?.check()?;
        match common.json {
            true => print_json(&serde_json::json!({ "destinations": all }))?,
            false => all.iter().try_for_each(print)?,
        }
        Ok(if all.iter().all(|checked| checked.ok) { DONE } else { FAILED })
    }
}

fn print(checked: &Checked) -> anyhow::Result<()> {
    print_line(&format!("{}: {}", checked.destination, checked.endpoint))?;
    for step in &checked.steps {
        let ok = if step.ok { "ok" } else { "FAILED" };
        let time = format!("{:.1} ms", step.milliseconds);
        print_line(&format!("  {:<10}  {ok:<6}  {time:>10}  {}", step.step, step.said))?;
    }
    Ok(())
}
