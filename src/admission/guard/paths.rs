//! Paths of files.

use super::place::{Place, is_word, run, starts_with_any_case};

/// Longest name of a home or a variable that is looked at.
const NAME_BYTES_MAX: usize = 64;

/// Endings of files that programs and their data are kept in. With one of them `a/b` is a path, without it is a
/// pair of words.
const ENDINGS: [&str; 40] = [
    "bash", "bat", "c", "cc", "cfg", "conf", "cpp", "cs", "csv", "db", "env", "go", "h", "ini", "ipynb",
    "java", "js", "json", "jsonl", "key", "kt", "lock", "log", "parquet", "pem", "php", "pkl", "ps1", "py",
    "rb", "rs", "sh", "sql", "sqlite", "toml", "ts", "tsx", "txt", "yaml", "yml",
];

/// At `/`, `\`, `~`, `$` or `%`.
pub(super) fn path(place: &Place<'_>) -> bool {
    match place.text[place.at] {
        b'/' => from_root(place) || from_here(place) || named_file(place),
        b'\\' => backslash(place),
        b'~' => opens(place.before(1)) && home(place),
        b'$' => variable(place, b'}'),
        _ => variable(place, b'%'),
    }
}

/// `/etc`, `//server/share`, `file:///x`; but not `a/b`, `</b>`, `2/3`, `https://`.
fn from_root(place: &Place<'_>) -> bool {
    let before = place.before(1);
    match place.behind(1) {
        Some(b'/') => {
            let is_file = place.at >= 5 && starts_with_any_case(&place.text[place.at - 5..], b"file:");
            is_file || before != Some(b':') && opens(before) && place.behind(2).is_some_and(begins_name)
        }
        Some(next) => opens(before) && begins_name(next),
        None => false,
    }
}

/// `./x` and `../x`.
fn from_here(place: &Place<'_>) -> bool {
    let dots = (1..=2).take_while(|count| place.before(*count) == Some(b'.')).count();
    dots > 0
        && opens(place.before(dots + 1))
        && place.behind(1).is_some_and(|next| begins_name(next) || next == b'.')
}

/// `src/main.rs`: what stands behind the last slash ends like a file.
fn named_file(place: &Place<'_>) -> bool {
    if !place.before(1).is_some_and(|before| is_part(before) || before == b'*') {
        return false;
    }
    let name = &place.rest()[1..];
    let end = run(name, NAME_BYTES_MAX, |byte| is_part(byte) || byte == b'*');
    if name.get(end).is_some_and(|next| matches!(next, b'/' | b'+')) {
        return false;
    }
    let name = &name[..end];
    let Some(dot) = name.iter().rposition(|byte| *byte == b'.') else { return false };
    let ending = &name[dot + 1..];
    dot > 0 && ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known.as_bytes()))
}

/// `C:\`, `\\server`, `dir\file`, `%TEMP%\x`, `DOMAIN\user`.
fn backslash(place: &Place<'_>) -> bool {
    let before = place.before(1);
    let next = place.behind(1);
    let is_drive = before == Some(b':')
        && place.before(2).is_some_and(|letter| letter.is_ascii_alphabetic())
        && !place.before(3).is_some_and(is_word);
    let is_server = opens(before) && next == Some(b'\\') && place.behind(2).is_some_and(is_word);
    let joins = |byte: u8| is_part(byte) || matches!(byte, b'%' | b'}');
    is_drive
        || is_server
        || before.is_some_and(joins) && next.is_some_and(|next| is_word(next) || next == b'.')
}

/// `~/x`, `~name/x`.
fn home(place: &Place<'_>) -> bool {
    let name = &place.rest()[1..];
    let end = run(name, NAME_BYTES_MAX, is_part);
    !name.first().is_some_and(u8::is_ascii_digit) && name.get(end) == Some(&b'/')
}

/// `$HOME/x`, `${HOME}/x`, `%TEMP%/x`.
fn variable(place: &Place<'_>, close: u8) -> bool {
    let name = &place.rest()[1..];
    let name = name.strip_prefix(b"{").unwrap_or(name);
    let end = run(name, NAME_BYTES_MAX, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let behind = &name[end..];
    let behind = behind.strip_prefix(&[close]).unwrap_or(behind);
    name.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_')
        && matches!(behind.first(), Some(b'/' | b'\\'))
}

/// Whether a path can begin behind this byte.
fn opens(before: Option<u8>) -> bool {
    before.is_none_or(|byte| {
        byte.is_ascii_whitespace()
            || matches!(byte, b'"' | b'\'' | b'`')
            || matches!(byte, b'(' | b'[' | b'{' | b'=' | b',' | b';' | b':' | b'|' | b'>' | b'@' | b'&')
    })
}

/// A name below the root begins with no digit: `6 /7` is none.
fn begins_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 0x80 || matches!(byte, b'.' | b'_' | b'~' | b'*' | b'$')
}

fn is_part(byte: u8) -> bool {
    is_word(byte) || matches!(byte, b'.' | b'_' | b'-')
}
