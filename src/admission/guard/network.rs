//! URLs with a user part, e-mail addresses, addresses of networks.

use std::net::Ipv6Addr;

use super::place::{Place, is_word, run};

/// Longest address of IP version 6 as text.
const IPV6_BYTES_MAX: usize = 45;

const IPV4_BYTES_MIN: usize = "0.0.0.0".len();

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
/// ends in letters.
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
    let Some(dot) = domain.iter().rposition(|byte| *byte == b'.') else { return false };
    let last = &domain[dot + 1..];
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte >= 0x80;
    dot > 0 && last.len() >= 2 && last.iter().all(is_letter)
}

fn is_local(byte: u8) -> bool {
    is_word(byte) || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'')
}

/// Where a word begins with a digit, or at a colon.
pub(super) fn address(place: &Place<'_>) -> bool {
    match place.text[place.at] {
        b':' => ipv6(place) || hardware(place),
        _ => ipv4(place),
    }
}

/// Four numbers up to 255. A version can look like this: it passes where its key says so, where it is pinned
/// (`==1.2.3.4`), goes on (`1.2.3.4-rc1`), belongs to a name (`v1.2.3.4`, `lib-1.2.3.4`), and where it ends in
/// `.0.0.0`, which no host has.
fn ipv4(place: &Place<'_>) -> bool {
    let rest = place.rest();
    if rest.len() < IPV4_BYTES_MIN || !rest[1..4].contains(&b'.') {
        return false;
    }
    let begins = match place.before(1) {
        Some(b'.' | b'_' | b'-' | b'~' | b'^' | b'<' | b'>') => false,
        Some(b'=') => !matches!(place.before(2), Some(b'=' | b'<' | b'>' | b'~' | b'!')),
        before => !before.is_some_and(is_word),
    };
    if !begins {
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
    let goes_on = match (rest.first(), rest.get(1)) {
        (Some(b'.' | b'-'), Some(next)) => {
            if rest[0] == b'-' {
                next.is_ascii_alphabetic()
            } else {
                is_word(*next)
            }
        }
        (Some(b'_' | b'+'), _) => true,
        (Some(next), _) => is_word(*next),
        (None, _) => false,
    };
    !goes_on
        && numbers.iter().all(|number| *number <= 255)
        && numbers[1..] != [0; 3]
        && !is_version(place.key)
}

fn is_version(key: &[u8]) -> bool {
    key.windows(7).any(|part| part.eq_ignore_ascii_case(b"version"))
}

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

/// At the first colon of a network card's address: six pairs of hexadecimal digits.
fn hardware(place: &Place<'_>) -> bool {
    let Some(text) = colons(place) else { return false };
    let is_part =
        |(at, byte): (usize, &u8)| if at % 3 == 2 { *byte == b':' } else { byte.is_ascii_hexdigit() };
    text.len() >= 17
        && text[..17].iter().enumerate().all(is_part)
        && !text.get(17).is_some_and(|next| is_word(*next) || *next == b':')
}

/// What begins with the hexadecimal digits before this colon, if it is the first of its word.
fn colons<'a>(place: &Place<'a>) -> Option<&'a [u8]> {
    let digits =
        (1..=4).take_while(|count| place.before(*count).is_some_and(|byte| byte.is_ascii_hexdigit()));
    let digits = digits.count();
    let before = place.before(digits + 1);
    let begins = !before.is_some_and(|byte| is_word(byte) || matches!(byte, b':' | b'.' | b'_' | b'-'));
    begins.then(|| &place.text[place.at - digits..])
}
