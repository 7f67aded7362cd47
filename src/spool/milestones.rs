//! Milestones stand in two places: as marks in the store, and in `milestones.json`, which the product's own code
//! reads and writes too. What one of them knows, the other learns.
//!
//! A mark is durable in the store with the event that reached it before the file says so: else a power cut could
//! leave a milestone that counts as reached, and was never sent.

use std::io;
use std::path::Path;
use std::time::Instant;

use super::core::{Spool, SpoolError};
use super::keys;
use super::ledger::Mark;
use super::step::{Step, reached};
use super::store::Changes;
use crate::block::encode;
use crate::clock;
use crate::consent::Stamp;
use crate::event::is_name;
use crate::installation::fs;
use crate::installation::{Milestones, MilestonesError};
use crate::limits::{MARKS_MAX, MILESTONES_BYTES_MAX, MILESTONES_LOOK_EVERY, SETTLED_AFTER};

/// What is known of the file.
#[derive(Default)]
pub(super) struct Exchange {
    looked_at: Option<Instant>,
    /// How the file was when it said the same as the store, and how many marks that were.
    agreed: Option<(Stamp, usize)>,
    /// How the file was when it could not be parsed, and when that was.
    suspect: Option<(Stamp, Instant)>,
    /// Why it could not be read or written: it is said once.
    failed: Option<String>,
}

impl Spool {
    /// Has the store and `milestones.json` learn from each other: at once where the store has news or it is `due`,
    /// else every few seconds, if the file has changed.
    ///
    /// A file that cannot be read or written is no reason to stop: it is tried again.
    pub(crate) fn exchange_milestones(&mut self, due: bool) -> Result<(), SpoolError> {
        let now = clock::monotonic();
        let lately = self.exchange.looked_at.is_some_and(|at| now.duration_since(at) < MILESTONES_LOOK_EVERY);
        let has_news = match self.exchange.agreed {
            Some((_, marks)) => marks != self.marks.len() && self.exchange.failed.is_none(),
            None => self.exchange.looked_at.is_none(),
        };
        // What was taken in before, and is entered again, is reached by its own event and by nothing else.
        let waits = self.taken.values().any(|taken| !taken.whole && taken.is_urgent());
        if waits || lately && !due && !has_news {
            return Ok(());
        }
        self.exchange.looked_at = Some(now);
        let failed = match self.exchange_now(now) {
            Err(SpoolError::Io { operation, path, source }) => {
                Some(format!("cannot {operation} {}: {source}", path.display()))
            }
            exchanged => exchanged.map(|()| None)?,
        };
        if let Some(why) = failed.as_ref().filter(|why| self.exchange.failed.as_ref() != Some(why)) {
            log::error!("{why}: the milestones that were reached are known to milepost alone");
        }
        self.exchange.failed = failed;
        Ok(())
    }

    /// The same, and waits to see whether a file that cannot be parsed is one that is just being written.
    pub(crate) fn mend_milestones(&mut self) -> Result<(), SpoolError> {
        self.exchange_milestones(true)?;
        if self.exchange.suspect.is_some() {
            std::thread::sleep(clock::wait(SETTLED_AFTER));
            self.exchange_milestones(true)?;
        }
        Ok(())
    }

    fn exchange_now(&mut self, now: Instant) -> Result<(), SpoolError> {
        let path = self.installation.milestones();
        let mut before = Stamp::of(&path);
        if self
            .exchange
            .agreed
            .as_ref()
            .is_some_and(|(stamp, marks)| *stamp == before && *marks == self.marks.len())
        {
            return Ok(());
        }
        self.persist()?;
        let mut anew = false;
        let mut file = match Milestones::read(&path) {
            Ok(file) => file,
            Err(MilestonesError::Io(_)) if !fs::is_file(&path) => {
                let aside = fs::set_aside(&path).map_err(SpoolError::io("rename", &path))?;
                log::error!("{} was no file, and is now {}", path.display(), aside.display());
                self.count_damage(1)?;
                before = Stamp::of(&path);
                Milestones::default()
            }
            Err(MilestonesError::Io(error)) => return Err(SpoolError::io("read", path)(error)),
            // Who writes in place is most often done a moment later.
            Err(MilestonesError::Unparsable) => match self.exchange.suspect.take() {
                Some((stamp, at)) if stamp == before && now.duration_since(at) >= SETTLED_AFTER => {
                    anew = true;
                    self.give_up(&path)?
                }
                suspect => {
                    let known = suspect.filter(|(stamp, _)| *stamp == before);
                    self.exchange.suspect = known.or(Some((before, now)));
                    // A name that stands there counts whatever else is still to be written: it is not sent again.
                    let legible = Milestones::read_legible(&path).map_err(SpoolError::io("read", path))?;
                    return self.learn(legible.reached().map(str::to_owned).collect());
                }
            },
        };
        self.exchange.suspect = None;
        self.learn(file.reached().map(str::to_owned).collect())?;
        for name in self.marks.keys() {
            anew |= file.reach(name);
        }
        if !anew {
            self.exchange.agreed = Some((before, self.marks.len()));
            return Ok(());
        }
        let is_as_read = || Stamp::of(&path) == before;
        if file.write(&path, is_as_read).map_err(SpoolError::io("write", &path))? {
            reached(Step::MilestonesWritten);
        }
        // Read again at the next step: somebody may have written it just before, or just after.
        (self.exchange.agreed, self.exchange.looked_at) = (None, None);
        Ok(())
    }

    /// Keeps a copy of a file that is no JSON, and takes of it what can still be read.
    fn give_up(&mut self, path: &Path) -> Result<Milestones, SpoolError> {
        let bytes = match fs::read_to_limit(path, MILESTONES_BYTES_MAX) {
            Err(error) if error.kind() != io::ErrorKind::InvalidData => {
                return Err(SpoolError::io("read", path)(error));
            }
            bytes => bytes.unwrap_or_default(),
        };
        let corrupt = path.with_extension("json.corrupt");
        fs::replace(&corrupt, &bytes).map_err(SpoolError::io("write", &corrupt))?;
        log::error!(
            "{} is damaged: it was copied to {}, and is written anew",
            path.display(),
            corrupt.display()
        );
        self.count_damage(1)?;
        Ok(Milestones::legible(&bytes))
    }

    /// Marks what the file says.
    fn learn(&mut self, names: Vec<String>) -> Result<(), SpoolError> {
        let mark = Mark { time: clock::wall_micros(), journal: None };
        let room = MARKS_MAX.saturating_sub(self.marks.len());
        let news = names.into_iter().filter(|name| is_name(name) && !self.marks.contains_key(name));
        let news: Vec<_> = news.take(room).collect();
        if news.is_empty() {
            return Ok(());
        }
        let changes: Changes = news.iter().map(|name| (keys::mark(name), Some(encode(&mark)))).collect();
        self.marks.extend(news.into_iter().map(|name| (name, mark)));
        self.commit(changes, 0, 1)
    }
}
