//! What commands print, and how they fail.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use milepost::ErrorKind;
use serde::Serialize;
use thiserror::Error;

/// Exit status: done.
pub(super) const DONE: u8 = 0;
/// Exit status: failed.
pub(super) const FAILED: u8 = 1;
/// Exit status: wrong usage.
pub(super) const USAGE: u8 = 2;
/// Exit status: somebody refused.
pub(super) const REFUSED: u8 = 3;
/// Exit status: not everything was delivered.
pub(super) const UNDELIVERED: u8 = 4;

/// What the program itself has against a call.
#[derive(Debug, Error)]
pub(super) enum Objection {
    /// The call makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Somebody refused.
    #[error("nothing is collected: {0}")]
    Refused(String),
}

/// A failure, as `{"error", "kind"}`.
#[derive(Serialize)]
pub(super) struct Failure {
    error: String,
    kind: &'static str,
    #[serde(skip)]
    status: u8,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let kind = error.downcast_ref::<milepost::Error>().map(milepost::Error::kind);
        let kind = kind.or_else(|| match error.downcast_ref::<Objection>()? {
            Objection::Usage(_) => Some(ErrorKind::Invalid),
            Objection::Refused(_) => Some(ErrorKind::Refused),
        });
        let (kind, status) = match kind {
            Some(ErrorKind::Invalid) => ("usage", USAGE),
            Some(ErrorKind::Refused) => ("refused", REFUSED),
            Some(ErrorKind::Corrupt) => ("corrupt", FAILED),
            Some(ErrorKind::Locked) => ("locked", FAILED),
            Some(ErrorKind::Timeout) => ("timeout", FAILED),
            Some(_) | None => ("io", FAILED),
        };
        Self { error: format!("{error:#}"), kind, status }
    }
}

impl Failure {
    /// Arguments that make no sense.
    pub(super) fn usage(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let text = text.trim_end();
        Self { error: text.strip_prefix("error: ").unwrap_or(text).into(), kind: "usage", status: USAGE }
    }

    pub(super) fn report(&self, json: bool) -> ExitCode {
        match serde_json::to_string(self) {
            Ok(line) if json => eprintln!("{line}"),
            _ => eprintln!("milepost: {}", self.error),
        }
        ExitCode::from(self.status)
    }
}

/// Prints a value as one line of JSON.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_line(&serde_json::to_string(value)?)
}

/// Prints a line. A reader that has gone away is no failure: whoever pipes into `head` has what they wanted.
pub(super) fn print_line(line: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Asks a person whether a command is to go on.
pub(super) fn confirmed(command: &str, question: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        let needs = format!("without a terminal to ask on, {command} needs --yes");
        return Err(Objection::Usage(needs).into());
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// `1234567` as `1,234,567`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
