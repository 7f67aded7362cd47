//! What happened below a home directory, as operations on a disk.
//!
//! A call begins and ends. What it changed is in the disk's cache from its end on; what a sync makes durable is
//! what had ended before the sync began. Both are the cautious reading where threads overlap. Only a handle is
//! closed from the beginning on: another thread may get its number before that has ended.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path};
use std::process::Command;
use std::rc::Rc;

use crate::common::Home;
use crate::disk::{Inode, Name, Names, ROOT};
use crate::scenario::{ANSWER, PROMISE};
use crate::strace::{Call, trace};

/// What happened to the disk, and what was said meanwhile.
#[derive(Debug)]
pub(crate) enum Operation {
    Make {
        name: Name,
        inode: Inode,
        is_directory: bool,
    },
    Link {
        name: Name,
        inode: Inode,
    },
    Rename {
        from: Name,
        to: Name,
    },
    Remove {
        name: Name,
    },
    Write {
        inode: Inode,
        at: u64,
        bytes: Vec<u8>,
    },
    SetLen {
        inode: Inode,
        len: u64,
    },
    /// Makes durable what had ended before the operation `began`.
    Sync {
        inode: Inode,
        data_only: bool,
        began: usize,
    },
    /// The driver said this.
    Promise(String),
    /// A process has read the receiver's answer of this number.
    Answer(usize),
}

pub(crate) struct Recording {
    /// What stood there before.
    pub(crate) start: Vec<(Name, Inode, Vec<u8>)>,
    pub(crate) operations: Vec<Operation>,
    /// Where each inode was made, from the home on.
    paths: Vec<String>,
    /// Whether nobody knows what became of something.
    pub(crate) is_unclear: bool,
}

impl Recording {
    /// Runs a command and records what it and its children do below `home`. `None` where there is no strace.
    pub(crate) fn of(home: &Home, command: &Command) -> Option<Self> {
        let files = std::fs::read_dir(home.path()).unwrap().map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (Name { directory: ROOT, name }, std::fs::read(entry.path()).unwrap())
        });
        let start = (ROOT + 1..).zip(files).map(|(inode, (name, bytes))| (name, inode, bytes)).collect();
        let said = tempfile::NamedTempFile::new().unwrap();
        let mut trace = trace(command, said.path())?;
        trace.calls.sort_by_key(|call| if call.name == "close" { call.began } else { call.ended });
        let recording = Recorder::new(home.path(), start).run(&trace.calls);
        Some(Self { is_unclear: trace.is_unclear, ..recording })
    }

    /// One that nobody made.
    pub(crate) fn made_up(operations: Vec<Operation>) -> Self {
        Self { start: Vec::new(), operations, paths: Vec::new(), is_unclear: false }
    }

    /// Whether this file or directory was made at a path that ends so.
    pub(crate) fn is_at(&self, inode: Inode, end: &str) -> bool {
        Path::new(&self.paths[inode]).ends_with(end)
    }

    /// An operation in words.
    pub(crate) fn describe(&self, at: usize) -> String {
        let path = |inode: &Inode| &self.paths[*inode];
        match self.operations.get(at) {
            Some(Operation::Write { inode, at, bytes }) => {
                format!("{} bytes at {at} of {}", bytes.len(), path(inode))
            }
            Some(Operation::Sync { inode, .. }) => format!("a sync of {}", path(inode)),
            other => format!("{other:?}"),
        }
    }
}

/// An open file. Its place is shared by all handles that were duplicated from one.
#[derive(Clone)]
struct Open {
    inode: Inode,
    place: Rc<Cell<u64>>,
}

struct Recorder<'a> {
    home: &'a Path,
    recording: Recording,
    /// As every process sees them.
    names: Names,
    /// Names that are no more, and what they meant last: who opened one just before may be seen to end after.
    gone: BTreeMap<Name, Inode>,
    handles: HashMap<(u32, u64), Open>,
    /// Who started a thread: they share their handles. A process has no entry.
    starters: HashMap<u32, u32>,
    /// The line on which each operation ended.
    ends: Vec<usize>,
}

