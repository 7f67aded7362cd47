//! Looks at every file of a telemetry directory. Changes nothing, and opens nothing that is no file.

use std::collections::{HashMap, HashSet};
use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::checkup::{Finding, Remedy, Verdict};
use super::lock;
use crate::block::{JournalId, Kind, Ranges, blocks};
use crate::installation::fs::{self, Locked};
use crate::installation::{Installation, Milestones, MilestonesError, Session};
use crate::journal::{Contents, Found, JournalError, JournalName};
use crate::limits::{EXAMINED_FILES_MAX, LEDGER_BYTES_MAX, RECORD_BYTES_MAX, STORE_READ_BYTES_MAX};
use crate::spool::{
    Exports, Held, Imports, Ledger, LedgerError, StoreError, check, is_store, is_usable, known_device_id,
};

/// The directories in a telemetry directory.
const FOLDERS: [&str; 5] = ["journals", "taken", "spool", "exports", "imports"];

/// Looks at everything.
pub(super) fn examine(installation: &Installation) -> Vec<Finding> {
    let ledger = Ledger::read(&installation.ledger());
    Examiner { installation, ledger }.directory()
}

struct Examiner<'a> {
    installation: &'a Installation,
    ledger: Result<Option<Ledger>, LedgerError>,
}

/// A name in a directory.
struct Entry {
    path: PathBuf,
    name: String,
    kind: FileType,
}

