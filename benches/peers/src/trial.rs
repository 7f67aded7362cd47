//! What is done with each peer: every trial is a process of its own, with a directory of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::child::{Call, Rate, SHARED};
use crate::peer::{Kind, Result};

/// Longest that a child may take after its own time is over.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Row {
    pub kind: &'static Kind,
    pub paced: Call,
    pub bursts: Call,
    /// Of peers that write to a directory.
    pub kept: Option<Kept>,
}

pub struct Kept {
    pub flushed: Rate,
    pub synced: Option<Rate>,
    pub bytes_an_event: f64,
    pub lost: Lost,
    pub second: Second,
}

/// The worst of some kills.
pub struct Lost {
    pub events: u64,
    pub of: u64,
    pub unreadable: Option<String>,
}

pub enum Second {
    Works,
    Refused(String),
    Loses(i64),
}

pub fn run(kind: &'static Kind, time: Duration, kills: u64) -> Result<Row> {
    let trial = Trial { kind, time };
    let paced = trial.measure("paced")?.1;
    let bursts = trial.measure("bursts")?.1;
    if kind.count.is_none() {
        return Ok(Row { kind, paced, bursts, kept: None });
    }
    let (home, flushed) = trial.measure::<Option<Rate>>("flushed")?;
    let flushed = flushed.ok_or("it says how fast it is")?;
    let bytes_an_event = disk_bytes(&directory(&home)) as f64 / flushed.events as f64;
    let synced = trial.measure("synced")?.1;
    let kept = Kept { flushed, synced, bytes_an_event, lost: trial.kill(kills)?, second: trial.meet()? };
    Ok(Row { kind, paced, bursts, kept: Some(kept) })
}

struct Trial {
    kind: &'static Kind,
    time: Duration,
}

impl Trial {
    /// Also gives the directory that the child leaves.
    fn measure<T: DeserializeOwned>(&self, action: &str) -> Result<(TempDir, T)> {
        let home = home()?;
        let outcome = self.outcome(action, &directory(&home))?;
        Ok((home, outcome))
    }

    fn kill(&self, kills: u64) -> Result<Lost> {
        let mut worst = Lost { events: 0, of: 0, unreadable: None };
        for number in 0..kills {
            let home = home()?;
            let directory = directory(&home);
            let mut child = self.spawn("killed", &directory)?;
            let taken = || fs::read(directory.with_extension("taken")).unwrap_or_default();
            let began = Instant::now();
            while taken().is_empty() && began.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(1));
            }
            // Another phase of whatever runs by a timer each time.
            thread::sleep(Duration::from_millis(300 + 137 * number));
            child.kill()?;
            child.wait()?;
            let taken = u64::from_le_bytes(taken().try_into().map_err(|_| "it took nothing")?);
            match self.outcome::<u64>("count", &directory) {
                Ok(found) if taken.saturating_sub(found) < worst.events => {}
                Ok(found) => worst = Lost { events: taken.saturating_sub(found), of: taken, ..worst },
                Err(error) => worst.unreadable = Some(error.to_string()),
            }
        }
        Ok(worst)
    }

    /// Two processes have the directory open, and each has a turn at it while the other one does.
    fn meet(&self) -> Result<Second> {
        let home = home()?;
        let directory = directory(&home);
        let mut first = self.spawn("first", &directory)?;
        let mut line = String::new();
        BufReader::new(first.stdout.take().ok_or("it was piped")?).read_line(&mut line)?;
        let second = self.outcome::<()>("second", &directory);
        first.stdin.take().ok_or("it was piped")?.write_all(b"\n")?;
        let is_well = wait(&mut first, PATIENCE).is_ok_and(|is_well| is_well);
        if let Err(error) = second {
            return Ok(Second::Refused(error.to_string()));
        }
        let found = self.outcome::<u64>("count", &directory).unwrap_or_default() as i64;
        Ok(match found == 3 * SHARED as i64 && is_well {
            true => Second::Works,
            false => Second::Loses(3 * SHARED as i64 - found),
        })
    }

    /// What the child prints as its last line, or the last line of its complaint.
    fn outcome<T: DeserializeOwned>(&self, action: &str, directory: &Path) -> Result<T> {
        let mut child = self.spawn(action, directory)?;
        let is_well = wait(&mut child, self.time + PATIENCE)?;
        let (mut said, mut complaint) = (String::new(), String::new());
        child.stdout.take().ok_or("it was piped")?.read_to_string(&mut said)?;
        child.stderr.take().ok_or("it was piped")?.read_to_string(&mut complaint)?;
        if !is_well {
            let complaint = complaint.lines().last().unwrap_or("it was killed");
            return Err(complaint.replace(&*directory.to_string_lossy(), "DIRECTORY").into());
        }
        Ok(serde_json::from_str(said.lines().last().unwrap_or_default())?)
    }

    /// Without the environment: it may refuse on this host (`CI`), or be told otherwise (`OTEL_...`).
    fn spawn(&self, action: &str, directory: &Path) -> Result<Child> {
        let millis = self.time.as_millis().to_string();
        let arguments = [OsStr::new(crate::CHILD), action.as_ref(), self.kind.name.as_ref()];
        let mut command = Command::new(env::current_exe()?);
        command.args(arguments).arg(directory).arg(millis).env_clear();
        Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    }
}

/// Whether it ended well; killed when it did not end.
fn wait(child: &mut Child, patience: Duration) -> Result<bool> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if began.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Beside this program: `/tmp` may be no disk.
fn home() -> Result<TempDir> {
    let program = env::current_exe()?;
    let home = tempfile::tempdir_in(program.parent().ok_or("a program is in a directory")?)?;
    fs::create_dir(directory(&home))?;
    Ok(home)
}

fn directory(home: &TempDir) -> PathBuf {
    home.path().join("directory")
}

/// What the files take of the disk.
fn disk_bytes(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    metadata.blocks() * 512 + below.map(|entry| disk_bytes(&entry.path())).sum::<u64>()
}