impl<'a> Recorder<'a> {
    fn new(home: &'a Path, start: Vec<(Name, Inode, Vec<u8>)>) -> Self {
        let mut names = Names::default();
        let mut paths = vec![String::new()];
        for (name, inode, _) in &start {
            names.add(name.clone(), *inode);
            paths.push(name.name.clone());
        }
        Self {
            home,
            recording: Recording { start, operations: Vec::new(), paths, is_unclear: false },
            names,
            gone: BTreeMap::new(),
            handles: HashMap::new(),
            starters: HashMap::new(),
            ends: Vec::new(),
        }
    }

    fn run(mut self, calls: &[Call]) -> Recording {
        // A thread's first calls, and what it starts itself, may be seen before the call that started it has ended.
        let threads = calls.iter().filter(|call| call.words().any(|word| word.contains("CLONE_FILES")));
        self.starters = threads.map(|call| (call.result as u32, call.thread)).collect();
        calls.iter().for_each(|call| self.take(call));
        self.recording
    }

    /// The process that a thread belongs to, named by its first thread.
    fn process(&self, mut thread: u32) -> u32 {
        while let Some(starter) = self.starters.get(&thread) {
            thread = *starter;
        }
        thread
    }

    fn take(&mut self, call: &Call) {
        const HERE: &str = "AT_FDCWD";
        match &*call.name {
            "open" => self.open(call, HERE, 0),
            "openat" => self.open(call, call.word(0), 1),
            "mkdir" => self.make_directory(call, HERE, 0),
            "mkdirat" => self.make_directory(call, call.word(0), 1),
            "rename" => self.rename(call, self.name(call, HERE, 0), self.name(call, HERE, 1)),
            "renameat" | "renameat2" => {
                self.rename(call, self.name(call, call.word(0), 1), self.name(call, call.word(2), 3));
            }
            "link" => self.link(call, self.name(call, HERE, 0), self.name(call, HERE, 1)),
            "linkat" => self.link(call, self.name(call, call.word(0), 1), self.name(call, call.word(2), 3)),
            "unlink" | "rmdir" => self.remove(call, HERE, 0),
            "unlinkat" => self.remove(call, call.word(0), 1),
            "write" | "pwrite64" | "lseek" | "ftruncate" | "fsync" | "fdatasync" => {
                match self.handles.get(&(self.process(call.thread), call.number(0))) {
                    Some(open) => self.work_on(open.clone(), call),
                    None if call.name == "write" => self.said(call),
                    None => {}
                }
            }
            "close" => drop(self.handles.remove(&(self.process(call.thread), call.number(0)))),
            "dup" | "dup2" | "dup3" => self.duplicate(call),
            "fcntl" if call.word(1).starts_with("F_DUPFD") => self.duplicate(call),
            "recvfrom" => self.received(call),
            "fcntl" | "clone" | "clone3" | "fork" | "vfork" => {}
            other => {
                let process = self.process(call.thread);
                let mut numbers = call.words().filter_map(|word| word.parse().ok());
                let is_ours = numbers.any(|number| self.handles.contains_key(&(process, number)));
                let names_files = matches!(other, "creat" | "truncate" | "sync");
                assert!(!is_ours && !names_files, "{other} has to be learnt, now that somebody calls it");
            }
        }
    }

    fn push(&mut self, call: &Call, operation: Operation) {
        self.recording.operations.push(operation);
        self.ends.push(call.ended);
    }

    /// The name that a path means, if it lies below the home. There are no symbolic links.
    fn name(&self, call: &Call, directory: &str, path: usize) -> Option<Name> {
        let path = Path::new(std::str::from_utf8(call.text(path)).ok()?);
        let (mut directory, path) = match path.is_absolute() {
            true => (ROOT, path.strip_prefix(self.home).ok()?),
            false => {
                let handle = (self.process(call.thread), directory.parse().ok()?);
                (self.handles.get(&handle)?.inode, path)
            }
        };
        let mut parts = path.components().filter(|part| *part != Component::CurDir).peekable();
        loop {
            let name = Name { directory, name: parts.next()?.as_os_str().to_str()?.to_owned() };
            if parts.peek().is_none() {
                return Some(name);
            }
            directory = self.names.get(&name)?;
        }
    }

