//! `milepost dead`.

use clap::{Args, Subcommand};
use milepost::{Admin, DeadEvent};

use super::output::{DONE, FAILED, Objection, print_json, print_line, thousands};
use super::{Common, admin};

#[derive(Subcommand)]
pub(super) enum Dead {
    /// Lists the events that a receiver refused for good, and what it said
    List(List),
    /// Shows one of them whole
    Show {
        /// Its number, or the event's id
        id: String,
    },
    /// Has them wait again: the receiver was mended, or other settings hold
    Requeue(Which),
    /// Deletes them
    Drop(Which),
}

#[derive(Args)]
pub(super) struct List {
    /// Only what this destination refused
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
}

#[derive(Args)]
pub(super) struct Which {
    /// Numbers, or events' ids
    #[arg(required_unless_present = "all")]
    ids: Vec<String>,
    /// All that there are
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Only of what this destination refused
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
}

impl Dead {
    pub(super) fn run(&self, common: &Common) -> anyhow::Result<u8> {
        let destination = match self {
            Self::List(List { destination }) => destination.as_deref(),
            Self::Show { .. } => None,
            Self::Requeue(which) | Self::Drop(which) => which.destination.as_deref(),
        };
        let admin = admin(common.builder()?, destination)?;
        match self {
            Self::List(_) => list(&admin, common.json),
            Self::Show { id } => show(&admin, id),
            Self::Requeue(which) => {
                change(&admin, which, common.json, "requeued", |numbers| admin.requeue(numbers))
            }
            Self::Drop(which) => {
                change(&admin, which, common.json, "dropped", |numbers| admin.drop_dead(numbers))
            }
        }
    }
}

fn list(admin: &Admin, json: bool) -> anyhow::Result<u8> {
    let dead = admin.dead()?;
    if json {
        print_json(&serde_json::json!({ "dead": dead }))?;
        return Ok(DONE);
    }
    for letter in dead {
        let event = &letter.event;
        print_line(&format!(
            "{}  {}  {}  {} answered {} at {}: {}",
            letter.number,
            event.id,
            event.name,
            letter.destination,
            letter.status,
            letter.refused_at,
            letter.answer.replace(char::is_control, " "),
        ))?;
    }
    Ok(DONE)
}

fn show(admin: &Admin, id: &str) -> anyhow::Result<u8> {
    match admin.dead()?.iter().find(|letter| is_meant(letter, id)) {
        Some(letter) => print_json(letter).map(|()| DONE),
        None => Err(Objection::Usage(format!("there is no dead letter {id}")).into()),
    }
}

/// Does something to the letters that are meant. One that is not there is named, and the others are dealt with.
fn change(
    admin: &Admin,
    which: &Which,
    json: bool,
    done: &str,
    change: impl FnOnce(&[u64]) -> milepost::Result<u64>,
) -> anyhow::Result<u8> {
    let dead = admin.dead()?;
    let is_one = |letter: &&DeadEvent| which.all || which.ids.iter().any(|id| is_meant(letter, id));
    let numbers: Vec<u64> = dead.iter().filter(is_one).map(|letter| letter.number).collect();
    let missing: Vec<_> =
        which.ids.iter().filter(|id| !dead.iter().any(|letter| is_meant(letter, id))).collect();
    for id in &missing {
        eprintln!("milepost: there is no dead letter {id}");
    }
    let changed = change(&numbers)?;
    match json {
        true => print_json(&serde_json::json!({ done: changed }))?,
        false => print_line(&format!("{} {done}", thousands(changed)))?,
    }
    Ok(if missing.is_empty() { DONE } else { FAILED })
}

fn is_meant(letter: &DeadEvent, id: &str) -> bool {
    letter.event.id == id || letter.number.to_string() == id
}
