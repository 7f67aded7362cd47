//! Stack traces.

use super::place::{Place, has, run};

/// What a line of a trace of Python, and a frame of another language, is looked through for at most.
const LINE_BYTES_MAX: usize = 256;

/// Where a word begins, or at `#`.
pub(super) fn stack_trace(place: &Place<'_>) -> bool {
    let rest = place.rest();
    match rest[0] {
        b'#' => rest.starts_with(b"#0  0x"),
        b'C' => rest.starts_with(b"Caused by: "),
        b'E' => rest.starts_with(b"Exception in thread "),
        b'F' => rest.starts_with(b"File \"") && has(rest, LINE_BYTES_MAX, b"\", line "),
        b'S' => rest.starts_with(b"Stack trace") || rest.starts_with(b"Stacktrace:"),
        b'T' => rest.starts_with(b"Traceback (most recent call last"),
        b'a' => rest.starts_with(b"at ") && frame(&rest[3..]),
        b'g' => rest.starts_with(b"goroutine ") && has(rest, 32, b" ["),
        b'p' => rest.starts_with(b"panicked at "),
        _ => rest.starts_with(b"stack backtrace") || rest.starts_with(b"stack trace:"),
    }
}

/// `com.acme.Job.run(Job.java:42)`, `Object.run (job.js:4:2)`, behind the word `at`.
fn frame(text: &[u8]) -> bool {
    let name = run(text, LINE_BYTES_MAX, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$' | b'<' | b'>')
    });
    let text = &text[name..];
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let Some(text) = text.strip_prefix(b"(").filter(|_| name > 0) else { return false };
    let place = &text[..run(text, LINE_BYTES_MAX, |byte| byte != b')' && byte != b'\n')];
    let line = place.iter().rposition(|byte| !byte.is_ascii_digit());
    line.is_some_and(|at| place[at] == b':' && at + 1 < place.len())
}
