//! URLs with a user part, e-mail addresses, addresses of networks.

use std::net::Ipv6Addr;

use super::place::{Place, is_word, run, starts_with_any_case};
use crate::admission::Rule;

/// Longest address of IP version 6 as text.
const IPV6_BYTES_MAX: usize = 45;

const IPV4_BYTES_MIN: usize = "0.0.0.0".len();

/// What a version may go on with: `1.2.3.4-rc1`, `1.2.3.4.Final`. One letter needs a number.
const RELEASES: [&str; 17] = [
    "a", "b", "c", "rc", "alpha", "beta", "build", "canary", "dev", "final", "ga", "nightly", "post", "pre",
    "preview", "release", "snapshot",
];

/// At a colon: `scheme://user@` or `scheme://user:password@`.
pub(super) fn url_with_user(place: &Place<'_>) -> bool {
    if !place.rest().starts_with(b"://") || !place.before(1).is_some_and(is_word) {
        return false;
    }
    let authority = &place.rest()[3..];
    let end = run(authority, usize::MAX, |byte| {
        !matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>') && !byte.is_ascii_whitespace()
    });
    authority[..end].iter().position(|byte| *byte == b'@').is_some_and(|user| user > 0)
}

/// At an `@`, or at `%40`, which is one in a URL: a local part before it, behind it a domain with a dot, which
/// ends in letters, or this machine.
pub(super) fn email(place: &Place<'_>) -> bool {
    let sign = if place.rest().starts_with(b"%40") { 3 } else { 1 };
    if sign == 1 && place.text[place.at] != b'@' || !place.before(1).is_some_and(is_local) {
        return false;
    }
    let domain = &place.rest()[sign..];
    let domain = &domain[..run(domain, usize::MAX, |byte| is_word(byte) || matches!(byte, b'.' | b'-'))];
    // A full stop is the sentence's.
    let end = domain.iter().rposition(|byte| is_word(*byte)).map_or(0, |last| last + 1);
    let domain = &domain[..end];
    // The other one is what a Chinese or a Japanese keyboard has.
    let wide = || domain.windows(3).rposition(|dot| dot == "。".as_bytes()).map(|at| at + 2);
    let Some(dot) = domain.iter().rposition(|byte| *byte == b'.').or_else(wide) else {
        let is_here = place.machine.knows(domain) == Some(Rule::HostName);
        return is_here || domain.eq_ignore_ascii_case(b"localhost");
    };
    let last = &domain[dot + 1..];
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte >= 0x80;
    let is_top = last.iter().all(is_letter) || starts_with_any_case(last, b"xn--");
    dot > 0 && last.len() >= 2 && is_top
}

fn is_local(byte: u8) -> bool {
    is_word(byte) || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'')
}

/// Where a word begins with a digit, or at a colon, a hyphen or a full stop.
pub(super) fn address(place: &Place<'_>) -> bool {
    match place.text[place.at] {
        b':' => ipv6(place) || hardware(place, 2, 6),
        b'-' => hardware(place, 2, 6),
        b'.' => hardware(place, 4, 3),
        _ => ipv4(place),
    }
}

/// Four numbers up to 255. A version can look like this: it passes where its key or the word before it says that it
/// is one, where it is wanted (`==1.2.3.4`), goes on (`1.2.3.4-rc1`, `1.2.3.4.5`), follows a letter (`v1.2.3.4`), and
/// where it ends in `.0.0.0`, which no host has. Whatever else looks like this is taken for an address, since nobody
/// can tell.
fn ipv4(place: &Place<'_>) -> bool {
    let rest = place.rest();
    if rest.len() < IPV4_BYTES_MIN || !rest[1..4].contains(&b'.') {
        return false;
    }
    let mut rest = rest;
    let mut numbers = [0; 4];
    for (index, number) in numbers.iter_mut().enumerate() {
        let digits = run(rest, 4, |byte| byte.is_ascii_digit());
        if !(1..=3).contains(&digits) {
            return false;
        }
        *number = rest[..digits].iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
        rest = &rest[digits..];
        match (index, rest.split_first()) {
            (3, _) => {}
            (_, Some((b'.', behind))) => rest = behind,
            _ => return false,
        }
    }
    numbers.iter().all(|number| *number <= 255)
        && numbers[1..] != [0; 3]
        && !is_wanted(place, rest)
        && !goes_on(rest)
        && !is_version(place)
}

