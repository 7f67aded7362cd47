//! Puts a change into a text without a change of anything beside it.
//!
//! `toml_edit` keeps all of a file but its byte order mark and the `\r` of its lines. So what it was changed to is
//! compared with what it was read as, and only the piece that differs goes into the text as it stands on the disk.

/// `text`, in which `old` became `new`. `old` is `text` without a byte order mark and some of its `\r`, or `new` is all
/// that is left.
pub(super) fn splice(text: &str, old: &str, new: &str) -> String {
    let common = |pair: &(char, char)| pair.0 == pair.1;
    let bytes = |pairs: &mut dyn Iterator<Item = (char, char)>| {
        pairs.take_while(common).map(|(same, _)| same.len_utf8()).sum::<usize>()
    };
    let before = bytes(&mut old.chars().zip(new.chars()));
    let behind = bytes(&mut old[before..].chars().rev().zip(new[before..].chars().rev()));
    let Some((from, to)) = place(text, old, before).zip(place(text, old, old.len() - behind)) else {
        return new.to_owned();
    };
    let changed = &new[before..new.len() - behind];
    let is_crlf = text.find('\n').is_some_and(|at| text[..at].ends_with('\r'));
    let changed = if is_crlf { changed.replace('\n', "\r\n") } else { changed.to_owned() };
    format!("{}{changed}{}", &text[..from], &text[to..])
}

/// Where the byte `at` of `old` stands in `text`; before the `\r` that belongs to it.
fn place(text: &str, old: &str, at: usize) -> Option<usize> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut place = None;
    for (index, wanted) in old.char_indices().chain([(old.len(), '\0')]) {
        if index == at {
            place = Some(text.len() - rest.len());
        }
        if index < old.len() {
            rest = match rest.strip_prefix(wanted) {
                Some(behind) => behind,
                None => rest.trim_start_matches('\r').strip_prefix(wanted)?,
            };
        }
    }
    // All of it is the same, or nothing is known to be.
    if rest.is_empty() { place } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_change_keeps_its_bytes() {
        for (text, old, new, expected) in [
            ("a = 1\r\nb = 2\r\n", "a = 1\nb = 2\n", "a = 1\nb = 3\n", "a = 1\r\nb = 3\r\n"),
            ("a = 1\r\n", "a = 1\n", "a = 1\nb = 2\n", "a = 1\r\nb = 2\r\n"),
            ("a = 1\r\nb = 2\r\nc = 3\r\n", "a = 1\nb = 2\nc = 3\n", "a = 1\nc = 3\n", "a = 1\r\nc = 3\r\n"),
            ("\r\n\r\na = 1\r\n", "\n\na = 1\n", "\n\n[x]\n\na = 1\n", "\r\n\r\n[x]\r\n\r\na = 1\r\n"),
            // A mixture, of which the first line counts for what is new.
            ("a = 1\nb = 2\r\n", "a = 1\nb = 2\n", "a = 1\nb = 2\nc = 3\n", "a = 1\nb = 2\r\nc = 3\n"),
            ("\u{feff}a = 1\n", "a = 1\n", "z = 0\na = 1\n", "\u{feff}z = 0\na = 1\n"),
            ("\u{feff}", "", "a = 1\n", "\u{feff}a = 1\n"),
            ("\u{feff}a = 1\r\n", "a = 1\n", "", "\u{feff}"),
            ("ü = 'ä'\r\n", "ü = 'ä'\n", "ü = 'ö'\n", "ü = 'ö'\r\n"),
            // Of a text in several lines it keeps every byte.
            (
                "a = '''\r\nx'''\r\n",
                "a = '''\r\nx'''\n",
                "a = '''\r\nx'''\nb = 1\n",
                "a = '''\r\nx'''\r\nb = 1\r\n",
            ),
            ("", "", "a = 1\n", "a = 1\n"),
            ("a = 1", "b = 1\n", "b = 2\n", "b = 2\n"),
        ] {
            assert_eq!(splice(text, old, new), expected, "{text:?}");
        }
    }
}