impl Examiner<'_> {
    fn directory(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(why) = self.installation.exposure() {
            findings.push(Finding::new(".".into(), "the telemetry directory", Verdict::Exposed).note(why));
        }
        for entry in self.entries(self.installation.directory(), &mut findings) {
            let is_folder = FOLDERS.contains(&entry.name.as_str());
            if is_folder && entry.kind.is_dir() {
                for inner in self.entries(&entry.path, &mut findings) {
                    findings.push(match entry.name.as_str() {
                        "spool" => self.in_spool(&inner),
                        "exports" => self.in_exports(&inner),
                        "imports" => self.in_imports(&inner),
                        folder => self.in_journals(&inner, folder == "taken"),
                    });
                }
            } else {
                findings.push(match is_folder {
                    true => misplaced(self.finding(&entry, "a directory of ours"), &entry),
                    false => self.in_root(&entry),
                });
            }
        }
        if let Ok(Some(Ledger { store, .. })) = &self.ledger
            && *store > 0
            && self.installation.store(*store).symlink_metadata().is_err()
        {
            let finding = Finding::new(format!("spool/{store}"), "the store", Verdict::Damaged);
            findings.push(finding.note("it is not there; it is filled again from the journals taken in"));
        }
        findings
    }

    fn in_root(&self, entry: &Entry) -> Finding {
        match entry.name.as_str() {
            "device_id" => self.file(entry, "the device id", |finding| self.device_id(finding)),
            "ledger" => self.file(entry, "the ledger", |finding| self.ledger(finding)),
            "owner.lock" | "owner.next" => self.file(entry, "a lock", |finding| finding),
            "turn" => self.file(entry, "asks for turns", |finding| finding),
            "spawned" => self.file(entry, "when a process was started to deliver", |finding| finding),
            "milestones.json" => {
                self.file(entry, "milestones", |finding| match Milestones::read(&entry.path) {
                    Ok(_) => finding,
                    Err(MilestonesError::Io(error)) => finding.judged(Verdict::Unreadable).note(error),
                    Err(MilestonesError::Unparsable) => finding.judged(Verdict::Damaged),
                })
            }
            "milestones.json.corrupt" => {
                self.file(entry, "milestones that could not be read", |finding| finding)
            }
            "settings.toml" => self.file(entry, "settings", |finding| {
                parsed(&entry.path, finding, |text| text.parse::<toml_edit::DocumentMut>().is_ok())
            }),
            "session" => self.file(entry, "a server's session", |finding| {
                let found =
                    parsed(&entry.path, finding, |text| serde_json::from_str::<Session>(text).is_ok());
                needless(found, "the next heartbeat makes another")
            }),
            "notice_shown" => self.file(entry, "whether the notice was shown", |finding| finding),
            name if fs::is_aside(name) => self.aside(entry, name.starts_with("ledger.")),
            name if name.starts_with('.') => {
                self.finding(entry, "a file being made").judged(Verdict::Leftover)
            }
            _ => self.finding(entry, "a stranger").judged(Verdict::Foreign),
        }
    }

    fn in_spool(&self, entry: &Entry) -> Finding {
        let is_aside = is_store(&entry.name);
        match entry.name.parse::<u64>() {
            Ok(_) if !entry.kind.is_dir() => misplaced(self.finding(entry, "a store"), entry),
            Ok(number) => self.store(entry, number),
            Err(_) if is_aside && entry.kind.is_dir() => {
                let finding = self.finding(entry, "a store").judged(Verdict::SetAside);
                counted(&entry.path.join("db"), finding)
            }
            Err(_) if is_aside || fs::is_aside(&entry.name) => self.aside(entry, false),
            Err(_) if entry.name.starts_with('.') => {
                self.finding(entry, "a store being made or opened").judged(Verdict::Leftover)
            }
            Err(_) => self.finding(entry, "a stranger").judged(Verdict::Foreign),
        }
    }

    fn in_journals(&self, entry: &Entry, is_taken: bool) -> Finding {
        if let Ok(name) = entry.name.parse::<JournalName>() {
            let what = if is_taken { "a journal, taken in" } else { "a journal" };
            return self.file(entry, what, |finding| self.journal(&entry.path, name, is_taken, finding));
        }
        match entry.name.as_str() {
            name if fs::is_aside(name) => self.aside(entry, true),
            name if name.starts_with('.') => {
                let is_held = fs::is_locked(&entry.path).unwrap_or(false);
                let verdict = if is_held { Verdict::InUse } else { Verdict::Leftover };
                self.finding(entry, "a journal being made").judged(verdict)
            }
            _ => self.finding(entry, "a stranger").judged(Verdict::Foreign),
        }
    }

    fn in_exports(&self, entry: &Entry) -> Finding {
        match entry.name.as_str() {
            name if Uuid::try_parse(name).is_ok() => self.file(entry, "what is on a bundle", |finding| {
                let found = parsed(&entry.path, finding, Exports::can_read);
                needless(found, "what is on that bundle is sent from here, too")
            }),
            name if fs::is_aside(name) => self.aside(entry, false),
            name if name.starts_with('.') => {
                self.finding(entry, "a file being made").judged(Verdict::Leftover)
            }
            _ => self.finding(entry, "a stranger").judged(Verdict::Foreign),
        }
    }

    fn in_imports(&self, entry: &Entry) -> Finding {
        match entry.name.as_str() {
            "known" => self.file(entry, "what came by bundles", |finding| {
                let found = parsed(&entry.path, finding, Imports::can_read);
                needless(found, "what came before may come once more")
            }),
            name if fs::is_aside(name) => self.aside(entry, false),
            // Those of an import that is under way or died.
            _ => self.in_journals(entry, false),
        }
    }

    /// What was set aside: a file of ours may have something to give, all else is somebody else's.
    fn aside(&self, entry: &Entry, is_ours: bool) -> Finding {
        let finding = self.finding(entry, "what stood in a file's place").judged(Verdict::SetAside);
        if is_ours && entry.kind.is_file() {
            return counted(&entry.path, finding);
        }
        Finding { remedy: Remedy::ByHand, ..finding.note("nobody needs it") }
    }

    fn device_id(&self, finding: Finding) -> Finding {
        let known = known_device_id(self.installation);
        let is_damaged =
            known.is_some_and(|id| self.installation.has_damaged_device_id(&id).unwrap_or(false));
        match self.installation.device_id() {
            _ if is_damaged => finding
                .judged(Verdict::Damaged)
                .note("it is known from the ledger or a journal, and put right"),
            Ok(_) => finding,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let note = "it holds no text; whoever collects something makes a new one";
                Finding { remedy: Remedy::ByHand, ..finding.judged(Verdict::Damaged).note(note) }
            }
            Err(error) => finding.judged(Verdict::Unreadable).note(error),
        }
    }

    fn ledger(&self, finding: Finding) -> Finding {
        match &self.ledger {
            Ok(_) => finding,
            Err(LedgerError::Damaged(why)) => finding.judged(Verdict::Damaged).note(why),
            Err(LedgerError::Io(error)) => finding.judged(Verdict::Unreadable).note(error),
            Err(error @ LedgerError::Newer(_)) => finding.judged(Verdict::Newer).note(error),
        }
    }

    fn journal(&self, path: &Path, name: JournalName, is_taken: bool, finding: Finding) -> Finding {
        let is_held = fs::is_locked(path).unwrap_or(false);
        let mut known = self.ledger.iter().flatten().flat_map(|ledger| &ledger.taken);
        let is_entered = is_taken && known.any(|taken| taken.whole && taken.name == name.to_string());
        match Contents::open(path) {
            Ok(contents) if !is_taken && self.is_taken_in(&contents) => {
                let finding = finding.judged(Verdict::SetAside).note("a copy of one that was taken in");
                Finding { remedy: Remedy::ByHand, ..finding }
            }
            Ok(contents) => contained(&contents, is_held, finding),
            Err(JournalError::NotAJournal) => {
                let finding = Finding { damaged: 1, ..finding.judged(Verdict::Damaged) };
                let finding =
                    counted(path, finding.note("neither its header nor its first block can be read"));
                // What was entered is in the store; a writer goes on, and whoever takes it finds out.
                let remedy = if is_entered || is_held { Remedy::None } else { finding.remedy };
                Finding { remedy, ..finding }
            }
            Err(JournalError::Io(error)) => finding.judged(Verdict::Unreadable).note(error),
            Err(error @ JournalError::Newer(_)) => finding.judged(Verdict::Newer).note(error),
        }
    }

    /// The ledger was read before, so one that is named in it and still stands here was not moved.
    fn is_taken_in(&self, contents: &Contents) -> bool {
        let mut known = self.ledger.iter().flatten().flat_map(|ledger| &ledger.taken);
        known.any(|taken| taken.id == contents.header.id)
    }

    fn store(&self, entry: &Entry, number: u64) -> Finding {
        let db = entry.path.join("db");
        if let Ok(found) = db.symlink_metadata()
            && !found.is_file()
        {
            let entry = Entry { path: db, name: "db".into(), kind: found.file_type() };
            return misplaced(self.finding(&entry, "a store's log"), &entry);
        }
        let ledger = match &self.ledger {
            Ok(Some(ledger)) if ledger.store == number => ledger.clone(),
            Ok(Some(_)) => {
                let finding = self.finding(entry, "a store that the ledger does not name");
                return counted(&db, finding.judged(Verdict::SetAside));
            }
            Ok(None) | Err(_) => Ledger { store: number, ..Ledger::new(crate::block::Epoch::of("")) },
        };
        let finding = self.finding(entry, "the store");
        // Its owner's, as long as the copy is made and looked at.
        let lock = fs::lock(&self.installation.owner_lock());
        let is_free = matches!(lock, Ok(Locked::Ours(_) | Locked::Gone)) && is_usable();
        if !is_free || lock::somebody_waits(self.installation) {
            return counted(&db, finding.judged(Verdict::InUse).note("it is checked when it is next opened"));
        }
        match check(self.installation, &ledger) {
            Ok(Held { blocks, events, spoiled: 0 }) => Finding { blocks, events, ..finding },
            Ok(Held { blocks, events, spoiled }) => {
                let finding = finding.judged(Verdict::Damaged).note("what is damaged is made anew by sled");
                Finding { blocks, events, damaged: spoiled, remedy: Remedy::None, ..finding }
            }
            Err(error @ StoreError::Io { .. }) => {
                counted(&db, finding.judged(Verdict::Unchecked).note(error))
            }
            Err(error) => {
                let finding = finding.judged(Verdict::Damaged).note(error);
                counted(&db, Finding { damaged: 1, ..finding })
            }
        }
    }

    /// A place where a file belongs.
    fn file(&self, entry: &Entry, what: &'static str, look: impl FnOnce(Finding) -> Finding) -> Finding {
        let finding = self.finding(entry, what);
        if entry.kind.is_file() { look(finding) } else { misplaced(finding, entry) }
    }

    fn finding(&self, entry: &Entry, what: &'static str) -> Finding {
        Finding::new(self.relative(&entry.path), what, Verdict::Whole)
    }

    fn relative(&self, path: &Path) -> String {
        path.strip_prefix(self.installation.directory()).unwrap_or(path).display().to_string()
    }

    /// What is in a directory, by name. One that cannot be listed is a finding itself.
    fn entries(&self, directory: &Path, findings: &mut Vec<Finding>) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut list = || -> io::Result<()> {
            for entry in std::fs::read_dir(directory)?.take(EXAMINED_FILES_MAX + 1) {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                entries.push(Entry { path: entry.path(), name, kind: entry.file_type()? });
            }
            Ok(())
        };
        let finding = |note: String| {
            Finding::new(self.relative(directory), "a directory", Verdict::Unreadable).note(note)
        };
        findings.extend(list().err().map(|error| finding(error.to_string())));
        if entries.len() > EXAMINED_FILES_MAX {
            entries.truncate(EXAMINED_FILES_MAX);
            findings.push(finding(format!("only {EXAMINED_FILES_MAX} of its files are looked at")));
        }
        entries.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        entries
    }
}

