//! Runs a command under strace, and reads which calls were made.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::tool;

/// Calls that change files, make processes or say what happened when.
const CALLS: &str = "trace=open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,unlink,\
    unlinkat,rmdir,write,pwrite64,writev,pwritev,pwritev2,lseek,truncate,ftruncate,fallocate,copy_file_range,\
    sendfile,splice,fsync,fdatasync,sync,syncfs,close,dup,dup2,dup3,fcntl,clone,clone3,fork,vfork,recvfrom";

/// Longest write that is seen as a whole: four journals.
const WRITE_BYTES_MAX: &str = "16777216";

/// A call that did not fail.
pub(crate) struct Call {
    pub(crate) thread: u32,
    /// The numbers of the lines on which it began and ended.
    pub(crate) began: usize,
    pub(crate) ended: usize,
    pub(crate) name: String,
    arguments: Vec<Argument>,
    pub(crate) result: u64,
}

enum Argument {
    Word(String),
    Text(Vec<u8>),
}

/// What a command and its children called.
#[derive(Default)]
pub(crate) struct Trace {
    /// In the order in which it ended.
    pub(crate) calls: Vec<Call>,
    /// Whether a process died in a call that changes files: nobody knows what became of that.
    pub(crate) is_unclear: bool,
}

/// Runs a command to its end. `None` where there is no strace. What it says on standard error goes to the file
/// `said`.
pub(crate) fn trace(command: &Command, said: &Path) -> Option<Trace> {
    let mut strace = tool("strace")?
        .args(["-f", "-qq", "--seccomp-bpf", "-xx", "-s", WRITE_BYTES_MAX, "-e", "signal=none", "-e", CALLS])
        // Written to a file, each line names its thread. strace has standard error to itself.
        .args(["-o", "/dev/stderr", "sh", "-c", r#"exec "$@" 2>"$0""#])
        .arg(said)
        .arg(command.get_program())
        .args(command.get_args())
        .envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let trace = read(BufReader::new(strace.stderr.take().unwrap()));
    let ended = strace.wait().unwrap();
    assert!(ended.success(), "what was to be traced failed: {}", std::fs::read_to_string(said).unwrap());
    Some(trace)
}

fn read(lines: impl BufRead) -> Trace {
    let mut begun: HashMap<u32, (usize, String)> = HashMap::new();
    let mut trace = Trace::default();
    for (number, line) in lines.lines().enumerate() {
        let line = line.unwrap();
        let (thread, text) = line.split_once(' ').unwrap_or_else(|| panic!("no thread: {line:.200}"));
        let (thread, text) =
            (thread.parse().unwrap_or_else(|_| panic!("no thread: {line:.200}")), text.trim_start());
        // The end of a thread, which may fall before strace knows what it called.
        if text.starts_with("+++") || text.starts_with("???") {
            let call = begun.remove(&thread);
            trace.is_unclear |= call.is_some_and(|(_, call)| changes_files(&call));
            continue;
        }
        if let Some(start) = text.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (number, start.to_owned()));
            continue;
        }
        let (began, text) = match text.strip_prefix("<... ").and_then(|text| text.split_once(" resumed>")) {
            Some((_, end)) => {
                let (began, start) = begun.remove(&thread).expect("what is resumed was begun");
                (began, format!("{start}{end}"))
            }
            None => (number, text.to_owned()),
        };
        // Its thread was killed before it came back, or before strace had told all of it: it may have done its work.
        if text.ends_with(" = ?") || !text.contains(" = ") {
            trace.is_unclear |= changes_files(&text);
            continue;
        }
        trace.calls.extend(parse(thread, (began, number), &text));
    }
    trace
}

fn changes_files(call: &str) -> bool {
    let name = call.split('(').next().unwrap_or_default();
    !matches!(name, "fsync" | "fdatasync" | "close" | "lseek" | "recvfrom" | "fcntl")
}

/// Parses `name(arguments) = result`; `None` where it failed.
fn parse(thread: u32, (began, ended): (usize, usize), text: &str) -> Option<Call> {
    let (name, rest) = text.split_once('(').unwrap_or_else(|| panic!("no call: {text:.200}"));
    let (arguments, result) = rest.rsplit_once(" = ").unwrap_or_else(|| panic!("no result: {text:.200}"));
    let result = result.split(' ').next()?.parse().ok()?;
    let arguments = arguments.trim_end().strip_suffix(')').unwrap_or(arguments);
    // Every byte of a text stands there in hexadecimal, so none of them is a comma or a quote.
    let arguments = arguments.split(", ").map(|argument| match argument.strip_prefix('"') {
        Some(text) => {
            let text = text.strip_suffix('"').unwrap_or_else(|| panic!("{name}: a text was cut"));
            Argument::Text(bytes(text))
        }
        None => Argument::Word(argument.to_owned()),
    });
    Some(Call { thread, began, ended, name: name.to_owned(), arguments: arguments.collect(), result })
}

/// The bytes of `\x6d\x70`.
fn bytes(text: &str) -> Vec<u8> {
    let digit = |digit: u8| if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 };
    text.as_bytes().chunks_exact(4).map(|byte| digit(byte[2]) << 4 | digit(byte[3])).collect()
}

impl Call {
    pub(crate) fn text(&self, argument: usize) -> &[u8] {
        match &self.arguments[argument] {
            Argument::Text(text) => text,
            Argument::Word(word) => panic!("{}: {word} is no text", self.name),
        }
    }

    pub(crate) fn word(&self, argument: usize) -> &str {
        match &self.arguments[argument] {
            Argument::Word(word) => word,
            Argument::Text(_) => panic!("{}: a text is no word", self.name),
        }
    }

    pub(crate) fn number(&self, argument: usize) -> u64 {
        let word = self.word(argument);
        word.parse().unwrap_or_else(|_| panic!("{}: {word} is no number", self.name))
    }

    /// All arguments that are no text.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().filter_map(|argument| match argument {
            Argument::Word(word) => Some(word.as_str()),
            Argument::Text(_) => None,
        })
    }
}
