//! `milepost inspect`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use milepost::{Admin, Format};

use super::Common;
use super::output::{DONE, print_json, print_line, thousands};

#[derive(Args)]
pub(super) struct Inspect {
    /// The bundle
    file: PathBuf,
    /// The events themselves, as a flush in this format would send them
    #[arg(long, value_parser = str::parse::<Format>)]
    format: Option<Format>,
}

impl Inspect {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        if let Some(format) = self.format {
            let mut printed = Ok(());
            Admin::inspect_bodies(&self.file, format, &mut |body| {
                let end: &[u8] = if format.is_text() && !body.ends_with(b"\n") { b"\n" } else { b"" };
                if printed.is_ok() {
                    printed = io::stdout().lock().write_all(&[body, end].concat());
                }
            })?;
            return match printed {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
                _ => Ok(DONE),
            };
        }
        let (bundle, sha256) = Admin::inspect(&self.file)?;
        if common.json {
            let mut value = serde_json::to_value(&bundle)?;
            value["sha256"] = sha256.into();
            print_json(&value)?;
            return Ok(DONE);
        }
        print_line(&format!(
            "bundle {}, part {}, of {} {}\nexported at {} by installation {}\n{} events in {} blocks of {} bytes, \
             of {} origins\nthe oldest block begins at {}, the newest at {}\nsha256 {sha256}, and every sum is right",
            bundle.bundle,
            bundle.part,
            plain(&bundle.product),
            plain(&bundle.product_version),
            plain(&bundle.exported_at),
            bundle.installation,
            thousands(bundle.events),
            thousands(bundle.blocks),
            thousands(bundle.bytes),
            thousands(bundle.origins),
            plain(bundle.oldest.as_deref().unwrap_or("no time")),
            plain(bundle.newest.as_deref().unwrap_or("no time")),
        ))?;
        Ok(DONE)
    }
}

/// Another host wrote it: nothing of it steers a terminal.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}
