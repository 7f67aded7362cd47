//! Changes settings files as the product's own command does: one key, and not a byte beside it.

use std::path::{Path, PathBuf};

use thiserror::Error;
use toml_edit::{DocumentMut, Item, Table, TableLike, value};

use super::file::{self, Stamp};
use super::splice::splice;
use super::words::{Entry, complaint, misshapen};

/// How often a file that somebody else changes meanwhile is read again.
const TRIES: usize = 8;

/// A settings file that a person's word is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SettingsFile {
    path: PathBuf,
    /// The profile in it, where it has such.
    profile: Option<Profile>,
}

/// Which profile.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Profile {
    /// The one that was asked for, instead of the active one.
    chosen: Option<String>,
    /// The one that is active where the file names none.
    default: String,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edited {
    pub(crate) path: PathBuf,
    /// The profile that it was written to.
    pub(crate) profile: Option<String>,
    /// Whether the file is another one now.
    pub(crate) changed: bool,
}

/// Why nothing was written.
#[derive(Debug, Error)]
pub(crate) enum EditError {
    /// Names the file and the line.
    #[error("{0}")]
    Malformed(String),
    #[error("cannot write {path}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{0} is changed by somebody else again and again")]
    Busy(PathBuf),
}

impl SettingsFile {
    /// `settings.toml`.
    pub(crate) fn plain(path: &Path) -> Self {
        Self { path: path.into(), profile: None }
    }

    /// A file of profiles: the profile `chosen`, or the active one.
    pub(crate) fn of_profiles(path: &Path, chosen: Option<&str>, default: &str) -> Self {
        let profile = Profile { chosen: chosen.map(str::to_owned), default: default.into() };
        Self { path: path.into(), profile: Some(profile) }
    }

    /// Sets a key.
    pub(crate) fn set(&self, key: &str, new: &toml_edit::Value) -> Result<Edited, EditError> {
        self.edit(&[key], |table| match table.get_mut(key).and_then(Item::as_value_mut) {
            // What stands around it stays: a comment behind it, above all.
            Some(old) => {
                let decor = old.decor().clone();
                *old = new.clone();
                *old.decor_mut() = decor;
            }
            None => drop(table.insert(key, value(new.clone()))),
        })
    }

    /// Removes keys, `a.b` also where it is nested.
    pub(crate) fn unset(&self, keys: &[&str]) -> Result<Edited, EditError> {
        self.edit(keys, |table| keys.iter().for_each(|key| remove(table, key)))
    }