    fn new_inode(&mut self, name: &Name) -> Inode {
        let path = Path::new(&self.recording.paths[name.directory]).join(&name.name);
        self.recording.paths.push(path.to_str().unwrap().to_owned());
        self.names.add(name.clone(), self.recording.paths.len() - 1);
        self.recording.paths.len() - 1
    }

    fn open(&mut self, call: &Call, directory: &str, path: usize) {
        let flags = call.word(path + 1);
        let inode = match self.name(call, directory, path) {
            Some(name) => match self.names.get(&name) {
                Some(inode) => inode,
                None if flags.contains("O_CREAT") => {
                    let inode = self.new_inode(&name);
                    self.push(call, Operation::Make { name, inode, is_directory: false });
                    inode
                }
                None => *self.gone.get(&name).unwrap_or_else(|| panic!("{name:?} was never made")),
            },
            None if call.text(path) == self.home.as_os_str().as_encoded_bytes() => ROOT,
            None => return,
        };
        assert!(!flags.contains("O_APPEND"), "places have to be learnt, now that somebody appends so");
        if flags.contains("O_TRUNC") {
            self.push(call, Operation::SetLen { inode, len: 0 });
        }
        self.handle(call, Open { inode, place: Rc::default() });
    }

    fn handle(&mut self, call: &Call, open: Open) {
        let before = self.handles.insert((self.process(call.thread), call.result), open);
        assert!(before.is_none(), "a handle that is closed was not seen to be");
    }

    fn make_directory(&mut self, call: &Call, directory: &str, path: usize) {
        let Some(name) = self.name(call, directory, path) else { return };
        let inode = self.new_inode(&name);
        self.push(call, Operation::Make { name, inode, is_directory: true });
    }

    fn rename(&mut self, call: &Call, from: Option<Name>, to: Option<Name>) {
        let Some((from, to)) = from.zip(to) else { return };
        let inode = self.names.remove(&from).expect("what is renamed is known");
        self.gone.insert(from.clone(), inode);
        self.names.add(to.clone(), inode);
        self.push(call, Operation::Rename { from, to });
    }

    fn link(&mut self, call: &Call, from: Option<Name>, to: Option<Name>) {
        let Some((from, name)) = from.zip(to) else { return };
        let inode = self.names.get(&from).expect("what is linked is known");
        self.names.add(name.clone(), inode);
        self.push(call, Operation::Link { name, inode });
    }

    fn remove(&mut self, call: &Call, directory: &str, path: usize) {
        let Some(name) = self.name(call, directory, path) else { return };
        let inode = self.names.remove(&name).expect("what is removed is known");
        self.gone.insert(name.clone(), inode);
        self.push(call, Operation::Remove { name });
    }

    fn work_on(&mut self, open: Open, call: &Call) {
        let Open { inode, place } = open;
        let written = || call.text(1)[..call.result as usize].to_vec();
        let operation = match &*call.name {
            "lseek" => return place.set(call.result),
            "write" => {
                let at = place.get();
                place.set(at + call.result);
                Operation::Write { inode, at, bytes: written() }
            }
            "pwrite64" => Operation::Write { inode, at: call.number(3), bytes: written() },
            "ftruncate" => Operation::SetLen { inode, len: call.number(1) },
            name => {
                let began = self.ends.partition_point(|end| *end < call.began);
                Operation::Sync { inode, data_only: name == "fdatasync", began }
            }
        };
        self.push(call, operation);
    }

    fn duplicate(&mut self, call: &Call) {
        if let Some(open) = self.handles.get(&(self.process(call.thread), call.number(0))).cloned() {
            self.handle(call, open);
        }
    }

    /// A promise of the driver, if it is one.
    fn said(&mut self, call: &Call) {
        for line in String::from_utf8_lossy(call.text(1)).lines() {
            if let Some((_, promise)) = line.split_once(PROMISE) {
                self.push(call, Operation::Promise(promise.to_owned()));
            }
        }
    }

    /// An answer of the receiver, if it is one.
    fn received(&mut self, call: &Call) {
        if let Some((_, rest)) = String::from_utf8_lossy(call.text(1)).split_once(ANSWER) {
            let number = rest.lines().next().unwrap_or_default();
            self.push(call, Operation::Answer(number.parse().unwrap()));
        }
    }
}
