//! What a person sets: written where the product's own command writes it, or into `settings.toml`.

use std::time::Duration;

use serde::Serialize;

use super::admin::Admin;
use super::settings::Settings;
use crate::bundle::PublicKey;
use crate::consent::{EditError, Edited, SettingsFile, Sources, Watch, truth};
use crate::delivery::{Endpoint, Format};
use crate::error::{Error, ErrorKind, Result};
use crate::installation::{Installation, fs};
use crate::journal::Greeting;
use crate::limits::{CONSENT_LOOK_EVERY, ERASE_WAIT, SETTLED_AFTER};
use crate::product::Mode;

/// Keys of `settings.toml` beside `collecting`.
const KEYS: [&str; 4] = ["mode", "endpoint", "format", "verify"];

/// What came of a change of the settings.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Changed {
    /// The file.
    pub file: String,
    /// The profile in it, where it has such.
    pub profile: Option<String>,
    /// Whether it says something else than before.
    pub changed: bool,
    /// Events that were deleted, unsent, since the installation refuses now.
    pub dropped: u64,
}

/// A setting, as it stands in a file.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Setting {
    /// Its name.
    pub key: String,
    /// Its value, as a word.
    pub value: String,
    /// The file.
    pub file: String,
    /// The profile in it, where it has such.
    pub profile: Option<String>,
}

impl Admin {
    /// Sets a key: the product's opt-out in the profile that its own command would write, or `mode`, `endpoint`,
    /// `format`, `verify` and, for products without profiles, `collecting` in `settings.toml` of the telemetry directory.
    /// Everything else in the file stays as it is. Where the installation refuses then, what waits is deleted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a key or a value that there is not, and for a file that makes no sense, with its
    /// line: nothing is written. [`ErrorKind::Io`] when it cannot be written.
    pub fn set(&self, key: &str, value: &str) -> Result<Changed> {
        let (file, key, value) = self.place(key)?.with(value)?;
        make_directory(&file, self.settings.watch.sources(), &self.settings.greeting)?;
        let edited = file.set(key, &value).map_err(cannot_write)?;
        self.take_effect(edited)
    }

    /// Removes a key, as [`Admin::set`] sets it.
    ///
    /// # Errors
    ///
    /// As [`Admin::set`].
    pub fn unset(&self, key: &str) -> Result<Changed> {
        let place = self.place(key)?;
        let setting = self.settings.watch.sources().setting();
        let keys: &[&str] = match place.kind {
            Kind::OptOut => &[place.key, setting],
            _ => &[place.key],
        };
        let edited = place.file.unset(keys).map_err(cannot_write)?;
        self.take_effect(edited)
    }

    /// The settings as they stand in the files that [`Admin::set`] writes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a file that makes no sense, with its line.
    pub fn view(&self) -> Result<Vec<Setting>> {
        let sources = self.settings.watch.sources();
        let mut settings = Vec::new();
        for file in profiles(sources).into_iter().chain(sources.settings().map(SettingsFile::plain)) {
            let (profile, entries) = file.view().map_err(cannot_write)?;
            let path = file.path().display().to_string();
            settings.extend(entries.into_iter().filter(|entry| is_known(sources, &entry.key)).map(|entry| {
                let (file, profile) = (path.clone(), profile.clone());
                Setting { key: entry.key, value: entry.value, file, profile }
            }));
        }
        Ok(settings)
    }

    fn take_effect(&self, Edited { path, profile, changed }: Edited) -> Result<Changed> {
        // It was replaced as a whole, and is not to settle first.
        let state = self.settings.watch.read_again();
        let mut dropped = 0;
        if state.is_refused {
            // Workers notice by then, and let go by themselves.
            let wait = (CONSENT_LOOK_EVERY + SETTLED_AFTER + Duration::from_millis(500)).max(ERASE_WAIT);
            dropped = self.delete_refused(wait)?;
        }
        Ok(Changed { file: path.display().to_string(), profile, changed, dropped })
    }

