//! What was found in a telemetry directory, file by file, and what came back.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::spool::Salvaged;

/// What was found in a telemetry directory. As JSON it is what `milepost doctor --json` prints.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Checkup {
    /// The telemetry directory; empty where there is no place for one.
    pub directory: String,
    /// Whether it is there at all.
    pub exists: bool,
    /// Every file, and what stands in a file's place.
    pub files: Vec<Finding>,
    /// What came back, where that was asked for. The files are then as they are afterwards.
    pub salvage: Option<Salvage>,
}

/// What was found in one place. A store is one, with all its files.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Relative to the telemetry directory.
    pub path: String,
    /// What it is, in words.
    pub what: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What there is to do.
    pub remedy: Remedy,
    /// Whole blocks of events.
    pub blocks: u64,
    /// Events in them.
    pub events: u64,
    /// Places where bytes are damaged, a tail torn by a kill among them.
    pub damaged: u64,
    /// Events that are missing between those that are there.
    pub missing: u64,
    /// What else is to be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// Everything in it can be read.
    Whole,
    /// Somebody works on it, so that not all of it can be judged.
    InUse,
    /// It is checked by opening a copy, and none could be made.
    Unchecked,
    /// Some or all of it cannot be read.
    Damaged,
    /// It could not be used, and was kept.
    SetAside,
    /// A link, a directory or something else stands in the place of a file, or the other way round.
    Misplaced,
    /// It could not be opened or read.
    Unreadable,
    /// A newer version of milepost wrote it, and is left to read it.
    Newer,
    /// Others can write into it: nothing is collected here.
    Exposed,
    /// A crash left it half-made, and whoever opens the spool next removes it.
    Leftover,
    /// It is none of milepost's.
    Foreign,
}

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remedy {
    /// Nothing: what can be read of it is in the queue, or was delivered.
    None,
    /// [`crate::Admin::salvage`] brings back what can be read of it.
    Salvage,
    /// A person has to look at it.
    ByHand,
}

/// What came back out of what was damaged or set aside.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Salvage {
    /// Events that wait again.
    pub events: u64,
    /// Events that a receiver had refused for good, and that are kept as such again.
    pub dead: u64,
    /// Milestones that count as reached again.
    pub milestones: u64,
    /// Lost events that are whole, and of which nobody knows whose they were. They stay where they are.
    pub orphans: u64,
    /// The journals that the events were put into.
    pub journals: Vec<String>,
    /// What was removed, since it has nothing more to give.
    pub removed: Vec<String>,
}

impl Checkup {
    /// Whether nothing is wrong; after a salvage, whether nothing is left to be done.
    pub fn is_well(&self) -> bool {
        let is_left = |finding: &&Finding| self.salvage.is_none() || finding.remedy != Remedy::None;
        !self.files.iter().filter(is_left).any(Finding::is_wrong)
    }
}

impl Finding {
    pub(super) fn new(path: String, what: &'static str, verdict: Verdict) -> Self {
        let (blocks, events, damaged, missing, note) = Default::default();
        Self { path, what, verdict, remedy: verdict.remedy(), blocks, events, damaged, missing, note }
    }

    /// With another verdict, and its usual remedy.
    pub(super) fn judged(self, verdict: Verdict) -> Self {
        Self { verdict, remedy: verdict.remedy(), ..self }
    }

    pub(super) fn note(self, note: impl ToString) -> Self {
        Self { note: Some(note.to_string()), ..self }
    }

    /// Whether something is wrong with it.
    pub fn is_wrong(&self) -> bool {
        self.remedy != Remedy::None || self.verdict == Verdict::Damaged
    }
}

impl Verdict {
    /// What there usually is to do.
    fn remedy(self) -> Remedy {
        match self {
            Self::Damaged | Self::SetAside => Remedy::Salvage,
            Self::Misplaced | Self::Unreadable | Self::Exposed => Remedy::ByHand,
            _ => Remedy::None,
        }
    }
}

impl Salvage {
    pub(super) fn new(directory: &Path, salvaged: Salvaged) -> Self {
        let relative = |path: &Path| path.strip_prefix(directory).unwrap_or(path).display().to_string();
        Self {
            events: salvaged.events,
            dead: salvaged.dead,
            milestones: salvaged.milestones,
            orphans: salvaged.orphans,
            journals: salvaged.journals.iter().map(|name| format!("journals/{name}")).collect(),
            removed: salvaged.removed.iter().map(|path| relative(path)).collect(),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Whole => "whole",
            Self::InUse => "in use",
            Self::Unchecked => "unchecked",
            Self::Damaged => "damaged",
            Self::SetAside => "set aside",
            Self::Misplaced => "misplaced",
            Self::Unreadable => "unreadable",
            Self::Newer => "newer",
            Self::Exposed => "exposed",
            Self::Leftover => "left over",
            Self::Foreign => "foreign",
        })
    }
}
