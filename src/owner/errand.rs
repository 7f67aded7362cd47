//! What a process that ends does about events that wait.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::route::Ways;
use super::settings::Settings;
use crate::block::{Kind, Origin};
use crate::clock;
use crate::consent;
use crate::installation::Installation;
use crate::installation::fs::{self, Locked};
use crate::journal::{Contents, oldest};
use crate::limits::{SPAWN_EVERY, SPAWN_JOURNALS_MAX, SPAWN_TIMEOUT, SPEND_MARGIN};
use crate::product::{Exit, Mode, Product};
use crate::spool::Ledger;

/// What a client does at its end, with all that it takes.
pub(crate) struct Errand {
    exit: Exit,
    product: Product,
    installation: Installation,
    ways: Ways,
}

impl Errand {
    /// `None` where nothing is to be done, or nothing may be.
    pub(crate) fn of(settings: &Settings) -> Option<Self> {
        if settings.product.exit == Exit::Leave {
            return None;
        }
        Some(Self {
            exit: settings.product.exit.clone(),
            product: settings.product.clone(),
            installation: settings.installation.clone()?,
            ways: settings.deliverable()?.clone(),
        })
    }

    /// How long the end may take longer for it.
    pub(crate) fn time(&self) -> Duration {
        if let Exit::Spend(time) = self.exit { time } else { Duration::ZERO }
    }

    /// Until when the network may be used by a client that has to have ended at `deadline`.
    pub(crate) fn spends_until(&self, deadline: Instant) -> Option<Instant> {
        let Exit::Spend(time) = self.exit else { return None };
        let latest = deadline.checked_sub(SPEND_MARGIN).unwrap_or(deadline);
        Some(clock::deadline(time).min(latest))
    }

    /// Has somebody else deliver, where that is wanted and of use. What stands in the way is only logged: whatever
    /// waits goes on waiting.
    pub(crate) fn spawn(&self) {
        if let Exit::Spawn(program) = &self.exit
            && !consent::is_ci()
            && let Err(error) = self.spawn_once_a_day(program)
        {
            log::warn!("{} cannot be started to deliver what waits: {error}", program.display());
        }
    }

    fn spawn_once_a_day(&self, program: &Path) -> io::Result<()> {
        let path = self.installation.spawned();
        // Whoever else is at it does the same.
        let Locked::Ours(mut stamp) = fs::lock_file(fs::open_or_create(&path)?, &path)? else {
            return Ok(());
        };
        let now = clock::wall_micros();
        if !is_due(&mut stamp, now)? || !is_left(&self.installation) {
            return Ok(());
        }
        stamp.set_len(0)?;
        stamp.rewind()?;
        stamp.write_all(now.to_string().as_bytes())?;
        self.start(program)
    }

    /// Starts the program in a process group of its own, so that what ends this one does not end it. It is told
    /// what it needs where nobody else can read it: on its standard input and in its environment.
    fn start(&self, program: &Path) -> io::Result<()> {
        let product = match self.ways.first_network() {
            Some(network) => self.product.clone().reached_by(network.clone()),
            None => self.product.clone(),
        };
        let product = product.to_toml().map_err(io::Error::other)?;
        let home =
            self.installation.directory().ancestors().nth(Path::new(&self.product.folder).iter().count());
        let is_plain = self.ways.is_plain_to_others();
        let mut command = Command::new(program);
        command
            .args(["flush", "--json", "--product", "-"])
            .arg("--home")
            .arg(home.unwrap_or(Path::new("/")))
            .arg("--timeout")
            .arg(format!("{}s", SPAWN_TIMEOUT.as_secs()))
            .args(is_plain.then_some("--allow-plain-http"))
            .envs(self.ways.first_in_environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        // A pipe takes 64 KiB without anybody reading.
        child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(product.as_bytes()))
    }
}

/// Whether something waits for a receiver, and nobody is about to deliver it. Most often the first journal shows it.
fn is_left(installation: &Installation) -> bool {
    let owner = || Ledger::read(&installation.ledger()).ok().flatten().and_then(|ledger| ledger.owner);
    let is_held = fs::is_locked(&installation.owner_lock()).unwrap_or(false);
    if is_held && owner().is_some_and(|owner| owner.delivers) {
        return false;
    }
    [installation.taken(), installation.journals()].iter().any(|directory| {
        let names = oldest(directory, SPAWN_JOURNALS_MAX, |_| true).unwrap_or_default();
        names.iter().any(|name| is_for_a_receiver(&directory.join(name.to_string())))
    })
}

/// Whether a journal holds events that may leave this host.
fn is_for_a_receiver(path: &Path) -> bool {
    let Ok(contents) = Contents::open(path) else { return false };
    let mut leaves = false;
    contents.blocks_with_ends().any(|(block, _)| {
        if block.kind == Kind::Origin {
            leaves = block.note::<Origin>().is_ok_and(|origin| origin.mode == Mode::On);
        }
        leaves && block.kind == Kind::Events
    })
}

/// Whether the day since the last time is over. A stamp from the future is that of a clock that was wrong.
fn is_due(stamp: &mut File, now: u64) -> io::Result<bool> {
    let mut text = String::new();
    Read::by_ref(stamp).take(32).read_to_string(&mut text)?;
    let day = SPAWN_EVERY.as_micros() as u64;
    Ok(!text.trim().parse().is_ok_and(|last: u64| last <= now && now - last < day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_once_a_day_and_when_the_stamp_makes_no_sense() {
        let hour = 3_600_000_000;
        let now = 1_000_000 * hour;
        let is_due = |text: &str, now| {
            let mut stamp = tempfile::tempfile().unwrap();
            stamp.write_all(text.as_bytes()).unwrap();
            stamp.rewind().unwrap();
            super::is_due(&mut stamp, now).unwrap()
        };
        assert!(is_due("", now), "there was none");
        assert!(!is_due(&now.to_string(), now) && !is_due(&now.to_string(), now + 23 * hour));
        assert!(is_due(&now.to_string(), now + 24 * hour));
        assert!(is_due(&now.to_string(), now - hour), "the clock was wrong then");
        assert!(is_due("yesterday", now));
    }
}