/// Counts what stands in a journal. What is whole in it is in the queue where it stands.
fn contained(contents: &Contents, is_held: bool, mut finding: Finding) -> Finding {
    let mut origins = HashSet::new();
    let mut next = 0;
    for found in contents.from(0) {
        let block = match found {
            Found::Block { block, .. } => block,
            Found::Torn if is_held => continue,
            Found::Damage { .. } | Found::Torn => {
                finding.damaged += 1;
                continue;
            }
        };
        let is_own = block.journal == contents.header.id;
        match block.kind {
            Kind::Origin => drop(origins.insert(block.origin)),
            Kind::Events if origins.contains(&block.origin) => {
                finding.blocks += 1;
                finding.events += u64::from(block.count);
            }
            Kind::Events => {
                finding.damaged += 1;
                finding.missing += u64::from(block.count);
            }
            Kind::Counts | Kind::End | Kind::Unknown(_) => {}
        }
        if is_own && matches!(block.kind, Kind::Events | Kind::End) {
            finding.missing += u64::from(block.first.saturating_sub(next));
            next = next.max(block.first + u32::from(block.count));
        }
    }
    let verdict = match (finding.damaged + finding.missing, is_held) {
        (0, false) => Verdict::Whole,
        (0, true) => Verdict::InUse,
        _ => Verdict::Damaged,
    };
    Finding { verdict, ..finding }
}

