//! `milepost peek`.

use clap::{Args, ValueEnum};
use milepost::Format;

use super::Common;
use super::output::{DONE, print_json, print_line};

#[derive(Args)]
pub(super) struct Peek {
    /// At most so many events; all by default
    #[arg(short, value_name = "N")]
    number: Option<u64>,
    /// `ndjson`: an event a line; `otlp-json`: the bodies as they would be sent, a line each
    #[arg(long, default_value = "ndjson")]
    format: PeekFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum PeekFormat {
    Ndjson,
    OtlpJson,
}

impl Peek {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let admin = common.builder()?.admin()?;
        let mut left = self.number.unwrap_or(u64::MAX);
        let mut printed = Ok(());
        match self.format {
            PeekFormat::Ndjson if left == 0 => {}
            PeekFormat::Ndjson => admin.peek(&mut |event| {
                printed = print_json(&event);
                left -= 1;
                left > 0 && printed.is_ok()
            })?,
            PeekFormat::OtlpJson => admin.peek_bodies(Format::OtlpJson, left, &mut |body| {
                if printed.is_ok() {
                    printed = print_line(&String::from_utf8_lossy(body));
                }
            })?,
        }
        printed.map(|()| DONE)
    }
}
