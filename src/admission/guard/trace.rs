//! Stack traces.

use super::place::{Place, has, is_word, run};

/// What a line of a trace of Python, and a frame of another language, is looked through for at most.
const LINE_BYTES_MAX: usize = 256;

/// Where a word begins, or at `#` or `:`.
pub(super) fn stack_trace(place: &Place<'_>) -> bool {
    let rest = place.rest();
    match rest[0] {
        b'#' => gdb(&rest[1..]),
        b':' => ruby(place) || rust(place),
        b'C' => rest.starts_with(b"Caused by: "),
        b'E' => rest.starts_with(b"Exception in thread "),
        b'F' => rest.starts_with(b"File \"") && has(rest, LINE_BYTES_MAX, b"\", line "),
        b'S' => {
            [&b"Stack trace:"[..], b"Stack trace\n", b"Stacktrace:"].iter().any(|head| rest.starts_with(head))
        }
        b'T' => rest.starts_with(b"Traceback (most recent call last"),
        b'a' => rest.starts_with(b"at ") && frame(&rest[3..]),
        b'g' => rest.starts_with(b"goroutine ") && has(rest, 32, b" ["),
        b'p' => rest.starts_with(b"panicked at "),
        _ => rest.starts_with(b"stack backtrace:") || rest.starts_with(b"stack trace:"),
    }
}

/// `com.acme.Job.run(Job.java:42)`, `Object.run (job.js:4:2)`, `Acme.Job.Run(String name)`, behind the word `at`.
fn frame(text: &[u8]) -> bool {
    let name = run(text, LINE_BYTES_MAX, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$' | b'<' | b'>' | b'/' | b'@' | b'`')
    });
    let (name, text) = text.split_at(name);
    // Nobody writes that in a sentence.
    let is_qualified = name.iter().filter(|byte| **byte == b'.').count() >= 2 && text.starts_with(b"(");
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let Some(text) = text.strip_prefix(b"(").filter(|_| !name.is_empty()) else { return false };
    let place = &text[..run(text, LINE_BYTES_MAX, |byte| byte != b')' && byte != b'\n')];
    let behind = &text[place.len()..];
    let line = place.iter().rposition(|byte| !byte.is_ascii_digit());
    let is_line = line.is_some_and(|at| place[at] == b':' && at + 1 < place.len());
    let is_nowhere = matches!(place, b"Native Method" | b"Unknown Source");
    let is_in = behind.starts_with(b") in ") && has(behind, LINE_BYTES_MAX, b":line ");
    is_line || is_nowhere || is_in || is_qualified
}

/// `#0  0x00007ffff7e4a in main ()`, `#1  main () at job.c:3`, PHP's `#2 {main}`, behind the `#`.
fn gdb(text: &[u8]) -> bool {
    let digits = run(text, 4, |byte| byte.is_ascii_digit());
    let Some(text) = text[digits..].strip_prefix(b" ").filter(|_| digits > 0) else { return false };
    let text = text.trim_ascii_start();
    let at_file = |text: &[u8]| {
        let behind = text.windows(5).position(|window| window == b") at ").map(|at| &text[at + 5..]);
        let file =
            behind.map(|behind| &behind[..run(behind, LINE_BYTES_MAX, |byte| !byte.is_ascii_whitespace())]);
        file.is_some_and(|file| file.contains(&b'.') && file.contains(&b':'))
    };
    text.starts_with(b"0x") || text.starts_with(b"{main}") || at_file(&text[..text.len().min(LINE_BYTES_MAX)])
}

/// `job.rb:12:in 'run'`, at the second colon.
fn ruby(place: &Place<'_>) -> bool {
    let rest = place.rest();
    place.before(1).is_some_and(|byte| byte.is_ascii_digit())
        && (rest.starts_with(b":in '") || rest.starts_with(b":in `"))
}

/// `  12: core::panicking::panic`, alone in its line.
fn rust(place: &Place<'_>) -> bool {
    let rest = place.rest();
    if !rest.starts_with(b": ") || !place.before(1).is_some_and(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let before = &place.text[..place.at];
    let digits = before.iter().rev().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    let before = &before[..before.len() - digits];
    let spaces = before.iter().rev().take(16).take_while(|byte| **byte == b' ').count();
    let name = &rest[2..];
    let name =
        &name[..run(name, LINE_BYTES_MAX, |byte| is_word(byte) || matches!(byte, b'_' | b':' | b'<' | b'>'))];
    before[..before.len() - spaces].last().is_none_or(|byte| *byte == b'\n')
        && has(name, LINE_BYTES_MAX, b"::")
        && rest[2 + name.len()..].first().is_none_or(|next| matches!(next, b'\n' | b'\r' | b'{'))
}
