//! `milepost deliver`.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use milepost::{Delivered, FlushReport};

use super::Common;
use super::flush::{Target, duration, print as print_flush, progress_bar, stop_on_ctrl_c};
use super::keys::{Signing, Verifying};
use super::output::{DONE, UNDELIVERED, print_json, print_line, thousands};

#[derive(Args)]
pub(super) struct Deliver {
    /// The bundle. A spool is kept beside it until all of it met its end
    file: PathBuf,
    /// Where the receipt goes. Defaults to the bundle's name and `.receipt`
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    verifying: Verifying,
    /// How long it may take
    #[arg(long, default_value = "1h", value_parser = duration)]
    timeout: Duration,
}

impl Deliver {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let admin = self.verifying.of(self.signing.of(self.target.builder(common)?.admin()?)?)?;
        let receipt = self.output.clone().unwrap_or_else(|| {
            let mut name = self.file.clone().into_os_string();
            name.push(".receipt");
            name.into()
        });
        let (stop, bar) = (stop_on_ctrl_c()?, progress_bar(common.json));
        let mut progress = |so_far: &FlushReport| {
            bar.set_length(so_far.delivered + so_far.dead + so_far.dropped + so_far.waiting);
            bar.set_position(so_far.delivered + so_far.dead + so_far.dropped);
            !stop.load(Ordering::Relaxed)
        };
        let delivered = admin.deliver(&self.file, &receipt, self.timeout, &mut progress);
        bar.finish_and_clear();
        let Delivered { flush, receipt: said, .. } = delivered?;
        if common.json {
            print_json(&serde_json::json!({
                "bundle": said.bundle,
                "delivered": said.delivered,
                "refused": said.refused,
                "waiting": said.waiting,
                "requests": flush.requests,
                "receipt": receipt.display().to_string(),
                "reason": flush.reason,
            }))?;
        } else {
            print_flush(&flush, false)?;
            print_line(&format!(
                "{}: {} delivered, {} refused, {} still waiting",
                receipt.display(),
                thousands(said.delivered),
                thousands(said.refused),
                thousands(said.waiting),
            ))?;
        }
        Ok(if said.waiting == 0 { DONE } else { UNDELIVERED })
    }
}