    /// Where a key stands.
    fn place<'a>(&'a self, key: &'a str) -> Result<Place<'a>> {
        let Settings { product, watch, .. } = &self.settings;
        let sources = watch.sources();
        let is_opt_out = key == sources.variable() || key == sources.setting();
        if let Some(file) = profiles(sources).filter(|_| is_opt_out) {
            return Ok(Place { file, key: sources.variable(), kind: Kind::OptOut });
        }
        let kind = match key {
            "mode" => Kind::Mode,
            "endpoint" => Kind::Endpoint,
            "format" => Kind::Format,
            "verify" => Kind::Verify,
            "collecting" if product.files.profiles.is_none() => Kind::Collecting,
            _ => {
                let own = if product.files.profiles.is_some() { sources.variable() } else { "collecting" };
                let known = [&[own], &KEYS[..]].concat().join(", ");
                return Err(Error::invalid(format!("there is no setting {key:?}: {known} are there")));
            }
        };
        let file = settings_file(sources)?;
        Ok(Place { file, key, kind })
    }
}

/// Where a key stands.
struct Place<'a> {
    file: SettingsFile,
    key: &'a str,
    kind: Kind,
}

/// What is written under a key.
enum Kind {
    OptOut,
    Mode,
    Endpoint,
    Format,
    Verify,
    Collecting,
}

impl<'a> Place<'a> {
    /// With a value, if it is one that can stand there.
    fn with(self, value: &str) -> Result<(SettingsFile, &'a str, toml_edit::Value)> {
        let value = value.trim();
        let boolean = || {
            let neither = || Error::invalid(format!("{} = {value:?} is neither yes nor no", self.key));
            truth(value).ok_or_else(neither)
        };
        let value = match self.kind {
            // As text, as Prefect writes it.
            Kind::OptOut => boolean().map(|_| value.into())?,
            Kind::Collecting => boolean()?.into(),
            Kind::Mode => value.parse::<Mode>()?.as_str().into(),
            Kind::Format => value.parse::<Format>()?.to_string().into(),
            Kind::Verify => PublicKey::list(value).map(|_| value.into())?,
            Kind::Endpoint => Endpoint::parse(value, false).map(|_| value.into())?,
        };
        Ok((self.file, self.key, value))
    }
}

/// Writes the installation's no, whatever profile this process was told to take.
pub(crate) fn refuse(watch: &Watch, greeting: &Greeting) -> Result<()> {
    let sources = watch.sources();
    let written = match sources.profiles() {
        Some(path) => {
            let file = SettingsFile::of_profiles(path, None, sources.default_profile());
            make_directory(&file, sources, greeting)?;
            file.set(sources.variable(), &"false".into())
        }
        None => {
            let file = settings_file(sources)?;
            make_directory(&file, sources, greeting)?;
            file.set("collecting", &false.into())
        }
    };
    written.map(drop).map_err(cannot_write)
}

/// The file of profiles that the product's own command would write, and the profile.
fn profiles(sources: &Sources) -> Option<SettingsFile> {
    let (path, chosen) = sources.profile_of_process()?;
    Some(SettingsFile::of_profiles(path, chosen, sources.default_profile()))
}

/// `settings.toml`.
fn settings_file(sources: &Sources) -> Result<SettingsFile> {
    let nowhere = || Error::invalid("there is no place for settings: set HOME, or name a directory");
    sources.settings().map(SettingsFile::plain).ok_or_else(nowhere)
}

/// Makes the directory of a settings file, where that is the product's home or milepost's own.
fn make_directory(file: &SettingsFile, sources: &Sources, greeting: &Greeting) -> Result<()> {
    let Some(directory) = file.path().parent().filter(|directory| !directory.is_dir()) else { return Ok(()) };
    let path = Some(file.path());
    let made = if path == sources.settings() {
        Installation::new(directory.into()).create_with(&greeting.marks())
    } else if path == sources.profiles() {
        fs::create_directories(directory)
    } else {
        Ok(())
    };
    made.map_err(|error| Error::io("make", directory, error))
}

fn is_known(sources: &Sources, key: &str) -> bool {
    KEYS.contains(&key) || key == "collecting" || key == sources.variable() || key == sources.setting()
}

fn cannot_write(error: EditError) -> Error {
    match error {
        EditError::Malformed(why) => Error::invalid(why),
        EditError::Io { path, source } => Error::io("write", &path, source),
        EditError::Busy(_) => Error::new(ErrorKind::Io, error.to_string()),
    }
}
