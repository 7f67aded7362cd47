//! `milepost peek`.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use milepost::Format;

use super::output::{DONE, print_json};
use super::{Common, admin};

#[derive(Args)]
pub(super) struct Peek {
    /// At most so many events; all by default
    #[arg(short, value_name = "N")]
    number: Option<u64>,
    /// The bodies of the requests that a flush in this format would make, byte for byte, before gzip and without a
    /// key; by default an event a line, for people and scripts
    #[arg(long, value_parser = str::parse::<Format>)]
    format: Option<Format>,
    /// Only what this destination gets; needed with --format where the product has several
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
}

impl Peek {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let admin = admin(common.builder()?, self.destination.as_deref())?;
        let mut left = self.number.unwrap_or(u64::MAX);
        let mut printed = Ok(());
        match self.format {
            None if left == 0 => {}
            None => admin.peek(&mut |event| {
                printed = print_json(&event);
                left -= 1;
                left > 0 && printed.is_ok()
            })?,
            Some(format) => admin.peek_bodies(format, left, &mut |body| {
                if printed.is_ok() {
                    printed = print_body(format, body);
                }
            })?,
        }
        printed.map(|()| DONE)
    }
}

/// Prints a body, and for a person ends its line where it is text without one. A reader that has gone away is no
/// failure.
fn print_body(format: Format, body: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let is_open = format.is_text() && !body.ends_with(b"\n") && out.is_terminal();
    let end: &[u8] = if is_open { b"\n" } else { b"" };
    match out.write_all(&[body, end].concat()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
