//! The program `milepost`: an offline-first event queue with a disk spool, from the command line.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
