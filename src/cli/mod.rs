//! The command line: one file a subcommand, and what they share.
//!
//! Results go to standard output, everything else to standard error. Exit status: 0 done, 1 failed, 2 wrong
//! usage, 3 refused, 4 not everything was delivered in time.

mod acknowledge;
mod config;
mod dead;
mod deliver;
mod demo;
mod doctor;
mod enqueue;
mod export;
mod flush;
mod forget;
mod import;
mod inspect;
mod logger;
mod milestone;
mod network;
mod output;
mod peek;
mod privacy;
mod purge;
mod receipt;
mod status;

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use milepost::{Client, ClientBuilder, Product};

use output::Failure;

/// Most of standard input that is read as a product file.
const PRODUCT_BYTES_MAX: u64 = 1 << 20;

/// An offline-first event queue with a disk spool.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Whose usage it is about, and how to answer.
#[derive(Args)]
struct Common {
    /// `prefect`, or a product file in TOML; `-` reads one on standard input
    #[arg(
        long,
        global = true,
        env = "MILEPOST_PRODUCT",
        default_value = "prefect",
        value_name = "prefect|FILE"
    )]
    product: String,
    /// The product's version, where the product does not know its own
    #[arg(long, global = true, env = "MILEPOST_PRODUCT_VERSION", value_name = "VERSION")]
    product_version: Option<String>,
    /// The version of the product's runtime, where the product has one
    #[arg(long, global = true, env = "MILEPOST_RUNTIME_VERSION", value_name = "VERSION", hide = true)]
    runtime_version: Option<String>,
    /// The product's home, instead of its own
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Keeps an event, or one a line of standard input; returns once it is durable
    Enqueue(enqueue::Enqueue),
    /// Reaches a milestone: it is delivered once an installation
    Milestone(milestone::Milestone),
    /// Says how things stand; disturbs nobody
    Status,
    /// Shows what would be sent
    Peek(peek::Peek),
    /// Says what may leave this machine, and what never does
    Privacy(privacy::Privacy),
    /// Delivers now what waits
    Flush(flush::Flush),
    /// Shows what a receiver refused for good
    #[command(subcommand)]
    Dead(dead::Dead),
    /// Writes what waits to a bundle: a file that crosses an air gap
    Export(export::Export),
    /// Says what is in a bundle, and whether it is whole
    Inspect(inspect::Inspect),
    /// Takes in what bundles bring, each event once
    Import(import::Import),
    /// Delivers a bundle by itself, and writes a receipt
    Deliver(deliver::Deliver),
    /// Writes what became of a bundle's events so far
    Receipt(receipt::Receipt),
    /// Does what a receipt says: forgets what was delivered elsewhere
    Acknowledge(acknowledge::Acknowledge),
    /// Sets what a person sets, and shows it
    #[command(subcommand)]
    Config(config::Config),
    /// Deletes what waits, unsent
    Purge(purge::Purge),
    /// Deletes what waits, unsent, and replaces the device id
    Forget(forget::Forget),
    /// Looks at every file, and says what is whole
    Doctor(doctor::Doctor),
    /// Tells the whole story in a temporary directory, with a receiver on loopback
    Demo(demo::Demo),
    /// The worker of the demo
    #[command(hide = true)]
    DemoWorker(demo::Worker),
}

impl Common {
    fn product(&self) -> anyhow::Result<Product> {
        let version = || self.product_version.clone().unwrap_or_else(|| "unknown".into());
        let runtime = self.runtime_version.clone().unwrap_or_default();
        let product = match self.product.as_str() {
            "prefect" => return Ok(Product::prefect(version()).runtime("python", runtime)),
            "-" => Product::from_toml(&std::io::read_to_string(std::io::stdin().take(PRODUCT_BYTES_MAX))?),
            file => Product::from_file(file),
        }?;
        Ok(match &self.product_version {
            Some(version) => product.version(version),
            None => product,
        })
    }

    /// A builder for the product that was named.
    fn builder(&self) -> anyhow::Result<ClientBuilder> {
        let builder = Client::builder(self.product()?);
        Ok(match &self.home {
            Some(home) => builder.home(home),
            None => builder,
        })
    }
}

pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and the version are no failure, and clap's to print.
        Err(error) if error.use_stderr() && wants_json() => return Failure::usage(&error).report(true),
        Err(error) => error.exit(),
    };
    logger::install();
    let common = &cli.common;
    let done = match &cli.command {
        Command::Enqueue(command) => command.run(common),
        Command::Milestone(command) => command.run(common),
        Command::Status => status::run(common),
        Command::Peek(command) => command.run(common),
        Command::Privacy(command) => command.run(common),
        Command::Flush(command) => command.run(common),
        Command::Dead(command) => command.run(common),
        Command::Export(command) => command.run(common),
        Command::Inspect(command) => command.run(common),
        Command::Import(command) => command.run(common),
        Command::Deliver(command) => command.run(common),
        Command::Receipt(command) => command.run(common),
        Command::Acknowledge(command) => command.run(common),
        Command::Config(command) => command.run(common),
        Command::Purge(command) => command.run(common),
        Command::Forget(command) => command.run(common),
        Command::Doctor(command) => command.run(common),
        Command::Demo(command) => command.run(),
        Command::DemoWorker(command) => command.run(),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => Failure::from(error).report(common.json),
    }
}

/// Whether an answer in JSON was asked for, where the arguments as a whole make no sense.
fn wants_json() -> bool {
    std::env::args_os().any(|argument| argument == "--json")
}
