//! What settings files say: pure functions of their text.

use std::path::Path;

use toml_edit::{Document, DocumentMut, Item, TableLike};

/// What one source says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Word {
    #[default]
    Silent,
    /// The text is what was said, and where.
    Yes(String),
    No(String),
    /// Why nobody knows what it says.
    Unclear(String),
}

/// What the opt-out is called.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Names<'a> {
    /// The variable's name, which profiles use, too.
    pub(crate) variable: Option<&'a str>,
    /// Its name in files, in parts.
    pub(crate) setting: Option<&'a str>,
}

/// What `settings.toml` in the telemetry directory says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) collecting: Word,
    pub(crate) mode: Option<crate::product::Mode>,
    pub(crate) endpoint: Option<String>,
    pub(crate) format: Option<String>,
    pub(crate) verify: Option<String>,
}

/// A setting, as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Reads a boolean as pydantic does: any other word is none.
pub(crate) fn truth(word: &str) -> Option<bool> {
    match word.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Some(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

/// Says in one line what is wrong with a file, and where.
pub(crate) fn complaint(text: &str, error: &toml_edit::TomlError, path: &Path) -> String {
    let line = line(text, error.span().map_or(0, |span| span.start));
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    format!("{} makes no sense, line {line}: {message}", path.display())
}

/// Says the same of what stands under `keys` in a file that is TOML.
pub(crate) fn misshapen(text: &str, keys: &[&str], what: &str, path: &Path) -> String {
    let span = || {
        let document = Document::parse(text).ok()?;
        let item = keys.iter().try_fold(document.as_item(), |item, key| item.get(*key))?;
        item.span().or_else(|| item.as_array_of_tables()?.iter().next()?.span())
    };
    let line = span().map(|span| format!(", line {}", line(text, span.start))).unwrap_or_default();
    format!("{} makes no sense{line}: {what}", path.display())
}

fn line(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or_default().matches('\n').count() + 1
}

/// What the file of a working directory says.
pub(super) fn in_local_file(text: &str, names: Names<'_>, path: &Path) -> Word {
    let document = match parse(text, path) {
        Ok(document) => document,
        Err(why) => return Word::Unclear(why),
    };
    let setting = names.setting.unwrap_or_default();
    match nested(document.as_table(), setting) {
        Some(item) => word(setting, item, &format!("in {}", path.display())),
        None => Word::Silent,
    }
}

/// What a file of variables says: a line `NAME=VALUE` each, maybe behind `export`, maybe in quotes. The last counts, and
/// of a name its case does not, as with pydantic.
pub(super) fn in_dotenv(text: &str, names: Names<'_>, path: &Path) -> Word {
    let Some(name) = names.variable else { return Word::Silent };
    let value = text.lines().rev().find_map(|line| {
        let line = line.trim_start_matches('\u{feff}').trim_start();
        let line = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(line);
        let (key, value) = line.split_once('=')?;
        key.trim().trim_matches('\'').eq_ignore_ascii_case(name).then(|| unquoted(value.trim()))
    });
    let Some(value) = value else { return Word::Silent };
    let said = format!("{name}={value} in {}", path.display());
    match truth(value) {
        Some(true) => Word::Yes(said),
        Some(false) => Word::No(said),
        None => Word::Unclear(format!("{said} is neither yes nor no")),
    }
}

/// What stands between its quotes, or before a comment.
fn unquoted(value: &str) -> &str {
    let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.split_once(*quote));
    match quoted {
        Some((quoted, _)) => quoted,
        None => value.split_once(" #").map_or(value, |(value, _)| value).trim(),
    }
}

/// What a file of profiles says, for the profile `chosen`, or the one that it calls active. Where it calls none
/// active, one that refuses is enough: which of them the product takes is not said there.
pub(super) fn in_profiles(text: &str, chosen: Option<&str>, names: Names<'_>, path: &Path) -> Word {
    let document = match parse(text, path) {
        Ok(document) => document,
        Err(why) => return Word::Unclear(why),
    };
    let unclear = |keys: &[&str], what: &str| Word::Unclear(misshapen(text, keys, what, path));
    let active = match (chosen, document.get("active")) {
        (Some(chosen), _) => Some(chosen),
        (None, None) => None,
        (None, Some(active)) => match active.as_str() {
            Some(active) => Some(active),
            None => return unclear(&["active"], "its active profile is no name"),
        },
    };
    let Some(profiles) = document.get("profiles") else { return Word::Silent };
    let Some(profiles) = profiles.as_table_like() else {
        return unclear(&["profiles"], "its profiles are no table");
    };
    let of = |name: &str, profile: &Item| match profile.as_table_like() {
        Some(profile) => in_profile(profile, name, names, path),
        None => unclear(&["profiles", name], &format!("its profile {name} is no table")),
    };
    match active {
        Some(active) => profiles.get(active).map_or(Word::Silent, |profile| of(active, profile)),
        None => {
            let words: Vec<Word> = profiles.iter().map(|(name, profile)| of(name, profile)).collect();
            let no = words.iter().find(|word| matches!(word, Word::No(_)));
            let unclear = || words.iter().find(|word| matches!(word, Word::Unclear(_)));
            no.or_else(unclear).cloned().unwrap_or_default()
        }
    }
}

/// What the entry `key` of a profile is, if it is text.
pub(super) fn profile_entry(text: &str, chosen: Option<&str>, key: &str) -> Option<String> {
    let document = text.parse::<DocumentMut>().ok()?;
    let active = chosen.or_else(|| document.get("active")?.as_str())?;
    let profile = document.get("profiles")?.as_table_like()?.get(active)?.as_table_like()?;
    profile.get(key)?.as_str().map(str::to_owned)
}

fn in_profile(profile: &dyn TableLike, profile_name: &str, names: Names<'_>, path: &Path) -> Word {
    let place = format!("in the profile {profile_name} of {}", path.display());
    // The variable's name wins, as with Prefect.
    let by_name = names.variable.and_then(|name| Some((name, profile.get(name)?)));
    let by_setting = || {
        let setting = names.setting?;
        Some((setting, profile.get(setting).or_else(|| nested(profile, setting))?))
    };
    match by_name.or_else(by_setting) {
        Some((name, item)) => word(name, item, &place),
        None => Word::Silent,
    }
}

/// What `settings.toml` says.
///
/// # Errors
///
/// What in it makes no sense.
pub(super) fn in_settings(text: &str, path: &Path) -> Result<Settings, String> {
    let document = parse(text, path)?;
    let place = path.display();
    let text_of = |key: &str| match document.get(key) {
        None => Ok(None),
        Some(item) => match item.as_str() {
            Some(word) => Ok(Some(word.to_owned())),
            None => Err(misshapen(text, &[key], &format!("{key} is no text"), path)),
        },
    };
    let mode = text_of("mode")?.map(|word| word.parse::<crate::product::Mode>());
    Ok(Settings {
        collecting: document
            .get("collecting")
            .map_or(Word::Silent, |item| word("collecting", item, &format!("in {place}"))),
        mode: mode.transpose().map_err(|error| misshapen(text, &["mode"], &error.to_string(), path))?,
        endpoint: text_of("endpoint")?,
        format: text_of("format")?,
        verify: text_of("verify")?,
    })
}

fn word(name: &str, item: &Item, place: &str) -> Word {
    let said = format!("{name} = {} {place}", item.to_string().trim());
    let truth = match item.as_value() {
        Some(toml_edit::Value::Boolean(truth)) => Some(*truth.value()),
        Some(toml_edit::Value::String(text)) => truth(text.value()),
        Some(toml_edit::Value::Integer(number)) => truth(&number.value().to_string()),
        _ => None,
    };
    match truth {
        Some(true) => Word::Yes(said),
        Some(false) => Word::No(said),
        None => Word::Unclear(format!("{said} is neither yes nor no")),
    }
}

/// The item at `a.b.c`.
fn nested<'a>(table: &'a dyn TableLike, path: &str) -> Option<&'a Item> {
    let (parts, last) = path.rsplit_once('.').map_or((None, path), |(parts, last)| (Some(parts), last));
    let mut table = table;
    for part in parts.into_iter().flat_map(|parts| parts.split('.')) {
        table = table.get(part)?.as_table_like()?;
    }
    table.get(last)
}

