//! `milepost sent`.

use clap::Args;

use super::Common;
use super::output::{DONE, print_json, print_line};

#[derive(Args)]
pub(super) struct Sent {
    /// The newest so many events; all that are remembered by default
    #[arg(short, value_name = "N")]
    number: Option<usize>,
}

impl Sent {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let sent = common.builder()?.admin()?.sent()?;
        let newest = sent.len().saturating_sub(self.number.unwrap_or(usize::MAX));
        for event in &sent[newest..] {
            if common.json {
                print_json(event)?;
                continue;
            }
            let status = event.status.map_or_else(|| "no answer".into(), |status| status.to_string());
            print_line(&format!(
                "{}  {}  {status}  {}  {}",
                event.time, event.destination, event.id, event.name
            ))?;
        }
        Ok(DONE)
    }
}