fn misplaced(finding: Finding, entry: &Entry) -> Finding {
    let stands = match entry.kind {
        kind if kind.is_symlink() => "a link",
        kind if kind.is_dir() => "a directory",
        kind if kind.is_file() => "a file",
        _ => "a pipe, a socket or a device",
    };
    finding.judged(Verdict::Misplaced).note(format!("{stands} stands in its place, and is not opened"))
}

/// Counts what is whole in the bytes of a file, each event once.
fn counted(path: &Path, mut finding: Finding) -> Finding {
    let bytes = match fs::read_to_limit(path, STORE_READ_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if finding.note.is_none() => return finding.note(format!("it cannot be read: {error}")),
        Err(_) => return finding,
    };
    let mut seen: HashMap<JournalId, Ranges> = HashMap::new();
    for block in blocks(&bytes).filter(|block| block.kind == Kind::Events) {
        let seen = seen.entry(block.journal).or_default();
        let new = block.all() & !seen.bits(block.first, block.count);
        seen.insert(block.first, block.first + u32::from(block.count));
        finding.blocks += u64::from(new != 0);
        finding.events += u64::from(new.count_ones());
    }
    finding
}

/// A text of which others know how it has to be.
fn parsed(path: &Path, finding: Finding, parses: fn(&str) -> bool) -> Finding {
    match fs::read_to_limit(path, LEDGER_BYTES_MAX.max(RECORD_BYTES_MAX)) {
        Ok(bytes) if std::str::from_utf8(&bytes).is_ok_and(parses) => finding,
        Ok(_) => Finding { remedy: Remedy::ByHand, ..finding.judged(Verdict::Damaged) },
        Err(error) => finding.judged(Verdict::Unreadable).note(error),
    }
}

/// Where it is damaged, nobody has to do anything about it.
fn needless(found: Finding, note: &str) -> Finding {
    match found.verdict {
        Verdict::Damaged => Finding { remedy: Remedy::None, ..found.note(note) },
        _ => found,
    }
}