fn parse(text: &str, path: &Path) -> Result<DocumentMut, String> {
    text.parse().map_err(|error| complaint(text, &error, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'_> = Names {
        variable: Some("PREFECT_SERVER_ANALYTICS_ENABLED"),
        setting: Some("server.analytics_enabled"),
    };

    fn profiles(text: &str) -> Word {
        in_profiles(text, None, NAMES, Path::new("/p"))
    }

    fn kind(word: &Word) -> &'static str {
        match word {
            Word::Silent => "silent",
            Word::Yes(_) => "yes",
            Word::No(_) => "no",
            Word::Unclear(_) => "unclear",
        }
    }

    #[test]
    fn each_spelling_of_a_profiles_entry_means_what_prefect_takes_it_for() {
        let name = "PREFECT_SERVER_ANALYTICS_ENABLED";
        for (entry, means) in [
            (format!("{name} = \"false\""), "no"),
            (format!("{name} = \"False\""), "no"),
            (format!("{name} = \"0\""), "no"),
            (format!("{name} = \"off\""), "no"),
            (format!("{name} = 'n'"), "no"),
            (format!("{name} = false"), "no"),
            (format!("{name} = 0"), "no"),
            (format!("{name} = \"true\""), "yes"),
            (format!("{name} = true"), "yes"),
            (format!("{name} = 1"), "yes"),
            (format!("{name} = \"maybe\""), "unclear"),
            (format!("{name} = \"\""), "unclear"),
            (format!("{name} = 2"), "unclear"),
            (format!("{name} = 0.0"), "unclear"),
            (format!("{name} = []"), "unclear"),
            ("\"server.analytics_enabled\" = \"false\"".into(), "no"),
            ("server.analytics_enabled = false".into(), "no"),
            ("server = { analytics_enabled = true }".into(), "yes"),
            // The name wins, whichever stands first.
            (format!("\"server.analytics_enabled\" = false\n{name} = true"), "yes"),
            (format!("{name} = false\n\"server.analytics_enabled\" = true"), "no"),
            ("PREFECT_API_URL = \"http://127.0.0.1:4200/api\"".into(), "silent"),
            ("# nothing".into(), "silent"),
        ] {
            let word = profiles(&format!("active = \"a\"\n[profiles.a]\n{entry}\n"));
            assert_eq!(kind(&word), means, "{entry}: {word:?}");
        }
    }

    #[test]
    fn the_active_profile_speaks_and_where_none_is_active_each_that_refuses() {
        let two = "[profiles.a]\nPREFECT_SERVER_ANALYTICS_ENABLED = \"true\"\n\
                   [profiles.b]\nPREFECT_SERVER_ANALYTICS_ENABLED = \"false\"\n";
        for (head, means) in [
            ("active = \"a\"\n", "yes"),
            ("active = \"b\"\n", "no"),
            ("active = \"c\"\n", "silent"),
            ("active = 1\n", "unclear"),
            ("", "no"),
        ] {
            assert_eq!(kind(&profiles(&format!("{head}{two}"))), means, "{head}");
        }
        assert_eq!(kind(&in_profiles(two, Some("a"), NAMES, Path::new("/p"))), "yes");
        assert_eq!(kind(&profiles("")), "silent");
        assert_eq!(kind(&profiles("active = \"a\"")), "silent");
        assert_eq!(kind(&profiles("active = \"a\"\nprofiles = 1")), "unclear");
        assert_eq!(kind(&profiles("active = \"a\"\nprofiles.a = 1")), "unclear");
        // A yes of one that may not be meant is none.
        assert_eq!(kind(&profiles("[profiles.a]\nPREFECT_SERVER_ANALYTICS_ENABLED = 1")), "silent");
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_line() {
        let Word::Unclear(why) = profiles("active = \"a\"\n[profiles.a\n") else { panic!("it made sense") };
        assert!(why.starts_with("/p makes no sense, line 2: "), "{why}");
        let local = in_local_file("[server]\nanalytics_enabled = false", NAMES, Path::new("/l"));
        assert_eq!(local, Word::No("server.analytics_enabled = false in /l".into()));
        assert_eq!(kind(&in_local_file("server = 1", NAMES, Path::new("/l"))), "silent");
    }

    #[test]
    fn a_file_of_variables_is_read_as_python_reads_it() {
        let name = "PREFECT_SERVER_ANALYTICS_ENABLED";
        for (text, means) in [
            (format!("{name}=false"), "no"),
            (format!("# mine\r\nA=1\r\nexport {name} = 'False' # for now\r\nB=2\r\n"), "no"),
            (format!("\u{feff}{name}=\"0\""), "no"),
            (format!("{name}=off # why"), "no"),
            (format!("{}=no", name.to_lowercase()), "no"),
            (format!("{name}=false\n{name}=true\n"), "yes"),
            (format!("{name}=1"), "yes"),
            (format!("{name}="), "unclear"),
            (format!("{name}=${{OTHER}}"), "unclear"),
            (name.to_owned(), "silent"),
            (format!("# {name}=false"), "silent"),
            (format!("MY_{name}=false\nexported{name}=false"), "silent"),
            (String::new(), "silent"),
        ] {
            let word = in_dotenv(&text, NAMES, Path::new("/e"));
            assert_eq!(kind(&word), means, "{text:?}: {word:?}");
        }
        let word = in_dotenv(&format!("{name}=0"), NAMES, Path::new("/e"));
        assert_eq!(word, Word::No(format!("{name}=0 in /e")));
    }

    #[test]
    fn settings_are_read_and_what_is_none_of_them_is_left_alone() {
        let read = |text: &str| in_settings(text, Path::new("/s"));
        let settings = read("mode = \"local\" # mine\ncollecting = false\nlater = 1\n").unwrap();
        assert_eq!(settings.mode, Some(crate::Mode::Local));
        assert_eq!(settings.collecting, Word::No("collecting = false in /s".into()));
        assert_eq!(read("").unwrap(), Settings::default());
        for wrong in ["mode = 1", "mode = \"sometimes\"", "endpoint = false", "mode = "] {
            let why = read(&format!("# mine\n{wrong}")).unwrap_err();
            assert!(why.starts_with("/s makes no sense, line 2: "), "{why}");
        }
    }
}