    /// The keys and values that stand there.
    pub(crate) fn view(&self) -> Result<(Option<String>, Vec<Entry>), EditError> {
        let (text, mut document, _) = self.read()?;
        let (table, profile) = self.table(&text, &mut document)?;
        let entries = table.iter().filter_map(|(key, item)| {
            let shown = match item.as_value()? {
                toml_edit::Value::String(text) => text.value().clone(),
                other => other.to_string().trim().to_owned(),
            };
            Some(Entry { key: key.into(), value: shown })
        });
        Ok((profile, entries.collect()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The text, what is in it, and the stamp that it was read under.
    fn read(&self) -> Result<(String, DocumentMut, Stamp), EditError> {
        let before = Stamp::of(&self.path);
        let text = file::read(&self.path).map_err(EditError::Malformed)?.unwrap_or_default();
        let document =
            text.parse().map_err(|error| EditError::Malformed(complaint(&text, &error, &self.path)))?;
        Ok((text, document, before))
    }

    /// Changes what stands under these keys of the table.
    fn edit(&self, keys: &[&str], change: impl Fn(&mut dyn TableLike)) -> Result<Edited, EditError> {
        for _ in 0..TRIES {
            let (text, mut document, before) = self.read()?;
            let as_read = document.to_string();
            self.table(&text, &mut document)?;
            let old = document.to_string();
            let (table, profile) = self.table(&text, &mut document)?;
            let is_value = |key: &&&str| table.get(key).is_none_or(Item::is_value);
            if let Some(key) = keys.iter().find(|key| !is_value(key)) {
                let place: Vec<_> =
                    profile.iter().flat_map(|name| ["profiles", name.as_str()]).chain([*key]).collect();
                return Err(self.malformed(&text, &place, &format!("{key} is no value")));
            }
            change(table);
            let new = document.to_string();
            let done = |changed| Edited { path: self.path.clone(), profile, changed };
            if new == old {
                return Ok(done(false));
            }
            let failed = |source| EditError::Io { path: self.path.clone(), source };
            let new = splice(&text, &as_read, &new);
            if file::replace(&self.path, &new, &before).map_err(failed)? {
                return Ok(done(true));
            }
        }
        Err(EditError::Busy(self.path.clone()))
    }

    /// The table that keys go to, and the name of its profile. What is missing on the way is made.
    fn table<'a>(
        &self,
        text: &str,
        document: &'a mut DocumentMut,
    ) -> Result<(&'a mut dyn TableLike, Option<String>), EditError> {
        let Some(profile) = &self.profile else { return Ok((document.as_table_mut(), None)) };
        let malformed = |keys: &[&str], what: &str| self.malformed(text, keys, what);
        let no_name = || malformed(&["active"], "its active profile is no name");
        let active = document.get("active").map(|active| active.as_str().ok_or_else(no_name)).transpose()?;
        let name = profile.chosen.as_deref().or(active).unwrap_or(&profile.default).to_owned();
        if active.is_none() && profile.chosen.is_none() {
            // As Prefect writes it: what is active is said, and said first. Not by who was told another one: without a
            // word about it every profile counts.
            document.insert("active", value(profile.default.clone()));
        }
        let profiles = document.entry("profiles").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        let profiles = profiles
            .as_table_like_mut()
            .ok_or_else(|| malformed(&["profiles"], "its profiles are no table"))?;
        if profiles.get(&name).is_none() {
            profiles.insert(&name, Item::Table(Table::new()));
        }
        let no_table = || malformed(&["profiles", &name], &format!("its profile {name} is no table"));
        let table = profiles.get_mut(&name).and_then(Item::as_table_like_mut).ok_or_else(no_table)?;
        Ok((table, Some(name)))
    }

    fn malformed(&self, text: &str, keys: &[&str], what: &str) -> EditError {
        EditError::Malformed(misshapen(text, keys, what, &self.path))
    }
}

fn remove(table: &mut dyn TableLike, key: &str) {
    table.remove(key);
    let Some((first, rest)) = key.split_once('.') else { return };
    if let Some(inner) = table.get_mut(first).and_then(Item::as_table_like_mut) {
        remove(inner, rest);
        if inner.is_empty() {
            table.remove(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const KEY: &str = "PREFECT_SERVER_ANALYTICS_ENABLED";

    fn profiles(directory: &Path) -> SettingsFile {
        SettingsFile::of_profiles(&directory.join("profiles.toml"), None, "ephemeral")
    }

    fn set_in(before: Option<&str>, chosen: Option<&str>) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("profiles.toml");
        if let Some(before) = before {
            std::fs::write(&path, before).unwrap();
        }
        let file = SettingsFile::of_profiles(&path, chosen, "ephemeral");
        assert!(file.set(KEY, &"false".into()).unwrap().changed);
        assert!(!file.set(KEY, &"false".into()).unwrap().changed);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_new_file_is_what_prefect_writes() {
        let expected = "active = \"ephemeral\"\n\n[profiles.ephemeral]\n\
                        PREFECT_SERVER_ANALYTICS_ENABLED = \"false\"\n";
        assert_eq!(set_in(None, None), expected);
        assert_eq!(set_in(Some(""), None), expected);
    }

    /// Without a word about which is active, a no in any profile counts; that one's own would not any more.
    #[test]
    fn who_was_told_a_profile_does_not_say_which_is_active() {
        let before = "[profiles.work]\nPREFECT_SERVER_ANALYTICS_ENABLED = \"false\"\n";
        let own = "\n[profiles.q]\nPREFECT_SERVER_ANALYTICS_ENABLED = \"false\"\n";
        assert_eq!(set_in(Some(before), Some("q")), format!("{before}{own}"));
    }

    #[test]
    fn comments_order_and_all_other_keys_are_kept() {
        let before = "# mine\nactive = \"b\" # this one\n\n[profiles.z]\nPREFECT_API_URL = 'x'   # odd\n\n\
                      [profiles.b]\n# first\nPREFECT_LOGGING_LEVEL = \"DEBUG\"\n\n[other]\nkey = [1, 2]\n";
        let line = "PREFECT_SERVER_ANALYTICS_ENABLED = \"false\"\n";
        let after = before.replace("\"DEBUG\"\n", &format!("\"DEBUG\"\n{line}"));
        assert_eq!(set_in(Some(before), None), after);
        let in_z = before.replace("# odd\n", &format!("# odd\n{line}"));
        assert_eq!(set_in(Some(before), Some("z")), in_z);
        let replaced =
            "active = \"b\"\n[profiles.b]\nPREFECT_SERVER_ANALYTICS_ENABLED = \"true\" # why\nx = 1\n";
        assert_eq!(set_in(Some(replaced), None), replaced.replace("true", "false"));
        let absent = "active = \"c\"\n\n[profiles.b]\nx = 1\n";
        assert_eq!(set_in(Some(absent), None), format!("{absent}\n[profiles.c]\n{line}"));
    }

    #[test]
    fn unset_takes_the_name_and_the_setting_away() {
        let directory = tempfile::tempdir().unwrap();
        let file = profiles(directory.path());
        let text = "active = \"a\"\n[profiles.a]\nPREFECT_SERVER_ANALYTICS_ENABLED = \"false\"\nx = \"1\" # one\n\
                    \"server.analytics_enabled\" = false\nserver.analytics_enabled = false\n";
        std::fs::write(file.path(), text).unwrap();
        file.unset(&[KEY, "server.analytics_enabled"]).unwrap();
        let after = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(after, "active = \"a\"\n[profiles.a]\nx = \"1\" # one\n");
        let (profile, entries) = file.view().unwrap();
        assert_eq!(profile.as_deref(), Some("a"));
        assert_eq!(entries, [Entry { key: "x".into(), value: "1".into() }]);
    }

    #[test]
    fn a_byte_order_mark_and_the_ends_of_lines_are_kept() {
        let line = "PREFECT_SERVER_ANALYTICS_ENABLED = \"false\"\r\n";
        let before = "\u{feff}# mine\r\nactive = \"b\"\r\n\r\n[profiles.b]\r\nx = '1' # one\r\n\n[other]\r\n";
        let after = before.replace("# one\r\n", &format!("# one\r\n{line}"));
        assert_eq!(set_in(Some(before), None), after);
        let absent = "active = \"c\"\r\n";
        assert_eq!(set_in(Some(absent), None), format!("{absent}\r\n[profiles.c]\r\n{line}"));
        let directory = tempfile::tempdir().unwrap();
        let file = profiles(directory.path());
        std::fs::write(file.path(), &after).unwrap();
        file.unset(&[KEY]).unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), before);
    }

    #[test]
    fn the_mode_of_a_file_stays_and_a_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("dotfiles.toml");
        std::fs::write(&target, "active = \"a\"\n").unwrap();
        std::fs::set_permissions(&target, PermissionsExt::from_mode(0o640)).unwrap();
        let file = profiles(directory.path());
        std::os::unix::fs::symlink(&target, file.path()).unwrap();
        file.set(KEY, &"false".into()).unwrap();
        assert!(std::fs::symlink_metadata(file.path()).unwrap().is_symlink());
        assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(std::fs::read_to_string(target).unwrap().contains(KEY));
    }

    #[test]
    fn nothing_is_written_to_a_malformed_file_and_the_line_is_named() {
        for (text, says) in [
            ("active = \"a\"\n[profiles.a\n", "line 2: "),
            ("# mine\nactive = 1\n", "line 2: its active profile is no name"),
            ("active = \"a\"\n\nprofiles = 1\n", "line 3: its profiles are no table"),
            ("active = \"a\"\n[[profiles]]\nx = 1\n", "line 2: its profiles are no table"),
            ("active = \"a\"\n[profiles]\na = 1\n", "line 3: its profile a is no table"),
            (
                "[profiles.ephemeral]\n[profiles.ephemeral.PREFECT_SERVER_ANALYTICS_ENABLED]\nx = 1\n",
                "line 2: PREFECT_SERVER_ANALYTICS_ENABLED is no value",
            ),
            ("a = 1\na = 2\n", "line 2: "),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let file = profiles(directory.path());
            std::fs::write(file.path(), text).unwrap();
            for error in [file.set(KEY, &"false".into()), file.unset(&[KEY])].map(Result::unwrap_err) {
                let error = error.to_string();
                assert!(error.contains("profiles.toml") && error.contains(says), "{error}");
            }
            assert_eq!(std::fs::read_to_string(file.path()).unwrap(), text);
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }
}