/// Whether four numbers with this behind them are what is left of more numbers, or a version that something requires.
fn is_wanted(place: &Place<'_>, behind: &[u8]) -> bool {
    match (place.before(2), place.before(1)) {
        (Some(before), Some(b'.')) => before.is_ascii_digit(),
        (_, Some(b'~' | b'^')) | (Some(b'=' | b'<' | b'>' | b'~' | b'!'), Some(b'=')) => true,
        // In `<1.2.3.4>` and `<b>1.2.3.4</b>` it is not compared with anything.
        (Some(name), Some(b'<' | b'>')) => is_word(name) && !matches!(behind.first(), Some(b'<' | b'>')),
        _ => false,
    }
}

fn goes_on(behind: &[u8]) -> bool {
    match behind {
        [b'+', ..] => true,
        [b'.', next, ..] if next.is_ascii_digit() => true,
        [b'.' | b'-' | b'_', word @ ..] => is_release(word),
        word => is_release(word),
    }
}

fn is_release(text: &[u8]) -> bool {
    let word = &text[..run(text, 16, |byte| byte.is_ascii_alphabetic())];
    let is_numbered = text.get(word.len()).is_some_and(u8::is_ascii_digit);
    let is_known = RELEASES.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    is_known && (word.len() > 1 || is_numbered)
}

/// Whether the key says so, or the word before it.
fn is_version(place: &Place<'_>) -> bool {
    let is_named =
        |part: &[u8]| [&b"ver"[..], b"build", b"release"].iter().any(|word| part.eq_ignore_ascii_case(word));
    let before = place.text[..place.at].trim_ascii_end();
    let before = before.strip_suffix(b":").or(before.strip_suffix(b"=")).unwrap_or(before).trim_ascii_end();
    let word = before.len().checked_sub(VERSION.len()).map(|at| &before[at..]);
    place.key.windows(VERSION.len()).any(|part| part.eq_ignore_ascii_case(VERSION))
        || place.key.split(|byte| !byte.is_ascii_alphanumeric()).any(is_named)
        || word.is_some_and(|word| word.eq_ignore_ascii_case(VERSION))
}

const VERSION: &[u8] = b"version";

/// At the first colon of an address. Without a digit it could be a name in a program, `a::b`.
fn ipv6(place: &Place<'_>) -> bool {
    let Some(text) = colons(place) else { return false };
    let text =
        &text[..run(text, IPV6_BYTES_MAX, |byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))];
    let end = if text.ends_with(b"::") { text.len() } else { text.trim_ascii_end().len() };
    let text = text[..end].strip_suffix(b".").unwrap_or(&text[..end]);
    let text = if text.ends_with(b"::") { text } else { text.strip_suffix(b":").unwrap_or(text) };
    text.iter().any(u8::is_ascii_digit)
        && std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// At the first separator of a network card's address: so many groups of so many hexadecimal digits.
fn hardware(place: &Place<'_>, digits: usize, groups: usize) -> bool {
    let separator = place.text[place.at];
    // Of the second group most words have none.
    if place.behind(digits + 1) != Some(separator) {
        return false;
    }
    let Some(from) = place.at.checked_sub(digits) else { return false };
    let to = from + groups * (digits + 1) - 1;
    let Some(text) = place.text.get(from..to) else { return false };
    let is_part = |(at, byte): (usize, &u8)| {
        if at % (digits + 1) == digits { *byte == separator } else { byte.is_ascii_hexdigit() }
    };
    // Long groups of figures alone are a number or a version.
    let is_number = digits > 2 && !text.iter().any(u8::is_ascii_alphabetic);
    text.iter().enumerate().all(is_part)
        && !is_number
        && !place.before(digits + 1).is_some_and(is_word)
        && !place.text.get(to).is_some_and(|next| is_word(*next))
}

/// What begins with the hexadecimal digits before this colon, if it is the first of its word.
fn colons<'a>(place: &Place<'a>) -> Option<&'a [u8]> {
    let digits =
        (1..=4).take_while(|count| place.before(*count).is_some_and(|byte| byte.is_ascii_hexdigit()));
    let digits = digits.count();
    let before = place.before(digits + 1);
    let begins = !before.is_some_and(|byte| is_word(byte) || matches!(byte, b':' | b'.'));
    begins.then(|| &place.text[place.at - digits..])
}
